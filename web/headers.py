"""Headers that keep hostile text harmless: whatever a token spells, only this site's own files run or style a page."""

from __future__ import annotations

from flask import Flask, Response

HEADERS = {
    "Content-Security-Policy": (
        "default-src 'self'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
        "object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
}


def register(app: Flask) -> None:
    """Send the headers with every answer."""

    @app.after_request
    def add(response: Response) -> Response:
        response.headers.update(HEADERS)
        return response
