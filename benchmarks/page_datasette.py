"""The rows of some neurons as SQLite, and the pages on which Datasette shows them.

Datasette is the usual way to put a database file on the web. It has no page of everything about one neuron, so what is
compared is what someone would have to open to see the same rows: the neuron's row, and a filtered page of every table.
"""

from __future__ import annotations

import asyncio
import importlib.util
import sqlite3
import statistics
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import duckdb

TABLES = (
    "neuron",
    "neuron_token",
    "neuron_input_token",
    "activation_histogram",
    "candidate_pair",
    "prediction_histogram",
    "exclusive_pair",
    "example",
)
"""What a neuron's page shows. SQLite has no lists: windows and texts are JSON."""
_BATCH = 50_000
_TYPES = {"FLOAT": "REAL", "DOUBLE": "REAL", "VARCHAR": "TEXT"}


def installed() -> bool:
    """Whether Datasette is there."""
    return importlib.util.find_spec("datasette") is not None


def export(atlas: Path, out: Path, n_neurons: int) -> dict[str, int]:
    """Write the first neurons' rows, all tokens and all texts to a new SQLite file; returns rows by table."""
    out.unlink(missing_ok=True)
    rows = {}
    with duckdb.connect(str(atlas), read_only=True) as source, closing(sqlite3.connect(out)) as target:
        target.execute("PRAGMA synchronous = OFF")
        rows["token"] = _copy(source, target, "token", 'SELECT token_id, "text" FROM token')
        rows["text"] = _copy(
            source, target, "text", 'SELECT text_id, source_row, chunk, token_ids::VARCHAR AS token_ids FROM "text"'
        )
        for table in TABLES:
            columns = "* REPLACE (window_activations::VARCHAR AS window_activations)" if table == "example" else "*"
            rows[table] = _copy(source, target, table, f"SELECT {columns} FROM {table} WHERE neuron_id < {n_neurons}")
            if table != "neuron":  # There it is the primary key.
                target.execute(f"CREATE INDEX {table}_neuron ON {table} (neuron_id)")
        target.execute("ANALYZE")
        target.commit()
    return rows


def _copy(source: duckdb.DuckDBPyConnection, target: sqlite3.Connection, table: str, sql: str) -> int:
    """A table with its rows; ids are foreign keys, so that Datasette shows the texts of tokens as labels."""
    cursor = source.execute(sql)
    columns = []
    for name, kind, *_ in cursor.description:
        column = f'"{name}" {_TYPES.get(str(kind), "INTEGER")}'
        if name == f"{table}_id":
            column += " PRIMARY KEY"
        elif name.endswith("token_id"):
            column += " REFERENCES token (token_id)"
        elif name == "text_id":
            column += ' REFERENCES "text" (text_id)'
        columns.append(column)
    target.execute(f'CREATE TABLE "{table}" ({", ".join(columns)})')
    insert = f'INSERT INTO "{table}" VALUES ({", ".join("?" * len(columns))})'
    n = 0
    while batch := cursor.fetchmany(_BATCH):
        target.executemany(insert, batch)
        n += len(batch)
    return n


def addresses(database: str, neuron_id: int, more: str = "") -> dict[str, str]:
    """Datasette's page of each table for one neuron; `more` is added to each query."""
    pages = {"neuron": f"/{database}/neuron/{neuron_id}"}
    for table in TABLES[1:]:
        pages[table] = f"/{database}/{table}?neuron_id={neuron_id}&_size=max{more}"
    return pages


def compare(file: Path, neuron_ids: list[int], ours: Callable[[int], float]) -> str:
    """Milliseconds of Datasette's pages and of our one, in turn, warm, as lines of a table. `ours` times our page."""
    return asyncio.run(_compare(file, neuron_ids, ours))


async def _compare(file: Path, neuron_ids: list[int], ours: Callable[[int], float]) -> str:
    import datasette
    from datasette.app import Datasette

    served = Datasette([], immutables=[str(file)])
    await served.invoke_startup()

    async def timed(url: str) -> tuple[float, int]:
        await served.client.get(url)
        start = time.perf_counter()
        response = await served.client.get(url)
        spent = 1000 * (time.perf_counter() - start)
        assert response.status_code == 200, (url, response.status_code)
        return spent, len(response.content)

    # Counting rows and suggesting facets are extras of a table's page that ours has no counterpart of.
    ways = {"as they come": "", "without counts and facets": "&_nocount=1&_nosuggest=1&_nofacet=1"}
    times: dict[str, dict[str, list[float]]] = {way: {table: [] for table in TABLES} for way in ways}
    sizes: list[int] = []
    one_page: list[float] = []
    for neuron_id in neuron_ids:
        one_page.append(ours(neuron_id))
        for way, more in ways.items():
            pages = {table: await timed(url) for table, url in addresses(file.stem, neuron_id, more).items()}
            for table, (spent, _) in pages.items():
                times[way][table].append(spent)
            sizes.append(sum(size for _, size in pages.values()))
    served.executor.shutdown()
    whole = statistics.median(one_page)
    lines = [f"Datasette {datasette.__version__}, ms (median of {len(neuron_ids)} neurons); ours in turn: {whole:.1f}"]
    lines.append(f"{'page':<34}" + "".join(f"{way:>28}" for way in ways))
    for table in TABLES:
        lines.append(f"{table:<34}" + "".join(f"{statistics.median(times[way][table]):>28.1f}" for way in ways))
    sums = {way: statistics.median(map(sum, zip(*times[way].values(), strict=True))) for way in ways}
    lines.append(f"{'all of them':<34}" + "".join(f"{total:>28.1f}" for total in sums.values()))
    lines.append(f"{'all of them / our one page':<34}" + "".join(f"{total / whole:>28.2f}" for total in sums.values()))
    lines.append(f"All of them: {statistics.median(sizes) / 1000:.0f} kB. Windows are lists of numbers there, no text.")
    return "\n".join(lines)
