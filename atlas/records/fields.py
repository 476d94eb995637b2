"""Names of a record's fields."""

from __future__ import annotations

from dataclasses import fields


def field_names(record: type) -> list[str]:
    """Names of a record's fields, in order."""
    return [field.name for field in fields(record)]
