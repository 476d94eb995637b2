"""The schema as text: `schema.sql` at the root of the repository, carried inside the wheel."""

from __future__ import annotations

import re
from functools import cache
from importlib.resources import files
from pathlib import Path

SCHEMA_VERSION = 1
"""Version of `schema.sql`; `atlas.core.upgrade` has the steps from older ones."""
STORAGE_VERSION = "v1.0.0"
"""Oldest DuckDB storage format that the schema needs: any DuckDB from 1.0.0 opens an atlas."""


_MACRO = re.compile(r"^CREATE MACRO (?P<name>\w+)\(.*?;$", re.MULTILINE | re.DOTALL)


def schema_sql(d_model: int) -> str:
    """The statements that create an empty atlas for a model of width `d_model`."""
    return _template().replace("{d_model}", str(d_model))


@cache
def own_macros() -> str:
    """The statements that create the schema's macros in one connection.

    These take precedence over macros of the same names in a file: a file that was written before a macro was added to
    the schema has it too, and a file cannot put another macro in its place.
    """
    statements = [match[0] for match in _MACRO.finditer(_template())]
    return "\n".join(statements).replace("CREATE MACRO", "CREATE OR REPLACE TEMP MACRO")


@cache
def macro_names() -> frozenset[str]:
    """Names of the schema's macros."""
    return frozenset(match["name"] for match in _MACRO.finditer(_template()))


@cache
def called_by_macros() -> frozenset[str]:
    """Names of the functions that the schema's macros call, in lower case."""
    return frozenset(name.lower() for name in re.findall(r"(\w+)\(", own_macros()))


@cache
def _template() -> str:
    packaged = Path(str(files("atlas"))) / "schema.sql"
    path = packaged if packaged.is_file() else packaged.parents[1] / "schema.sql"
    return path.read_text(encoding="utf-8")
