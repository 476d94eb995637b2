"""Column shapes: a column's DuckDB type as JSON, and its values as JSON without loss.

A shape is a type's name ('BIGINT', 'DATE', 'UUID', …), or a list that begins with one: `['DECIMAL', width, scale]`,
`['LIST', shape]` (arrays too), `['STRUCT', [[name, shape], …]]`, `['TUPLE', [shape, …]]`, `['MAP', key, value]`,
`['UNION']`. An ENUM is a VARCHAR and an untyped NULL an INTEGER, as in DuckDB's own tables.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from decimal import Decimal
from typing import Any

from atlas.core.jsonable import jsonable, key_text
from atlas.core.sql_text import quoted

Shape = Any
"""A shape as described above."""

TIMES = {
    "date",
    "time",
    "time_ns",
    "time with time zone",
    "timestamp",
    "timestamp_s",
    "timestamp_ms",
    "timestamp_ns",
    "timestamp with time zone",
    "timestamptz_ns",
    "interval",
}
"""Types whose Python counterparts lose something: nanoseconds, infinity, months, years outside 1 to 9999."""

_LEAVES = {"enum": "VARCHAR", "null": "INTEGER", '"null"': "INTEGER"}
_SPECIAL = {*map(str.upper, TIMES), "VARIANT", "STRUCT", "TUPLE", "MAP"}
_MOMENT = re.compile(
    r"(?P<date>\d{4}-\d\d-\d\d)?(?: ?(?P<time>\d\d:\d\d:\d\d)(?P<part>\.\d{1,9})?(?P<zone>[+-]\d\d(?::\d\d){0,2})?)?"
)


def shape_of(kind: Any) -> Shape:
    """The shape of a DuckDBPyType."""
    name = kind.id
    if name in ("list", "array"):
        return ["LIST", shape_of(kind.children[0][1])]
    if name in ("struct", "tuple"):
        fields = [(called, shape_of(child)) for called, child in kind.children]
        if fields and not fields[0][0]:
            return ["TUPLE", [shape for _, shape in fields]]
        return ["STRUCT", [list(field) for field in fields]]
    if name == "map":
        return ["MAP", *(shape_of(child) for _, child in kind.children)]
    if name == "decimal":
        return ["DECIMAL", *(number for _, number in kind.children)]
    if name == "union":
        return ["UNION"]
    return _LEAVES.get(name, name.upper())


def in_texts(kind: Any) -> tuple[str, bool]:
    """The type, as SQL, with text in place of types that Python cannot hold exactly, and whether it differs from the
    given DuckDBPyType."""
    name = kind.id
    if name in TIMES:
        return "VARCHAR", True
    if name == "variant":
        return "JSON", True
    if name in ("list", "array"):
        (_, child), *size = kind.children
        text, changed = in_texts(child)
        return f"{text}[{size[0][1] if size else ''}]", changed
    if name == "decimal":
        (_, width), (_, scale) = kind.children
        return f"DECIMAL({width}, {scale})", False
    if name not in ("struct", "tuple", "map", "union"):
        # Never the type as DuckDB prints it: the values of an ENUM, say, are a visitor's own words.
        return _LEAVES.get(name, name.upper()), False
    fields = [(called, *in_texts(child)) for called, child in kind.children]
    if name == "union":
        fields = fields[1:]  # the first is the tag
    if name == "map":
        parts = [text for _, text, _ in fields]
    else:  # a tuple has no names, and is cast by places to a struct with any
        parts = [f"{quoted(called or f'element{place}')} {text}" for place, (called, text, _) in enumerate(fields, 1)]
    return f"{name.upper().replace('TUPLE', 'STRUCT')}({', '.join(parts)})", any(changed for *_, changed in fields)


def teller(shape: Shape) -> Callable[[Any], Any]:
    """The converter of a column's values to JSON, as in `atlas.core.jsonable`. Times arrive as DuckDB's texts and
    become ISO 8601 where it can express them; `infinity`, `1 month` and years outside 1 to 9999 stay as DuckDB writes
    them."""
    return (lambda value: _as_json(value, shape)) if _is_special(shape) else jsonable


def _is_special(shape: Shape) -> bool:
    if isinstance(shape, str):
        return shape in _SPECIAL
    return _is_special(shape[1]) if shape[0] == "LIST" else shape[0] in _SPECIAL


def _as_json(value: Any, shape: Shape) -> Any:
    if value is None:
        return None
    kind = shape if isinstance(shape, str) else shape[0]
    if kind == "LIST":
        return [_as_json(item, shape[1]) for item in value]
    if kind == "STRUCT":
        return {name: _as_json(value[name], child) for name, child in shape[1]}
    if kind == "TUPLE":
        items = value.values() if isinstance(value, dict) else value
        return [_as_json(item, child) for item, child in zip(items, shape[1], strict=True)]
    if kind == "MAP":
        if is_nested(shape[1]):  # Python has no keys such as these, and DuckDB gives two lists
            return {name: [_as_json(item, child) for item in value[name]] for name, child in _lists(shape)}
        return {key_text(_as_json(key, shape[1])): _as_json(item, shape[2]) for key, item in value.items()}
    if kind == "VARIANT" and isinstance(value, str):
        try:
            return jsonable(json.loads(value, parse_float=_number))
        except ValueError:
            return value
    if kind in _SPECIAL and isinstance(value, str):
        return iso(value)
    return jsonable(value)


def is_nested(shape: Shape) -> bool:
    """Whether values are made of other values."""
    return not isinstance(shape, str) and shape[0] != "DECIMAL"


def _lists(shape: Shape) -> tuple[tuple[str, Shape], tuple[str, Shape]]:
    return ("key", shape[1]), ("value", shape[2])


def _number(text: str) -> float | str:
    """A number, or its text if no float is that number."""
    number = float(text)
    return number if Decimal(repr(number)) == Decimal(text) else text


def iso(text: str) -> str:
    """DuckDB's text of a time in ISO 8601, fractions with 6 or 9 digits, or unchanged if ISO 8601 cannot express it."""
    match = _MOMENT.fullmatch(text)
    if not match or (match["time"] or "").startswith("24"):
        return text
    part, zone = match["part"] or "", match["zone"] or ""
    part = part and part.ljust(7 if len(part) <= 7 else 10, "0")
    zone += ":00" if len(zone) == 3 else ""
    return "T".join(filter(None, (match["date"], (match["time"] or "") + part + zone)))
