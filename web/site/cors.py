"""Data may be read by scripts of any site: it is public, and nothing here depends on who asks."""

from __future__ import annotations

from flask import Flask, Response, request

from web.site import urls

HEADERS = {
    "Access-Control-Allow-Origin": "*",
    "Access-Control-Expose-Headers": "ETag, Retry-After, X-RateLimit-Limit, X-RateLimit-Remaining, X-RateLimit-Reset",
}
_PREFLIGHT = {
    "Access-Control-Allow-Methods": "GET, HEAD, OPTIONS",
    "Access-Control-Allow-Headers": "If-None-Match",
    "Access-Control-Max-Age": "86400",
}


def is_data(path: str) -> bool:
    """Whether a path is of data: of the API, of oEmbed, or of a page with '.json' behind it."""
    return path.startswith(f"{urls.API}/") or path.endswith(".json") or path == urls.to("oembed")


def register(app: Flask) -> None:
    """Say so with every answer that is data."""

    @app.after_request
    def allow(response: Response) -> Response:
        if is_data(request.path):
            response.headers.update(HEADERS)
            if request.method == "OPTIONS":
                response.headers.update(_PREFLIGHT)
        return response
