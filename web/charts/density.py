"""Many units on two axes: a shading of their density, and names beside single points where there is room."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, cast

import altair as alt

from web.charts.chart import rounded, rows_of


def cells_layer(x: alt.X, y: alt.Y, units: str) -> alt.Chart:
    """The shading of `cell_rows`, on a logarithmic scale."""
    return (
        rows_of("cell")
        .mark_rect(style="quiet")
        .encode(
            x=x,
            x2="x2:Q",
            y=y,
            y2="y2:Q",
            opacity=alt.Opacity("n:Q", legend=None, scale=alt.Scale(type="log", range=[0.25, 1])),
            tooltip=[alt.Tooltip("n:Q", title=units, format=",")],
        )
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


def names_layers(points: alt.Chart, x: alt.X, y: alt.Y, sides: Iterable[str], **more: Any) -> list[alt.Chart]:
    """The names of points with a `side`: 'left' or 'right', the end of the name that is at the point."""
    return [
        points.transform_filter(f"datum.side == '{side}'")
        .mark_text(align=cast(Any, side), dx=6 if side == "left" else -6, dy=-4, limit=130)
        .encode(x=x, y=y, text="name:N", href="url:N", **more)
        for side in sides
    ]


def with_names(rows: Sequence[dict[str, Any]], x: str, y: str, wide: float, tall: float, most: int) -> tuple[str, ...]:
    """Gives the first `most` rows that stand apart a `side` for their names, and returns the sides that occur.

    `wide` and `tall` are the room of a name on the two axes.
    """
    xs = [row[x] for row in rows]
    named: list[dict[str, Any]] = []
    for row in rows:
        free = all(abs(row[x] - other[x]) > wide or abs(row[y] - other[y]) > tall for other in named)
        if free and len(named) < most:
            named.append(row)
            row["side"] = "right" if row[x] > (min(xs) + max(xs)) / 2 else "left"
    return tuple(sorted({row["side"] for row in named}))


def spread_of(rows: Sequence[dict[str, Any]], field: str) -> float:
    """The range of a field's values."""
    values = [row[field] for row in rows]
    return max(values, default=0.0) - min(values, default=0.0)
