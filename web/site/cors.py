"""CORS: scripts of any site may read data, which is public and the same for every visitor."""

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
    """Whether a path is for data: the API, oEmbed, or a page with the suffix '.json'."""
    return path.startswith(f"{urls.API}/") or path.endswith(".json") or path == urls.to("oembed")


def register(app: Flask) -> None:
    """Send the CORS headers with every data answer."""

    @app.after_request
    def allow(response: Response) -> Response:
        if is_data(request.path):
            response.headers.update(HEADERS)
            if request.method == "OPTIONS":
                response.headers.update(_PREFLIGHT)
        return response
