"""Read an atlas: one DuckDB file about one language model read over one dataset."""

from atlas.client import open
from atlas.db import Atlas, open_atlas
from atlas.errors import AtlasError

__all__ = ["Atlas", "AtlasError", "open", "open_atlas"]
