"""Rows of an answer as strict JSON, each cell and the whole bounded.

What JSON cannot say is said as in `atlas.jsonable`, whose rules these are (a test compares them): a worker imports
nothing of `atlas` that needs more than the statement's text.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from datetime import date, time
from typing import Any

CUT = "…"
"""Ends a cell that was cut."""

_CHUNK, _CHUNK_BYTES = 256, 65_536
"""Rows fetched at once, at most, and about how many bytes of JSON they make."""


def plain(value: Any) -> Any:
    """The value in terms of JSON."""
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, float):
        if math.isfinite(value):
            return value
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, bytes | bytearray | memoryview):
        return bytes(value).hex()
    if isinstance(value, date | time):
        return value.isoformat()
    return str(value)


def cell(value: Any, most: int) -> tuple[str, bool]:
    """A value as JSON text of about `most` characters at most, and whether it was cut: a long text keeps its
    beginning, anything else that is long becomes the beginning of its JSON, as text."""
    if isinstance(value, str) and len(value) > most:
        return dumps(value[:most] + CUT), True
    text = dumps(plain(value))
    if len(text) <= most or isinstance(value, str):
        return text, False
    return dumps(text[:most] + CUT), True


def dumps(value: Any) -> str:
    """Strict JSON text; no surrogate can be in it, so it is also UTF-8."""
    return json.dumps(value, allow_nan=False, ensure_ascii=False, separators=(",", ":"))


def rows_json(
    fetch: Callable[[int], Sequence[Sequence[Any]]], rows: int, most_bytes: int, most_cell: int
) -> tuple[bytes, bool]:
    """Rows as a JSON array, and whether any row or part of a cell was left out. `fetch` gives the next few rows."""
    parts: list[bytes] = []
    size, truncated = 2, False
    # Few at a time while they are long: fetched rows are Python's objects, and those that are left out are too.
    while chunk := fetch(max(1, min(_CHUNK, _CHUNK_BYTES * len(parts) // size))):
        for row in chunk:
            made = [cell(value, most_cell) for value in row]
            text = f"[{','.join(text for text, _ in made)}]".encode()
            size += len(text) + 1
            if len(parts) == rows or size > most_bytes:
                return b"[" + b",".join(parts) + b"]", True
            truncated = truncated or any(cut for _, cut in made)
            parts.append(text)
    return b"[" + b",".join(parts) + b"]", truncated
