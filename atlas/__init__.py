"""Read an atlas: one DuckDB file about one language model read over one dataset."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from atlas.client import bridge, open
    from atlas.db import Atlas, open_atlas
    from atlas.errors import AtlasError

__all__ = ["Atlas", "AtlasError", "bridge", "open", "open_atlas"]

_PLACES = {"Atlas": "db", "AtlasError": "errors", "bridge": "client", "open": "client", "open_atlas": "db"}


def __getattr__(name: str) -> Any:
    """What this package offers, imported when it is wanted: a worker of the sandbox wants `atlas.parameters` alone."""
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_PLACES[name]}"), name)
