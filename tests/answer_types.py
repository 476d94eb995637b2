"""A literal of every type of DuckDB, and by hand what each form of an answer makes of it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import Any

import duckdb


@dataclass(frozen=True)
class Told:
    """A value and what is made of it."""

    kind: str
    """Its type, as `duckdb_types()` has it."""
    sql: str
    json: Any
    csv: str
    arrow: str
    """Its column's type in Parquet, read by pyarrow."""
    parquet: Any
    """The value there; whole units since 1970 or midnight where Python has no such time."""


_HUGE = "170141183460469231731687303715884105727"
_BIG = "1" + "0" * 60
_UUID = "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"
_POINT = "0101000000000000000000f03f0000000000000040"

TYPES = [
    Told("BOOLEAN", "true", True, "true", "bool", True),
    Told("TINYINT", "(-128)::TINYINT", -128, "-128", "int8", -128),
    Told("SMALLINT", "(-32768)::SMALLINT", -32768, "-32768", "int16", -32768),
    Told("INTEGER", "2147483647", 2147483647, "2147483647", "int32", 2147483647),
    Told("BIGINT", "9007199254740993", 9007199254740993, "9007199254740993", "int64", 9007199254740993),
    Told("UTINYINT", "255::UTINYINT", 255, "255", "uint8", 255),
    Told("USMALLINT", "65535::USMALLINT", 65535, "65535", "uint16", 65535),
    Told("UINTEGER", "4294967295::UINTEGER", 4294967295, "4294967295", "uint32", 4294967295),
    Told("UBIGINT", "18446744073709551615::UBIGINT", 18446744073709551615, "18446744073709551615", "uint64",
         18446744073709551615),
    Told("HUGEINT", "(-7)::HUGEINT", -7, "-7", "decimal128(38, 0)", Decimal(-7)),
    Told("HUGEINT", f"{_HUGE}::HUGEINT", int(_HUGE), _HUGE, "decimal256(39, 0)", Decimal(_HUGE)),
    Told("UHUGEINT", "340282366920938463463374607431768211455::UHUGEINT", 2**128 - 1,
         "340282366920938463463374607431768211455", "decimal256(39, 0)", Decimal(2**128 - 1)),
    Told("BIGNUM", f"'{_BIG}'::BIGNUM", _BIG, _BIG, "string", _BIG),
    Told("FLOAT", "0.1::FLOAT", 0.10000000149011612, "0.10000000149011612", "float", 0.10000000149011612),
    Told("DOUBLE", "0.1::DOUBLE", 0.1, "0.1", "double", 0.1),
    Told("DECIMAL", "1.50::DECIMAL(4, 2)", "1.50", "1.50", "decimal128(4, 2)", Decimal("1.50")),
    Told("DECIMAL", "-1234567890123456789012345678.0123456789::DECIMAL(38, 10)",
         "-1234567890123456789012345678.0123456789", "-1234567890123456789012345678.0123456789",
         "decimal128(38, 10)", Decimal("-1234567890123456789012345678.0123456789")),
    Told("VARCHAR", "'é, \"1\"'", 'é, "1"', 'é, "1"', "string", 'é, "1"'),
    Told("BLOB", r"'\x00\xFFa'::BLOB", "00ff61", "00ff61", "binary", b"\x00\xffa"),
    Told("BIT", "'00101'::BIT", "00101", "00101", "string", "00101"),
    Told("UUID", f"'{_UUID}'::UUID", _UUID, _UUID, "string", _UUID),
    Told("ENUM", "'b'::ENUM('a', 'b')", "b", "b", "string", "b"),
    Told("JSON", """'{"a": [1, 2.50]}'::JSON""", '{"a": [1, 2.50]}', '{"a": [1, 2.50]}', "string", '{"a": [1, 2.50]}'),
    Told("DATE", "DATE '2020-02-29'", "2020-02-29", "2020-02-29", "date32[day]", date(2020, 2, 29)),
    Told("TIME", "TIME '01:02:03.004'", "01:02:03.004000", "01:02:03.004000", "time64[us]", time(1, 2, 3, 4000)),
    Told("TIME_NS", "'01:02:03.123456789'::TIME_NS", "01:02:03.123456789", "01:02:03.123456789", "time64[ns]",
         3723_123456789),
    Told("TIME WITH TIME ZONE", "TIMETZ '01:02:03+05:30'", "01:02:03+05:30", "01:02:03+05:30", "string",
         "01:02:03+05:30"),
    Told("TIMESTAMP", "TIMESTAMP '2020-01-02 03:04:05'", "2020-01-02T03:04:05", "2020-01-02T03:04:05", "timestamp[us]",
         datetime(2020, 1, 2, 3, 4, 5)),
    Told("TIMESTAMP_S", "TIMESTAMP_S '2020-01-02 03:04:05'", "2020-01-02T03:04:05", "2020-01-02T03:04:05",
         "timestamp[ms]", datetime(2020, 1, 2, 3, 4, 5)),
    Told("TIMESTAMP_MS", "TIMESTAMP_MS '1960-01-02 03:04:05.006'", "1960-01-02T03:04:05.006000",
         "1960-01-02T03:04:05.006000", "timestamp[ms]", datetime(1960, 1, 2, 3, 4, 5, 6000)),
    Told("TIMESTAMP_NS", "TIMESTAMP_NS '1969-12-31 23:59:59.123456789'", "1969-12-31T23:59:59.123456789",
         "1969-12-31T23:59:59.123456789", "timestamp[ns]", -876543211),
    Told("TIMESTAMP WITH TIME ZONE", "TIMESTAMPTZ '2020-01-02 03:04:05.000001+01'", "2020-01-02T02:04:05.000001+00:00",
         "2020-01-02T02:04:05.000001+00:00", "timestamp[us, tz=UTC]", datetime(2020, 1, 2, 2, 4, 5, 1, UTC)),
    Told("TIMESTAMPTZ_NS", "'1970-01-01 00:00:01.123456789+00'::TIMESTAMPTZ_NS", "1970-01-01T00:00:01.123456789+00:00",
         "1970-01-01T00:00:01.123456789+00:00", "timestamp[ns, tz=UTC]", 1_123456789),
    Told("INTERVAL", "INTERVAL 1 MONTH", "1 month", "1 month", "string", "1 month"),
    Told("INTERVAL", "INTERVAL 30 DAY", "30 days", "30 days", "string", "30 days"),
    Told("VARIANT", "{'a': 1.5::DOUBLE, 'b': [DATE 'infinity']}::VARIANT", {"a": 1.5, "b": ["infinity"]},
         '{"a": 1.5, "b": ["infinity"]}', "string", '{"a": 1.5, "b": ["infinity"]}'),
    Told("GEOMETRY", "'POINT(1 2)'::GEOMETRY", _POINT, _POINT, "binary", bytes.fromhex(_POINT)),
    Told("NULL", "NULL", None, "", "int32", None),
]  # fmt: skip

NESTED = [
    Told("INTEGER", "[1, NULL]", [1, None], "[1, null]", "list<element: int32>", [1, None]),
    Told("DATE", "[DATE '2020-01-01', NULL]", ["2020-01-01", None], '["2020-01-01", null]',
         "list<element: date32[day]>", [date(2020, 1, 1), None]),
    Told("FLOAT", "[0.5, 'inf'::FLOAT]::FLOAT[2]", [0.5, "Infinity"], '[0.5, "Infinity"]', "list<element: float>",
         [0.5, math.inf]),
    Told("STRUCT", "{'a': 1.50::DECIMAL(3, 2), 'b \"c': [INTERVAL 1 MONTH]}", {"a": "1.50", 'b "c': ["1 month"]},
         '{"a": "1.50", "b \\"c": ["1 month"]}', 'struct<a: decimal128(3, 2), b "c: list<element: string>>',
         {"a": Decimal("1.50"), 'b "c': ["1 month"]}),
    Told("STRUCT", "row(1, DATE '2020-01-01')", [1, "2020-01-01"], '[1, "2020-01-01"]',
         "struct<element1: int32, element2: date32[day]>", {"element1": 1, "element2": date(2020, 1, 1)}),
    Told("MAP", "MAP {1: DATE '2020-01-01', 2: NULL}", {"1": "2020-01-01", "2": None},
         '{"1": "2020-01-01", "2": null}', "map<int32, date32[day]>", [(1, date(2020, 1, 1)), (2, None)]),
    Told("MAP", "MAP {true: 1}", {"true": 1}, '{"true": 1}', "map<bool, int32>", [(True, 1)]),
    Told("MAP", r"MAP {'\xFF'::BLOB: 1}", {"ff": 1}, '{"ff": 1}', "map<binary, int32>", [(b"\xff", 1)]),
    Told("MAP", "MAP {TIMESTAMP '2020-01-01 00:00:00': 'x'}", {"2020-01-01T00:00:00": "x"},
         '{"2020-01-01T00:00:00": "x"}', "map<timestamp[us], string>", [(datetime(2020, 1, 1), "x")]),
    Told("MAP", "MAP {{'k': 1}: 2}", {"key": [{"k": 1}], "value": [2]}, '{"key": [{"k": 1}], "value": [2]}',
         "map<struct<k: int32>, int32>", [({"k": 1}, 2)]),
    Told("UNION", "union_value(a := 1)::UNION(a INTEGER, d DATE)", 1, "1", "string", "1"),
    Told("UNION", "union_value(d := DATE 'infinity')::UNION(a INTEGER, d DATE)", "infinity", "infinity", "string",
         "infinity"),
]  # fmt: skip

SPECIAL = [
    Told("DOUBLE", "'nan'::DOUBLE", "NaN", "NaN", "double", math.nan),
    Told("DOUBLE", "'-infinity'::DOUBLE", "-Infinity", "-Infinity", "double", -math.inf),
    Told("DOUBLE", "-0.0::DOUBLE", -0.0, "-0.0", "double", -0.0),
    Told("FLOAT", "'inf'::FLOAT", "Infinity", "Infinity", "float", math.inf),
    Told("DATE", "DATE '9999-12-31'", "9999-12-31", "9999-12-31", "date32[day]", date(9999, 12, 31)),
    Told("DATE", "DATE '-infinity'", "-infinity", "-infinity", "string", "-infinity"),
    Told("DATE", "DATE '0044-03-15 (BC)'", "0044-03-15 (BC)", "0044-03-15 (BC)", "string", "0044-03-15 (BC)"),
    Told("TIMESTAMP", "TIMESTAMP 'infinity'", "infinity", "infinity", "string", "infinity"),
    Told("TIMESTAMP WITH TIME ZONE", "TIMESTAMPTZ '-infinity'", "-infinity", "-infinity", "string", "-infinity"),
    Told("TIME", "TIME '24:00:00'", "24:00:00", "24:00:00", "string", "24:00:00"),
    Told("INTERVAL", "INTERVAL '-1 month 2 days 1.5 seconds'", "-1 month 2 days 00:00:01.5",
         "-1 month 2 days 00:00:01.5", "string", "-1 month 2 days 00:00:01.5"),
    Told("HUGEINT", "(SELECT sum(x) FROM (VALUES (1), (2)) t(x))", 3, "3", "decimal128(38, 0)", Decimal(3)),
]  # fmt: skip


def known() -> list[Told]:
    """Those whose type this DuckDB has, and can hand to Python: 1.5 cannot GEOMETRY."""
    with duckdb.connect() as connection:
        names = "SELECT upper(logical_type) FROM duckdb_types() UNION SELECT upper(type_name) FROM duckdb_types()"
        have = {name for (name,) in connection.execute(names).fetchall()}
        try:
            connection.execute("SELECT 'POINT(1 2)'::GEOMETRY").fetchall()
        except duckdb.Error:
            have.discard("GEOMETRY")
    return [told for told in (*TYPES, *NESTED, *SPECIAL) if told.kind in have]
