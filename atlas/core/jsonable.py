"""Turn records and SQL values into strict JSON: values that JSON lacks become strings, never a bare NaN."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from datetime import date, time
from typing import Any


def jsonable(value: Any) -> Any:
    """The value as JSON values. Records become objects by field (or by their own `as_json`), bytes hexadecimal
    text, dates ISO 8601 text, NaN and infinities the texts 'NaN', 'Infinity' and '-Infinity', anything else its text.
    """
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, float):
        if math.isfinite(value):
            return value
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    if hasattr(value, "as_json"):
        return jsonable(value.as_json())
    if is_dataclass(value):
        return {field.name: jsonable(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, Mapping):
        return {key_text(jsonable(key)): jsonable(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [jsonable(item) for item in value]
    if isinstance(value, bytes | bytearray | memoryview):
        return bytes(value).hex()
    if isinstance(value, date | time):
        return value.isoformat()
    return str(value)


def key_text(key: Any) -> str:
    """A key of a JSON object: text stays as it is, any other value becomes its JSON text."""
    return key if isinstance(key, str) else json.dumps(key, allow_nan=False, ensure_ascii=False)


def dumps(value: Any, indent: int | None = None) -> str:
    """The value as strict JSON text."""
    return json.dumps(jsonable(value), allow_nan=False, ensure_ascii=False, indent=indent)
