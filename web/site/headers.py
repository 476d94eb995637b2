"""Security headers: whatever a token spells, only this site's own files run or style a page."""

from __future__ import annotations

from base64 import b64encode
from hashlib import sha256

from flask import Flask, Response, request

from web.site.urls import may_be_framed

HEADERS = {
    "Content-Security-Policy": (
        "default-src 'self'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
        "object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
}


def without_server(script: str) -> str:
    """The policy of a page that no server sends, and that has one script inline: browsers read a policy in a page too,
    but for who may frame it."""
    digest = b64encode(sha256(script.encode()).digest()).decode()
    policy = HEADERS["Content-Security-Policy"].removesuffix("; frame-ancestors 'none'")
    return policy.replace("script-src 'self'", f"script-src 'self' 'sha256-{digest}'")


EMBED_POLICY = (
    "default-src 'none'; style-src 'self'; img-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors *"
)
"""Policy of pages for frames of other sites: they have no scripts and no forms, so clickjacking has no target."""


def register(app: Flask) -> None:
    """Send the headers with every answer."""

    @app.after_request
    def add(response: Response) -> Response:
        response.headers.update(HEADERS)
        if may_be_framed(request.path):
            response.headers["Content-Security-Policy"] = EMBED_POLICY
        return response
