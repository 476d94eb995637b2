"""Read an atlas: one DuckDB file about one language model read over one dataset."""

from atlas.db import Atlas, open_atlas
from atlas.errors import AtlasError

__all__ = ["Atlas", "AtlasError", "open_atlas"]
