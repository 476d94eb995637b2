"""Chart of an SQL answer: two of its columns against each other."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

import altair as alt

from web.charts.chart import DATA, Chart, Table, filled, specification

KINDS = ("bar", "line", "point")
_HEIGHT = 260
_MOST = 2_000
"""Most rows to draw."""


@cache
def _spec(kind: str, types: tuple[Any, Any]) -> dict[str, Any]:
    base = alt.Chart(alt.NamedData(DATA), width="container", height=_HEIGHT)
    mark = {"bar": base.mark_bar, "line": base.mark_line, "point": base.mark_circle}[kind](style="accent")
    x, y = (
        channel(field, type=kind_of, title=None, sort=None)
        for channel, field, kind_of in ((alt.X, "x", types[0]), (alt.Y, "y", types[1]))
    )
    tips = [alt.Tooltip("x", type=types[0]), alt.Tooltip("y", type=types[1])]
    return specification(mark.encode(x=x, y=y, tooltip=tips))


def _is_number(values: Sequence[Any]) -> bool:
    known = [value for value in values if value is not None]
    return bool(known) and all(isinstance(value, int | float) and not isinstance(value, bool) for value in known)


def result_chart(kind: str, columns: Sequence[str], rows: Sequence[Sequence[Any]], x: str, y: str, title: str) -> Chart:
    """Column `y` against column `x`; numbers are quantitative, other values nominal in the answer's order."""
    places = (columns.index(x), columns.index(y))
    pairs = [tuple(row[place] for place in places) for row in rows[:_MOST]]
    numbers = [_is_number([pair[side] for pair in pairs]) for side in (0, 1)]

    def value(side: int, cell: Any) -> Any:
        return cell if numbers[side] or cell is None else str(cell)

    data = [{"x": value(0, a), "y": value(1, b)} for a, b in pairs]
    types = tuple("quantitative" if number else "nominal" for number in numbers)
    spec = filled(_spec(kind, types), data, f"{title}: {y} by {x}")
    for channel, name in (("x", x), ("y", y)):
        encoding = spec["encoding"]
        spec = {**spec, "encoding": {**encoding, channel: {**encoding[channel], "title": name}}}
    table = Table((x, y), tuple((value(0, a), value(1, b)) for a, b in pairs))
    return Chart("result", f"{title}: {y} by {x}", f"{len(pairs):,} rows.", spec, table)
