"""Answers in every type of DuckDB: what JSON, CSV and Parquet make of each, against values worked out by hand."""

from __future__ import annotations

import csv as csv_reader
import io
import json
import math
from datetime import UTC, date, datetime, time
from decimal import Decimal

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from atlas.core.answer.asking import Answer, answer
from atlas.core.answer.parquet import parquet
from atlas.core.answer.shapes import iso
from atlas.core.answer.texts import csv
from atlas.core.sql_text import statements
from tests.answer_types import known


@pytest.fixture(scope="module")
def connection():
    """DuckDB without a file, in the console's time zone."""
    with duckdb.connect() as made:
        made.execute("SET TimeZone = 'UTC'")
        yield made


def table_of(asked: Answer) -> pa.Table:
    return pq.read_table(io.BytesIO(parquet(asked.columns, asked.types, asked.shapes, asked.rows)))


@pytest.mark.parametrize("told", known(), ids=lambda told: told.sql[:40])
def test_a_value_in_every_form(told, connection):
    asked = answer(connection, f"SELECT {told.sql} AS a, NULL AS b, '' AS c")
    assert json.loads(json.dumps(asked.rows[0][0], allow_nan=False)) == told.json
    if isinstance(told.json, int):
        assert type(asked.rows[0][0]) is type(told.json)
    assert next(csv_reader.reader([list(csv(asked.columns, asked.rows))[1]]))[0] == told.csv
    column = table_of(asked).column("a")
    assert str(column.type).replace(" ('a')", "") == told.arrow
    if "timestamp[ns" in told.arrow or "time64[ns" in told.arrow:
        assert column[0].value == told.parquet  # whole, where Python's own would be cut
    elif isinstance(told.parquet, float) and math.isnan(told.parquet):
        assert math.isnan(column[0].as_py())
    else:
        assert column[0].as_py() == told.parquet
        if not isinstance(told.parquet, datetime):  # pyarrow's UTC is not Python's
            assert repr(column[0].as_py()) == repr(told.parquet)  # 1.50 is not 1.5, nor True 1


def test_every_type_is_here(connection):
    described = connection.execute("FROM test_all_types()").description
    seen = {kind.id for _, kind, *_ in described} - {"list", "array", "struct", "tuple", "map", "union"}
    have = {connection.execute(f"SELECT {told.sql}").description[0][1].id for told in known()}
    missing = (seen | {"variant", "list", "array", "struct", "map", "union"}) - have
    assert missing <= ({"geometry"} if duckdb.__version__ < "2" else set())


def test_what_duckdb_calls_all_types_is_written_and_read(connection):
    """Extremes and NULLs of every type at once: nothing fails, and Parquet's numbers are DuckDB's."""
    asked = answer(connection, "FROM test_all_types()")
    table = table_of(asked)
    assert table.num_rows == len(asked.rows) == 3
    assert all(cell is None for cell in asked.rows[2])
    whole = ["tinyint", "smallint", "int", "bigint", "hugeint", "uhugeint", "utinyint", "usmallint", "uint", "ubigint"]
    for name in [*whole, "float", "double", "dec_4_1", "dec38_10", "varchar", "blob", "int_array", "struct"]:
        expected = [value for (value,) in connection.execute(f'SELECT "{name}" FROM test_all_types()').fetchall()]
        assert table.column(name).to_pylist() == expected, name
    assert str(table.schema.field("ubigint").type) == "uint64"
    assert table.schema.field("interval").metadata[b"duckdb"] == b"INTERVAL"


def test_the_same_column_in_and_out_of_what_a_type_holds(connection):
    fits = answer(connection, "SELECT unnest([DATE '2020-02-29', NULL]) AS a, unnest([1::HUGEINT, NULL]) AS b")
    assert [str(field.type) for field in table_of(fits).schema] == ["date32[day]", "decimal128(38, 0)"]
    beyond = answer(connection, "SELECT unnest([DATE '2020-02-29', 'infinity', NULL]) AS a")
    assert table_of(beyond).to_pydict() == {"a": ["2020-02-29", "infinity", None]}


def test_names_that_come_twice(connection):
    asked = answer(connection, 'SELECT 1 AS a, 2 AS a, 3 AS a_1, 4 AS a, 5 AS "x,y""z"')
    assert asked.columns == ("a", "a", "a_1", "a", 'x,y"z')
    assert list(csv(asked.columns, asked.rows)) == ['a,a,a_1,a,"x,y""z"\n', "1,2,3,4,5\n"]
    names = table_of(asked).schema.names
    assert names[0] == "a"
    assert len(set(names)) == 5
    twice = table_of(answer(connection, "SELECT 1 AS a, 'x' AS a"))
    assert twice.to_pylist() == [{"a": 1, "a_1": "x"}]


def test_no_rows_and_no_columns(connection):
    none = answer(connection, "SELECT 1::UBIGINT AS a, INTERVAL 1 DAY AS b, [1.5::DECIMAL(4, 2)] AS c WHERE false")
    assert list(csv(none.columns, none.rows)) == ["a,b,c\n"]
    schema = table_of(none).schema
    assert [str(field.type) for field in schema] == ["uint64", "string", "list<element: decimal128(4, 2)>"]
    assert list(csv((), ())) == []
    assert pq.read_table(io.BytesIO(parquet((), (), (), ()))).num_columns == 0


def test_nothing_and_an_empty_text_differ_in_csv(connection):
    asked = answer(connection, "FROM (VALUES (NULL, ''), ('a b', 'say \"x\"'), (E'line\\nend\\r', ' ,')) AS t(a, b)")
    assert "".join(csv(asked.columns, asked.rows)) == 'a,b\n,""\na b,"say ""x"""\n"line\nend\r"," ,"\n'


def test_rows_keep_their_order_when_asked_in_texts(connection):
    sql = "SELECT range AS n, DATE '2020-01-01' + range::INT AS d FROM range(5000) ORDER BY hash(range) DESC"
    asked = answer(connection, f"-- first\n{sql} ; -- end")
    plain = connection.execute(sql).fetchall()
    assert [(n, date.fromisoformat(d)) for n, d in asked.rows] == [(n, d) for n, d in plain]


def test_parameters_and_names_are_kept_when_asked_in_texts(connection):
    asked = answer(connection, "SELECT $a::DATE AS d, $b AS d, INTERVAL ($b) MONTH AS i", {"a": "2020-01-31", "b": 3})
    assert (asked.columns, asked.rows) == (("d", "d", "i"), (["2020-01-31", 3, "3 months"],))
    assert asked.types[0] == "DATE"


def test_a_visitors_own_words_in_a_type(connection):
    """Names of fields and values of an ENUM, beside times, for which the statement is written anew."""
    enum = """'x''"y'::ENUM('a'') AS VARCHAR) -- ', 'x''"y')"""
    fields = f"""'d': DATE 'infinity', 'say "no"); --': {enum}, 'j': '[1]'::JSON, 'n': NULL, 'h': 2::HUGEINT"""
    asked = answer(connection, f"SELECT {{{fields}}} AS a")
    assert asked.rows == ([{"d": "infinity", 'say "no"); --': "x'\"y", "j": "[1]", "n": None, "h": 2}],)


def test_what_cannot_stand_in_another_statement(connection):
    assert answer(connection, "EXPLAIN SELECT now()").columns == ("explain_key", "explain_value")
    assert answer(connection, "DESCRIBE SELECT DATE '2020-01-01' AS d").rows[0][:2] == ["d", "DATE"]
    assert answer(connection, "PIVOT (VALUES (DATE '2020-01-01', 1)) t(d, n) ON n IN (1)").rows == (["2020-01-01", 1],)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("2020-01-02", "2020-01-02"),
        ("2020-01-02 03:04:05", "2020-01-02T03:04:05"),
        ("2020-01-02 03:04:05.5", "2020-01-02T03:04:05.500000"),
        ("2020-01-02 03:04:05.1234567+02", "2020-01-02T03:04:05.123456700+02:00"),
        ("03:04:05.25-05:30", "03:04:05.250000-05:30"),
        ("24:00:00", "24:00:00"),
        ("infinity", "infinity"),
        ("0044-03-15 (BC)", "0044-03-15 (BC)"),
        ("12020-01-01 00:00:00", "12020-01-01 00:00:00"),
        ("1 month 2 days 00:00:03", "1 month 2 days 00:00:03"),
    ],
)
def test_iso(text, said):
    assert iso(text) == said
    if said[0].isdigit() and "T" in said and "567" not in said:
        assert datetime.fromisoformat(said).isoformat() == said


@pytest.mark.parametrize(
    ("sql", "parts"),
    [
        ("SELECT 1", ["SELECT 1"]),
        ("-- a\n\n/* b; */ SELECT ';' -- c;\n;; -- d", ["SELECT ';'"]),
        ("SELECT 1; SELECT 2", ["SELECT 1", "SELECT 2"]),
        ("SELECT E'it\\'s; one', 'it''s; one', \"a;b\", $$ ; $$, $t$;$t$", 1),
        ("SELECT 1 -- why\n, 2\n", ["SELECT 1 -- why\n, 2"]),
        (" -- only\n;", []),
        ("", []),
    ],
)
def test_statements(sql, parts):
    assert statements(sql) == parts if parts != 1 else len(statements(sql)) == 1


def test_a_hostile_shape_is_text():
    for shape in (["DECIMAL", 400, 2], ["LIST"], ["STRUCT", 5], ["MAP", "INTEGER"], 7, [[]], ["DECIMAL", "x", None]):
        made = pq.read_table(io.BytesIO(parquet(["a"], ["X"], [shape], [["b"], [None]])))
        assert made.to_pydict() == {"a": ["b", None]}


def test_what_was_cut_is_text():
    types = [["LIST", "INTEGER"], "BIGINT"]
    file = parquet(["a", "b"], ["INTEGER[]", "BIGINT"], types, [[[1, 2], 1], ["[1,2,3…", 2]])
    made = pq.read_table(io.BytesIO(file))
    assert made.to_pydict() == {"a": ["[1, 2]", "[1,2,3…"], "b": [1, 2]}


def test_times_are_moments_in_parquet(connection):
    asked = answer(connection, "SELECT TIMESTAMPTZ '2020-01-02 03:04:05.5+05:30' AS a, TIME '23:59:59.5' AS b")
    (row,) = table_of(asked).to_pylist()
    assert row == {"a": datetime(2020, 1, 1, 21, 34, 5, 500000, UTC), "b": time(23, 59, 59, 500000)}
    assert Decimal(asked.rows[0][0].split("T")[0][:4]) == 2020
