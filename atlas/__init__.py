"""Read an atlas: one DuckDB file about one language model read over one dataset."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from atlas.client.opened import bridge
    from atlas.client.opened import open_any as open
    from atlas.core.db import Atlas, open_atlas
    from atlas.core.errors import AtlasError


__all__ = ["Atlas", "AtlasError", "bridge", "open", "open_atlas"]

_PLACES = {
    "Atlas": ("core.db", "Atlas"),
    "AtlasError": ("core.errors", "AtlasError"),
    "bridge": ("client.opened", "bridge"),
    "open": ("client.opened", "open_any"),
    "open_atlas": ("core.db", "open_atlas"),
}


def __getattr__(name: str) -> Any:
    """Import the package's names on first use: a worker of the sandbox needs only `atlas.core.sql_text`."""
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, attribute = _PLACES[name]
    return getattr(import_module(f"{__name__}.{module}"), attribute)
