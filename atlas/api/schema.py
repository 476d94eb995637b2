"""Records as JSON Schema, made from their fields, type hints and docstrings and from the comments of schema.sql."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from datetime import datetime
from functools import cache
from types import NoneType, UnionType
from typing import Any, NotRequired, Union, get_args, get_origin, get_type_hints, is_typeddict

import duckdb

from atlas.core.call import Call
from atlas.core.schema import schema_sql
from atlas.core.units import Token
from atlas.topics.example import Example

Schema = dict[str, Any]

_PLAIN: dict[Any, Schema] = {
    Any: {},
    NoneType: {"type": "null"},
    bool: {"type": "boolean"},
    datetime: {"type": "string"},  # ISO 8601 without a zone, which JSON Schema has no format for
    float: {"type": "number"},
    int: {"type": "integer"},
    str: {"type": "string"},
}


@cache
def _comments() -> Mapping[tuple[str, str], str]:
    with duckdb.connect() as connection:
        connection.execute(schema_sql(1))
        rows = connection.execute("SELECT table_name, column_name, comment FROM duckdb_columns() WHERE NOT internal")
        return {(table, column): comment for table, column, comment in rows.fetchall()}


class Schemas:
    """JSON Schemas of type hints; those of records are collected in `components`, by name."""

    def __init__(self) -> None:
        self.components: dict[str, Schema] = {}

    def of(self, hint: Any) -> Schema:
        """The schema of a hint's values in JSON."""
        if hint in _PLAIN:
            return dict(_PLAIN[hint])
        origin, inner = get_origin(hint), get_args(hint)
        if origin in (Union, UnionType):
            return self._either([self.of(item) for item in inner])
        if origin is tuple and inner[-1] is not Ellipsis:
            places = [self.of(item) for item in inner]
            return {"type": "array", "prefixItems": places, "minItems": len(places), "maxItems": len(places)}
        if origin in (tuple, list):
            return {"type": "array", "items": self.of(inner[0])}
        if origin is dict:
            return {"type": "object", "additionalProperties": self.of(inner[1])}
        return self._record(hint)

    def answer(self, call: Call) -> Schema:
        """The schema of a call's whole answer: `data`; also `next` for a list, `total` for a page of one, and the
        `tokens` of the windows for examples."""
        shape: Any = call.answer
        row: Any = call.row
        properties: dict[str, Schema] = {"data": self.of(tuple[row, ...] if call.paged else shape)}
        if row is not None:
            what = "Cursor of the next rows; null: there are no more."
            properties["next"] = {"type": ["string", "null"], "format": "uri-reference", "description": what}
        if call.paged:
            properties["total"] = {"type": "integer", "description": "Rows of the whole list."}
        if row is Example:
            what = "Every token of the windows, once."
            properties["tokens"] = self.of(tuple[Token, ...]) | {"description": what}
        return _object(properties, list(properties))

    def _record(self, record: type) -> Schema:
        name = record.__name__
        if name not in self.components:
            self.components[name] = {}  # its name, while its own fields are described
            self.components[name] = self._fields(record)
        return {"$ref": f"#/components/schemas/{name}"}

    def _fields(self, record: type) -> Schema:
        shape = record
        if is_dataclass(record) and hasattr(record, "as_json"):
            shape = get_type_hints(record.as_json)["return"]
        hints = get_type_hints(shape, include_extras=True)
        names = list(hints) if is_typeddict(shape) else [field.name for field in fields(shape)]
        properties, required = {}, []
        for name in names:
            hint = hints[name]
            if get_origin(hint) is NotRequired:
                hint = get_args(hint)[0]
            else:
                required.append(name)
            comment = _comment(record, name)
            properties[name] = self.of(hint) | ({"description": comment} if comment else {})
        return {"description": inspect.cleandoc(shape.__doc__), **_object(properties, required)}

    @staticmethod
    def _either(schemas: list[Schema]) -> Schema:
        if all(set(schema) == {"type"} for schema in schemas):
            return {"type": [schema["type"] for schema in schemas]}
        return {"anyOf": schemas}


def _object(properties: Mapping[str, Schema], required: list[str]) -> Schema:
    return {"type": "object", "properties": properties, "required": required, "additionalProperties": False}


def _comment(record: type, name: str) -> str | None:
    """The comment of schema.sql on a field: that on the column of the record's `TABLE` (a table or view)."""
    table = getattr(record, "TABLE", None)
    return None if table is None else _comments().get((table, name), _comments().get((table, f"{name}_id")))
