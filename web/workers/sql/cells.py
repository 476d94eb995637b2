"""Rows of an answer as strict JSON, with bounds on each cell and on the whole."""

from __future__ import annotations

import json
from typing import Any

from atlas.core.answer.asking import Asked

CUT = "…"
"""Marks the end of a truncated cell."""

_CHUNK, _CHUNK_BYTES = 256, 65_536
"""Rows fetched at once, at most, and about how many bytes of JSON they make."""


def cell(value: Any, most: int) -> tuple[str, bool]:
    """A JSON value as text of at most about `most` characters, and whether it was truncated: a long text keeps its
    beginning, any other long value becomes the beginning of its JSON, as text."""
    if isinstance(value, str) and len(value) > most:
        return dumps(value[:most] + CUT), True
    text = dumps(value)
    if len(text) <= most or isinstance(value, str):
        return text, False
    return dumps(text[:most] + CUT), True


def dumps(value: Any) -> str:
    """Strict JSON text; no surrogate can be in it, so it is also UTF-8."""
    return json.dumps(value, allow_nan=False, ensure_ascii=False, separators=(",", ":"))


def rows_json(asked: Asked, rows: int, most_bytes: int, most_cell: int) -> tuple[bytes, str | None]:
    """Rows as a JSON array, and what was left out: 'rows' beyond `rows`, rows beyond `most_bytes` ('size'), ends of
    'cells', or None: nothing."""
    parts: list[bytes] = []
    size, cut_cells = 2, False
    tellers = asked.tellers
    # Fetch few rows at a time while they are long: fetched rows are Python objects, even those left out of the answer.
    while chunk := asked.fetch(max(1, min(_CHUNK, _CHUNK_BYTES * len(parts) // size))):
        for row in chunk:
            made = [cell(tell(value), most_cell) for tell, value in zip(tellers, row, strict=True)]
            text = f"[{','.join(text for text, _ in made)}]".encode()
            size += len(text) + 1
            if len(parts) == rows or size > most_bytes:
                return b"[" + b",".join(parts) + b"]", "rows" if len(parts) == rows else "size"
            cut_cells = cut_cells or any(cut for _, cut in made)
            parts.append(text)
    return b"[" + b",".join(parts) + b"]", "cells" if cut_cells else None
