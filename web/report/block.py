"""What a report is made of: sections of panels, each with words, a table, its SQL, and perhaps a chart."""

from __future__ import annotations

from dataclasses import dataclass

from atlas import Atlas
from atlas.core.answer.asking import QueryResult
from web.charts.chart import Chart

ROWS = 25
"""Rows of a table that are printed; its SQL answers all."""


@dataclass(frozen=True)
class Panel:
    """One finding."""

    title: str
    """What it is about."""
    said: tuple[str, ...] = ()
    """Sentences, plain text; every figure in them is read from rows."""
    sql: str | None = None
    """The query behind it, which runs on the file as it is. None: words alone."""
    answer: QueryResult | None = None
    """What it answers, for the table. None: the chart shows it."""
    charts: tuple[Chart, ...] = ()
    """Drawings of the same rows."""


@dataclass(frozen=True)
class Section:
    """A chapter."""

    title: str
    """Its heading."""
    said: tuple[str, ...]
    """What it comes to, in sentences."""
    panels: tuple[Panel, ...] = ()
    """Its findings."""


def panel(atlas: Atlas, title: str, sql: str, *said: str, charts: tuple[Chart, ...] = (), table: bool = True) -> Panel:
    """A finding from its SQL, which is run; with `table` its first rows are printed."""
    return Panel(title, said, sql, atlas.query(sql) if table else None, charts)
