"""A density of many units on two axes, with single units as points that lead to their pages."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import altair as alt

from web.charts.chart import DATA, rounded


def cells_layer(x: alt.X, y: alt.Y, units: str) -> alt.Chart:
    """The shading of `cell_rows`, on a logarithmic scale."""
    cells = alt.Chart(alt.NamedData(DATA)).transform_filter("datum.kind == 'cell'").mark_rect(style="quiet")
    return cells.encode(
        x=x,
        x2="x2:Q",
        y=y,
        y2="y2:Q",
        opacity=alt.Opacity("n:Q", legend=None, scale=alt.Scale(type="log", range=[0.25, 1])),
        tooltip=[alt.Tooltip("n:Q", title=units, format=",")],
    )


def cell_rows(cells: Iterable[Any], least: float | None = None) -> list[dict[str, Any]]:
    """Rows of cells with `x_lower`, `x_upper`, `y_lower`, `y_upper` and `n`; `least` is the y axis's least value."""
    return [
        {
            "kind": "cell",
            "x": rounded(cell.x_lower),
            "x2": rounded(cell.x_upper),
            "y": rounded(cell.y_lower if least is None else max(least, cell.y_lower)),
            "y2": rounded(cell.y_upper),
            "n": cell.n,
        }
        for cell in cells
    ]
