"""The schema explains itself: every table, view and column has a comment, and the program reads columns that exist."""

from __future__ import annotations

from dataclasses import fields

import duckdb
import pytest

from atlas.core.info import AtlasInfo
from atlas.core.schema import schema_sql
from atlas.topics.neuron import NEURON_COLUMNS


@pytest.fixture
def empty():
    with duckdb.connect() as connection:
        connection.execute(schema_sql(8))
        yield connection


def test_every_table_and_view_has_a_comment(empty):
    tables = "SELECT table_name, comment FROM duckdb_tables() UNION ALL "
    views = "SELECT view_name, comment FROM duckdb_views() WHERE NOT internal"
    found = empty.execute(tables + views).fetchall()
    assert {"atlas", "neuron", "token", "example", "neuron_page", "max_activating_example"} <= {row[0] for row in found}
    assert [name for name, comment in found if not (comment or "").strip()] == []


def test_every_column_has_a_comment(empty):
    found = empty.execute(
        "SELECT table_name, column_name, comment FROM duckdb_columns() WHERE NOT internal AND schema_name = 'main'"
    ).fetchall()
    assert len(found) > 150
    assert [f"{table}.{column}" for table, column, comment in found if not (comment or "").strip()] == []


def test_records_have_the_schemas_columns(empty):
    def columns(table):
        rows = empty.execute("SELECT column_name FROM duckdb_columns() WHERE table_name = ?", [table]).fetchall()
        return {row[0] for row in rows}

    assert columns("atlas") - {field.name for field in fields(AtlasInfo)} == {"readout_mean"}
    assert {field.name for field in fields(AtlasInfo)} <= columns("atlas")
    assert set(NEURON_COLUMNS) == columns("neuron")
