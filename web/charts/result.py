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

_MOST_BARS = 200
"""Most integers that are drawn as a bar each; more are a scale of numbers."""

_PLACES = ("rank", "layer", "index", "bin", "lower", "upper", "interval")
"""Columns of numbers that say which row it is: along x rather than up."""


def sensible_axes(columns: Sequence[str], numbers: Sequence[bool]) -> tuple[str, str]:
    """Columns to draw along x and y where nobody chose: what a row is of, and the first number that it says.

    `numbers` says of each column whether it is of numbers. Both are empty without columns; one column is drawn against
    itself.
    """
    if not columns:
        return "", ""
    typed = list(zip(columns, numbers, strict=True))
    names = [name for name, number in typed if not number]
    places = [name for name, number in typed if number and _is_place(name)]
    values = [name for name, number in typed if number and not _is_place(name)]
    x = next(iter(names + places), columns[0])
    y = next((name for name in values + places if name != x), columns[-1])
    return x, y


def _is_place(name: str) -> bool:
    return name in _PLACES or name.endswith("_id")


@cache
def _spec(kind: str, types: tuple[Any, Any], integers: tuple[bool, bool]) -> dict[str, Any]:
    base = alt.Chart(alt.NamedData(DATA), width="container", height=_HEIGHT)
    mark = {"bar": base.mark_bar, "line": base.mark_line, "point": base.mark_circle}[kind](style="accent")
    x, y = (
        channel(field, type=kind_of, title=None, **_scale(kind_of, integer, channel is alt.X))
        for channel, field, kind_of, integer in (
            (alt.X, "x", types[0], integers[0]),
            (alt.Y, "y", types[1], integers[1]),
        )
    )
    tips = [alt.Tooltip("x", type=types[0]), alt.Tooltip("y", type=types[1])]
    return specification(mark.encode(x=x, y=y, tooltip=tips))


def _scale(kind: str, integer: bool, along_x: bool) -> dict[str, Any]:
    """Options of a channel. Integers have ticks at integers; names stand in the answer's order."""
    if kind == "quantitative":
        return {"axis": alt.Axis(tickMinStep=1)} if integer else {}
    axis = alt.Axis(labelAngle=0, labelOverlap="greedy") if along_x and integer else alt.Axis()
    return {"sort": "ascending" if kind == "ordinal" else None, "axis": axis}


def chart_parts() -> dict[str, Any]:
    """The specifications of all charts of answers in parts, for a script that draws them: of each kind what is common,
    of each channel the encoding of a column of 'integer', 'quantitative', 'nominal' or 'ordinal' values."""
    types = {"integer": ("quantitative", True), "quantitative": ("quantitative", False)}
    types |= {"nominal": ("nominal", False), "ordinal": ("ordinal", True)}
    specs = {name: _spec("bar", (kind, kind), (integer, integer)) for name, (kind, integer) in types.items()}
    encodings = {channel: {name: spec["encoding"][channel] for name, spec in specs.items()} for channel in ("x", "y")}
    kinds = {kind: _spec(kind, ("nominal", "nominal"), (False, False)) for kind in KINDS}
    return {"kinds": kinds, **encodings, "most": _MOST, "most_bars": _MOST_BARS, "places": _PLACES}


def _is_number(values: Sequence[Any]) -> bool:
    known = [value for value in values if value is not None]
    return bool(known) and all(isinstance(value, int | float) and not isinstance(value, bool) for value in known)


def _are_integers(values: Sequence[Any]) -> bool:
    return all(value is None or (isinstance(value, int) and not isinstance(value, bool)) for value in values)


def result_chart(kind: str, columns: Sequence[str], rows: Sequence[Sequence[Any]], x: str, y: str, title: str) -> Chart:
    """Column `y` against column `x`. Numbers are quantitative, other values nominal in the answer's order; under bars
    few integers, each once, are ordinal: a bar each."""
    places = (columns.index(x), columns.index(y))
    pairs = [tuple(row[place] for place in places) for row in rows[:_MOST]]
    sides = [[pair[side] for pair in pairs] for side in (0, 1)]
    numbers = [_is_number(side) for side in sides]
    integers = tuple(number and _are_integers(side) for number, side in zip(numbers, sides, strict=True))

    def value(side: int, cell: Any) -> Any:
        return cell if numbers[side] or cell is None else str(cell)

    data = [{"x": value(0, a), "y": value(1, b)} for a, b in pairs]
    types = ["quantitative" if number else "nominal" for number in numbers]
    if kind == "bar" and integers[0] and len(set(sides[0])) == len(pairs) <= _MOST_BARS:
        types[0] = "ordinal"
    spec = filled(_spec(kind, tuple(types), integers), data, f"{title}: {y} by {x}")
    for channel, name in (("x", x), ("y", y)):
        encoding = spec["encoding"]
        spec = {**spec, "encoding": {**encoding, channel: {**encoding[channel], "title": name}}}
    table = Table((x, y), tuple((value(0, a), value(1, b)) for a, b in pairs))
    return Chart("result", f"{title}: {y} by {x}", f"{len(pairs):,} rows.", spec, table)
