"""Serve atlas files as a site: pages that work without JavaScript, and the same data as JSON."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from web.site.app import create_app


__all__ = ["create_app"]


def __getattr__(name: str) -> Any:
    """Import `create_app` on first use: the processes of `web.workers.sql` stay small without it."""
    if name == "create_app":
        from web.site.app import create_app

        return create_app
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
