"""Parts of a report: sections of panels, each with text, a table, its SQL, and optionally a chart."""

from __future__ import annotations

from dataclasses import dataclass

from atlas import Atlas
from atlas.core.answer.asking import QueryResult
from web.charts.chart import Chart

ROWS = 25
"""Most printed rows of a table; its SQL gives all of them."""


@dataclass(frozen=True)
class Panel:
    """One finding."""

    title: str
    """Its title."""
    sentences: tuple[str, ...] = ()
    """Sentences, plain text; every figure in them comes from rows."""
    sql: str | None = None
    """Its query, which runs unchanged on the file. None: text only."""
    answer: QueryResult | None = None
    """The answer, for the table. None: the chart shows it."""
    charts: tuple[Chart, ...] = ()
    """Drawings of the same rows."""


@dataclass(frozen=True)
class Section:
    """A chapter."""

    title: str
    """Its heading."""
    sentences: tuple[str, ...]
    """Its summary, in sentences."""
    panels: tuple[Panel, ...] = ()
    """Its findings."""


def panel(
    atlas: Atlas, title: str, sql: str, *sentences: str, charts: tuple[Chart, ...] = (), table: bool = True
) -> Panel:
    """Make a finding by running its SQL; with `table` its first rows are printed."""
    return Panel(title, sentences, sql, atlas.query(sql) if table else None, charts)
