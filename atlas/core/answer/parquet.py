"""An answer as a Parquet file, from its rows in terms of JSON and its columns' shapes."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from atlas.core.answer.shapes import Shape, is_nested
from atlas.core.answer.texts import text

_LEAVES: dict[str, tuple[pa.DataType, Callable[[Any], Any]]] = {
    "BOOLEAN": (pa.bool_(), lambda value: value in (True, "true")),
    **{
        f"{'U' * (not signed)}{name}": (getattr(pa, f"{'u' * (not signed)}int{bits}")(), int)
        for name, bits in (("TINYINT", 8), ("SMALLINT", 16), ("INTEGER", 32), ("BIGINT", 64))
        for signed in (True, False)
    },
    "FLOAT": (pa.float32(), float),
    "DOUBLE": (pa.float64(), float),
    "BLOB": (pa.binary(), bytes.fromhex),
    "GEOMETRY": (pa.binary(), bytes.fromhex),
    "DATE": (pa.date32(), date.fromisoformat),
    "TIME": (pa.time64("us"), time.fromisoformat),
    "TIME_NS": (pa.time64("ns"), lambda value: _nanoseconds("1970-01-01T" + value)),
    "TIMESTAMP": (pa.timestamp("us"), datetime.fromisoformat),
    "TIMESTAMP_S": (pa.timestamp("ms"), datetime.fromisoformat),
    "TIMESTAMP_MS": (pa.timestamp("ms"), datetime.fromisoformat),
    "TIMESTAMP_NS": (pa.timestamp("ns"), lambda value: _nanoseconds(value)),
    "TIMESTAMP WITH TIME ZONE": (pa.timestamp("us", "UTC"), datetime.fromisoformat),
    "TIMESTAMPTZ_NS": (pa.timestamp("ns", "UTC"), lambda value: _nanoseconds(value)),
}
"""Types that Parquet has, and the converters of their values from JSON; other types are text."""

_HUGE = (pa.decimal128(38, 0), pa.decimal256(39, 0))
_PART = re.compile(r"\.(\d+)")


def parquet(
    columns: Sequence[str], types: Sequence[str], shapes: Sequence[Shape], rows: Sequence[Sequence[Any]]
) -> bytes:
    """A Parquet file. A column whose type Parquet lacks, or with a value that its Parquet type cannot hold (such as an
    infinite date or a truncated cell), is text, as in CSV. A repeated name gets its position as a suffix; the column's
    metadata has its DuckDB type, as `duckdb`."""
    arrays = [_column([row[place] for row in rows], shape) for place, shape in enumerate(shapes)]
    names: list[str] = []
    for place, name in enumerate(columns):
        taken = {*names, *columns[:place]}
        names.append(next(spelled for spelled in _spellings(name, place) if spelled not in taken))
    fields = [
        pa.field(name, array.type, metadata={"duckdb": kind})
        for name, array, kind in zip(names, arrays, types, strict=True)
    ]
    out = io.BytesIO()
    pq.write_table(pa.Table.from_arrays(arrays, schema=pa.schema(fields)), out)
    return out.getvalue()


def _spellings(name: str, place: int) -> Iterable[str]:
    yield name
    while True:
        name = f"{name}_{place}"
        yield name


def _column(values: Sequence[Any], shape: Shape) -> pa.Array:
    for huge in _HUGE:
        try:
            kind, make = _maker(shape, huge)
            return pa.array([None if value is None else make(value) for value in values], kind)
        except (pa.ArrowException, ValueError, TypeError, LookupError, ArithmeticError, RecursionError):
            continue
    return pa.array([None if value is None else text(value) for value in values], pa.string())


def _maker(shape: Shape, huge: pa.DataType) -> tuple[pa.DataType, Callable[[Any], Any]]:
    """A shape's type in Parquet, and the converter of its values."""
    if isinstance(shape, str):
        return (huge, Decimal) if shape in ("HUGEINT", "UHUGEINT") else _LEAVES.get(shape, (pa.string(), text))
    name, *inside = shape
    if name == "DECIMAL":
        return pa.decimal128(*inside), Decimal
    if name == "LIST":
        kind, make = _maker(inside[0], huge)
        return pa.list_(kind), lambda value: [_some(make, item) for item in value]
    if name in ("STRUCT", "TUPLE") and inside[0]:
        return _struct(name, inside[0], huge)
    if name == "MAP":
        return _map(inside[0], inside[1], huge)
    return pa.string(), text  # a union, a struct without fields


def _struct(name: str, fields: Sequence[Any], huge: pa.DataType) -> tuple[pa.DataType, Callable[[Any], Any]]:
    named = fields if name == "STRUCT" else [(f"element{place}", shape) for place, shape in enumerate(fields, 1)]
    made = [(called, *_maker(shape, huge)) for called, shape in named]

    def make(value: Any) -> dict[str, Any]:
        items = [value[called] for called, *_ in made] if isinstance(value, dict) else value
        return {called: _some(each, item) for (called, _, each), item in zip(made, items, strict=True)}

    return pa.struct([(called, kind) for called, kind, _ in made]), make


def _map(key: Shape, item: Shape, huge: pa.DataType) -> tuple[pa.DataType, Callable[[Any], Any]]:
    (key_kind, make_key), (item_kind, make_item) = _maker(key, huge), _maker(item, huge)

    def make(value: dict[str, Any]) -> list[tuple[Any, Any]]:
        pairs = zip(value["key"], value["value"], strict=True) if is_nested(key) else value.items()
        return [(make_key(one), _some(make_item, other)) for one, other in pairs]

    return pa.map_(key_kind, item_kind), make


def _some(make: Callable[[Any], Any], value: Any) -> Any:
    return None if value is None else make(value)


def _nanoseconds(text: str) -> int:
    """Nanoseconds since 1970 of a time in ISO 8601 with up to nine decimals of a second."""
    part = _PART.search(text)
    whole = datetime.fromisoformat(_PART.sub("", text))
    seconds = (whole if whole.tzinfo else whole.replace(tzinfo=UTC)) - datetime(1970, 1, 1, tzinfo=UTC)
    return (seconds.days * 86_400 + seconds.seconds) * 10**9 + int(part[1].ljust(9, "0") if part else 0)
