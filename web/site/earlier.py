"""The mark `?earlier=BUILD` on a URL that was redirected from a link pinned to an earlier build of the same run.

It is removed before the app sees the query, so that it is not a parameter of any page and appears in no link.
"""

from __future__ import annotations

import re
from typing import Any

from flask import Flask, request

from atlas.core.info import AtlasInfo, came_before
from web.site import urls

_MARK = re.compile(rf"(?:^|&){urls.EARLIER}=([^&]*)")
_FOUND = "atlas.earlier"


def asked() -> str | None:
    """The build that the mark names, if there is a mark."""
    return request.environ.get(_FOUND)


def build(info: AtlasInfo) -> str | None:
    """The build of the reader's link; None: there is no mark, or it names no earlier build of this atlas."""
    build_id = asked()
    return build_id if build_id is not None and urls.is_build(build_id) and came_before(build_id, info) else None


def kept(url: str) -> str:
    """Another spelling of the requested URL, with its mark."""
    build = asked()
    return url if build is None or not urls.is_build(build) else urls.after(url, build)


def parted(query: str) -> tuple[str, str | None]:
    """A query without its mark, and the build that the mark names."""
    match = _MARK.search(query)
    return (query, None) if match is None else (_MARK.sub("", query).lstrip("&"), match[1])


def register(app: Flask) -> None:
    """Remove the mark."""
    inner = app.wsgi_app

    def outer(environ: dict[str, Any], start_response: Any) -> Any:
        query, build = parted(environ.get("QUERY_STRING", ""))
        if build is not None:
            environ = environ | {"QUERY_STRING": query, _FOUND: build}
        return inner(environ, start_response)

    app.wsgi_app = outer  # type: ignore[method-assign]  # as Flask documents it
