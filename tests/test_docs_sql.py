"""The queries of the documents: they run on any atlas, and their printed answers are the demo atlas's."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest

from docs.outputs import DEMO, FILLED, answered, ask, connected, documented_identity, fill, identity, render

QUERIES = [query for path in FILLED for query in answered(path)]


@pytest.fixture(scope="module")
def demo() -> Iterator[duckdb.DuckDBPyConnection]:
    """The demo atlas, if it is of the same weights and texts as the documents' answers."""
    if not DEMO.exists():
        pytest.skip("there is no demo.duckdb; `make demo` builds it")
    with connected(DEMO) as connection:
        if identity(connection)[1:] != documented_identity()[1:]:
            pytest.skip("demo.duckdb is of other weights or texts than the documents (another Python's, say)")
        yield connection


def test_the_documents_have_queries() -> None:
    assert len(QUERIES) >= 20
    assert all(query.rows for query in QUERIES)


@pytest.mark.parametrize("fixture", ["tiny_llama_atlas", "tiny_gpt2_atlas"])
def test_queries_run_on_any_atlas(request: pytest.FixtureRequest, fixture: str) -> None:
    """Names of neurons and tokens are changed to ones that this atlas has; columns are the documented ones."""
    path: Path = request.getfixturevalue(fixture)
    with duckdb.connect(str(path), read_only=True) as connection:
        neuron, token = connection.execute("SELECT neuron, token FROM pair WHERE direction = 'top' LIMIT 1").fetchone()
        named = {"L24N917": neuron, "L25N1527": neuron, " than": token, " an": token, " a": token}
        n_empty = 0
        for query in QUERIES:
            sql = query.sql
            for documented, here in named.items():
                sql = sql.replace(f"'{documented}'", "'" + here.replace("'", "''") + "'")
            columns, rows = ask(connection, sql)
            assert columns == query.columns, query
            n_empty += not rows
    assert n_empty < len(QUERIES) / 2  # Thresholds made for a real model leave some without rows.


@pytest.mark.parametrize("query", QUERIES, ids=str)
def test_answers_are_the_demo_atlass(demo: duckdb.DuckDBPyConnection, query) -> None:
    columns, rows = ask(demo, query.sql)
    assert columns == query.columns
    if identity(demo) == documented_identity():
        assert rows == query.rows
        return
    # Built elsewhere from the same inputs: sums in another order, counts that moved to a neighbouring bin.
    assert len(rows) == len(query.rows)
    for found, documented in zip(rows, query.rows, strict=True):
        assert all(map(alike, found, documented)), (found, documented)


def test_filling_in_answers_changes_nothing(demo: duckdb.DuckDBPyConnection) -> None:
    if identity(demo) != documented_identity():
        pytest.skip("demo.duckdb is another build than the documents'")
    for path in FILLED:
        text = path.read_text(encoding="utf-8")
        assert fill(text, demo) == text, f"{path.name} has drifted; run `make docs`"


def alike(found: str, documented: str) -> bool:
    """Whether two shown values are equal, or numbers as near as two machines give."""
    try:
        one, other = float(found.replace(",", "")), float(documented.replace(",", ""))
    except ValueError:
        return found == documented
    slack = 0.01 if "." in documented else 3
    return abs(one - other) <= max(slack, 0.05 * abs(other))


@pytest.mark.parametrize(
    ("found", "documented", "same"),
    [
        ("1.00", "1.01", True),
        ("1.00", "1.20", False),
        ("1,000", "1,003", True),
        ("5", "9", False),
        ("an", "an", True),
        ("an", "a", False),
        ("–", "–", True),
        ("–", "1.0", False),
    ],
)
def test_alike(found: str, documented: str, same: bool) -> None:
    assert alike(found, documented) is same


def test_tables_are_read_as_they_are_written(tmp_path: Path) -> None:
    with duckdb.connect() as connection:
        columns, rows = ask(
            connection,
            "SELECT * FROM (VALUES (1, ' an  x', -2.5, NULL), (12345, e'\\n', 1e-7, 'b')) AS t(i, token, v, w)",
        )
    assert rows == (("1", "␣an  x", "-2.50", "–"), ("12,345", "\\n", "1.00e-07", "b"))
    path = tmp_path / "page.md"
    path.write_text(f"```sql\nSELECT 1\n```\n\n```text\n{render(columns, rows)}```\n", encoding="utf-8")
    (query,) = answered(path)
    assert (query.columns, query.rows, str(query)) == (columns, rows, "page.md, query 1")
