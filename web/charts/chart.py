"""Common parts of charts: the record that a page shows, its key and table, and rows of data.

Specifications are made once without data; a page adds its rows. Colours are names of ranges and styles (see `theme`),
so that light, dark and paper need one specification. Titles and legends are drawn in exported files only: a page has
headings and keys in HTML, which wrap.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import altair as alt

DATA = "rows"
"""Name of the data set that a page fills."""

HEIGHT = 170


@dataclass(frozen=True)
class Table:
    """The chart's data as a table: heads of columns, rows of text or numbers."""

    heads: tuple[str, ...]
    rows: tuple[tuple[Any, ...], ...]


@dataclass(frozen=True)
class Series:
    """A line of a chart in the key on its page: its label, whether it is drawn at first, and the address that draws it
    without a script."""

    label: str
    drawn: bool = True
    url: str | None = None


@dataclass(frozen=True)
class Chart:
    """A chart on a page: its name, title, explanation, specification and table.

    `series` are its lines, in the order of their colours; those of a specification with the parameter `shown` can be
    switched on and off. `more` says in words what the parameter `more` adds.
    """

    name: str
    title: str
    caption: str
    spec: dict[str, Any]
    table: Table
    series: tuple[Series, ...] = ()
    more: str = ""

    @property
    def carried(self) -> dict[str, Any]:
        """The specification as a page carries it: its rows as columns, which take half the room. charts.js turns them
        round; a name in `sparse` is missing in the rows where its column has null."""
        rest = {name: value for name, value in self.spec.items() if name != "datasets"}
        columns, sparse = columns_of(self.spec["datasets"][DATA])
        return {**rest, "columns": columns, "sparse": sparse}


def columns_of(rows: Sequence[Mapping[str, Any]]) -> tuple[dict[str, list[Any]], list[str]]:
    """Rows as columns, and the names that some rows lack."""
    names = dict.fromkeys(name for row in rows for name in row)
    columns = {name: [row.get(name) for row in rows] for name in names}
    return columns, [name for name in names if any(name not in row for row in rows)]


def rows_of(kind: str = "") -> alt.Chart:
    """A chart of the page's rows, or of those of one kind."""
    rows = alt.Chart(alt.NamedData(DATA))
    return rows.transform_filter(f"datum.kind == '{kind}'") if kind else rows


def specification(chart: Any) -> dict[str, Any]:
    """An Altair chart as a specification without its own configuration."""
    spec = chart.to_dict()
    spec.pop("config", None)
    return spec


def filled(spec: dict[str, Any], rows: list[dict[str, Any]], title: str, **params: Any) -> dict[str, Any]:
    """The specification with rows of data, the title of its exported files, and values of its parameters."""
    values = [{"name": name, "value": value} for name, value in params.items()]
    return {**spec, "title": title, "datasets": {DATA: rows}, **({"params": values} if values else {})}


def drawn(
    name: str, title: str, caption: str, spec: dict[str, Any], rows: list[dict[str, Any]], table: Table, **params: Any
) -> Chart:
    """A chart from its specification, filled with rows and values of its parameters."""
    return Chart(name, title, caption, filled(spec, rows, title, **params), table)


def interval(item: Any) -> dict[str, float]:
    """The ends of an item's interval as part of a row, if it has one."""
    return {} if item.low is None else {"low": rounded(item.low), "high": rounded(item.high)}


def interval_tips(format: str) -> list[alt.Tooltip]:
    """The ends of a 95% interval in a tooltip."""
    ends = (("low:Q", "95% interval from"), ("high:Q", "to"))
    return [alt.Tooltip(field, title=title, format=format) for field, title in ends]


def drawn_edges(lower: float | None, upper: float | None) -> tuple[float, float]:
    """Edges of a bin for drawing: an open bin is drawn one octave wide."""
    if lower is None:
        return 2 * upper, upper
    if upper is None:
        return lower, 2 * lower
    return lower, upper


def drawn_centre(lower: float | None, upper: float | None) -> float:
    """Place of a bin's point: its geometric middle, 0 for the zero bin."""
    low, high = drawn_edges(lower, upper)
    return 0.0 if low < 0 < high else (low * high) ** 0.5 * (1 if low > 0 else -1)


def rounded(value: float) -> float:
    """A value for drawing: five significant digits, finer than any screen shows."""
    return float(f"{value:.5g}")
