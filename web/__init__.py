"""Serve atlas files as a site: pages that work without JavaScript, and the same data as JSON."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from web.site.app import create_app


__all__ = ["create_app"]


def __getattr__(name: str) -> Any:
    """`create_app`, imported when it is wanted: the processes of `web.sandbox` are small because they do not."""
    if name == "create_app":
        from web.site.app import create_app

        return create_app
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
