"""The site's own address, as its operator gives it, in place of the one that each request claims.

Pages name their full addresses in links for sharing, in pictures' tags and in the site map. Without this they are made
of the request's Host header, which is the visitor's to choose: harmless to others unless a cache in front keeps the
answer.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from flask import Flask

from atlas.core.errors import AtlasError


class PublicUrlError(AtlasError):
    """An address that a site cannot be at."""


def read_public_url(text: str) -> tuple[str, str]:
    """Scheme and host of an address such as 'https://atlas.example.org'.

    Raises:
        PublicUrlError: it is no such address, or there is more to it.
    """
    try:
        parts = urlsplit(text)
        usable = parts.scheme in ("http", "https") and parts.hostname and (parts.port is None or parts.port > 0)
    except ValueError:
        usable = False
    if not usable or parts.path not in ("", "/") or parts.query or parts.fragment or parts.username is not None:
        raise PublicUrlError(
            f"{text!r} is no address of a site; expected http or https, a host and perhaps a port, without a path, "
            "as in https://atlas.example.org."
        )
    return parts.scheme, parts.netloc


def register(app: Flask, address: str) -> None:
    """Make every full address of the site start with this one, whatever a request says.

    Raises:
        PublicUrlError: the address cannot be read.
    """
    scheme, host = read_public_url(address)
    inner = app.wsgi_app

    def outer(environ: dict[str, Any], start_response: Any) -> Any:
        return inner(environ | {"HTTP_HOST": host, "wsgi.url_scheme": scheme}, start_response)

    app.wsgi_app = outer  # type: ignore[method-assign]  # as Flask documents it
