"""Time pages through Flask's test client: the whole, the queries in it, and the same queries without the site.

No network: what is timed is what the site's own code does for a request. The queries are timed where they are asked
(`Atlas._execute`), and recorded once as SQL text with parameters, so that the same can be asked of DuckDB bare.
"""

from __future__ import annotations

import gzip
import re
import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import duckdb
import sqlalchemy as sa
from flask import Flask

from atlas import Atlas

_CHART = re.compile(rb'(<script type="application/json"[^>]*>).*?(</script>)', re.DOTALL)

Query = tuple[str, list, str]
"""A statement, its parameters, and how its rows were fetched (a method of DuckDB's connection)."""


@dataclass
class Measured:
    """What one kind of page took: a value for each of its addresses."""

    kind: str
    total: list[float] = field(default_factory=list)
    """Milliseconds of whole answers."""
    cpu: list[float] = field(default_factory=list)
    """Milliseconds of processor time of the same: on a busy machine, what the page itself needs."""
    queries: list[float] = field(default_factory=list)
    """Milliseconds of those that went by in queries, fetching included."""
    bare: list[float] = field(default_factory=list)
    """Milliseconds of the same queries asked of DuckDB with nothing around them."""
    asked: list[int] = field(default_factory=list)
    size: list[int] = field(default_factory=list)
    before_charts: list[int] = field(default_factory=list)
    zipped: list[int] = field(default_factory=list)
    note: str = ""
    """Why it was not measured, if it was not."""


def percentile(values: list[float], share: float) -> float:
    """The value that `share` of the values do not exceed (the greatest of few values, for a high share)."""
    return sorted(values)[min(len(values) - 1, int(share * len(values)))]


def before_charts(page: bytes) -> bytes:
    """The page without the data of its charts."""
    return _CHART.sub(rb"\1\2", page)


@contextmanager
def query_clock() -> Iterator[list[float]]:
    """While open, every query's seconds are appended to the list."""
    spent: list[float] = []
    execute = Atlas._execute

    def timed(self: Atlas, *arguments: object, **named: object) -> object:
        start = time.perf_counter()
        try:
            return execute(self, *arguments, **named)
        finally:
            spent.append(time.perf_counter() - start)

    Atlas._execute = timed
    try:
        yield spent
    finally:
        Atlas._execute = execute


def _bound(parameters: tuple[Any, ...]) -> Any:
    """Parameters as DuckDB takes them: those of one mapping by name, others by place."""
    return parameters[0] if len(parameters) == 1 and isinstance(parameters[0], dict) else list(parameters)


@contextmanager
def query_log() -> Iterator[list[Query]]:
    """While open, every statement is appended to the list: those that SQLAlchemy passes on, and fixed ones and those
    fetched as arrays, which go past it."""
    log: list[Query] = []
    arrays, rows = Atlas.arrays, Atlas.rows

    def note(connection: object, cursor: object, statement: str, parameters: object, *_: object) -> None:
        log.append((statement, list(parameters or ()), "fetchall"))

    def noted(self: Atlas, sql: str, *parameters: object) -> object:
        log.append((sql, _bound(parameters), "fetchnumpy"))
        return arrays(self, sql, *parameters)

    def fixed(self: Atlas, sql: str, *parameters: object) -> object:
        log.append((sql, _bound(parameters), "fetchall"))
        return rows(self, sql, *parameters)

    sa.event.listen(sa.Engine, "before_cursor_execute", note)
    Atlas.arrays, Atlas.rows = noted, fixed
    try:
        yield log
    finally:
        sa.event.remove(sa.Engine, "before_cursor_execute", note)
        Atlas.arrays, Atlas.rows = arrays, rows


def measure(app: Flask, plain: duckdb.DuckDBPyConnection, kind: str, urls: list[str]) -> Measured:
    """Time each address once, when all have been asked for before: the page, then its queries bare, in turn.

    The second request is the one recorded and the third the one timed: what a page works out once in a process (lists
    of layers, the vocabulary) belongs to neither.
    """
    result = Measured(kind)
    client = app.test_client()
    recorded: list[list[Query]] = []
    for url in urls:
        status = client.get(url).status_code
        if status != 200:
            result.note = f"{url} answers {status}"
            return result
        with query_log() as log:
            page = client.get(url).data
        recorded.append(log)
        result.asked.append(len(log))
        result.size.append(len(page))
        result.before_charts.append(len(before_charts(page)))
        result.zipped.append(len(gzip.compress(page, 6)))
    for log in recorded:
        bare(plain, log)
    with query_clock() as spent:
        for url, log in zip(urls, recorded, strict=True):
            spent.clear()
            start, busy = time.perf_counter(), time.process_time()
            client.get(url)
            result.cpu.append(1000 * (time.process_time() - busy))
            result.total.append(1000 * (time.perf_counter() - start))
            result.queries.append(1000 * sum(spent))
            result.bare.append(1000 * bare(plain, log))
    return result


def bare(plain: duckdb.DuckDBPyConnection, log: list[Query]) -> float:
    """Seconds of the same queries, rows fetched, with nothing around them."""
    start = time.perf_counter()
    for sql, parameters, fetch in log:
        getattr(plain.execute(sql, parameters), fetch)()
    return time.perf_counter() - start


HEADS = ("n", "median", "p99", "cpu", "cpu p99", "queries", "render", "bare SQL", "x bare", "asked")
HEADS += ("kB", "no charts", "gzip", "target")
HEADER = f"{'page, ms':<24}" + "".join(f"{head:>9}" for head in HEADS)


def line(row: Measured, target: str = "") -> str:
    """The measurements as a line below HEADER: milliseconds, kilobytes; sizes are medians."""
    if row.note:
        return f"{row.kind:<24}{'not measured: ' + row.note}"
    whole, queries, alone = (statistics.median(values) for values in (row.total, row.queries, row.bare))
    render = statistics.median(t - q for t, q in zip(row.total, row.queries, strict=True))
    figures = [
        f"{len(row.total)}",
        f"{whole:.1f}",
        f"{percentile(row.total, 0.99):.1f}",
        f"{statistics.median(row.cpu):.1f}",
        f"{percentile(row.cpu, 0.99):.1f}",
        f"{queries:.1f}",
        f"{render:.1f}",
        f"{alone:.1f}",
        f"{whole / alone:.2f}" if alone > 0.05 else "-",
        f"{statistics.median(row.asked):.0f}",
        *(f"{statistics.median(sizes) / 1000:.0f}" for sizes in (row.size, row.before_charts, row.zipped)),
        target,
    ]
    return f"{row.kind:<24}" + "".join(f"{figure:>9}" for figure in figures)
