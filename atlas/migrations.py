"""How the tables of each schema version follow from those of the version before.

A migration says only what changes: for a table, a query over its rows in the version before, `{old}`. Tables that it
does not name are copied as they are, tables that are new start empty, types and comments come from `schema.sql`.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Migration:
    """From the version before `to_version` to it."""

    to_version: int
    name: str
    tables: dict[str, str]
    """Table name to a query over `{old}` that gives its columns in the new version (missing ones become NULL)."""


MIGRATIONS: tuple[Migration, ...] = ()
"""In order of version, none left out. Version 1 is the first."""


def migrated(table: str, rows: str, found: int) -> str:
    """SQL of a table's rows in the newest version.

    Args:
        table: Name of the table.
        rows: SQL of its rows in version `found`: the table's own name, or a query in parentheses.
        found: Schema version of those rows.
    """
    for migration in MIGRATIONS:
        if migration.to_version > found and table in migration.tables:
            rows = f"({migration.tables[table].format(old=rows)})"
    return rows
