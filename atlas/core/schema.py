"""The schema as text: `schema.sql` at the root of the repository, carried inside the wheel."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

SCHEMA_VERSION = 1
"""Version of `schema.sql`; `atlas.core.upgrade` has the steps from older ones."""
STORAGE_VERSION = "v1.0.0"
"""Oldest DuckDB storage format that the schema needs: any DuckDB from 1.0.0 opens an atlas."""


def schema_sql(d_model: int) -> str:
    """The statements that create an empty atlas for a model of width `d_model`."""
    packaged = Path(str(files("atlas"))) / "schema.sql"
    path = packaged if packaged.is_file() else packaged.parents[1] / "schema.sql"
    return path.read_text(encoding="utf-8").replace("{d_model}", str(d_model))
