"""The site's own address from its operator, in place of each request's Host header.

Pages name their full addresses in links for sharing, in pictures' tags and in the site map. Without this they come from
the request's Host header, which the visitor chooses: harmless to others unless a cache in front stores the answer.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from flask import Flask

from atlas.core.errors import AtlasError


class PublicUrlError(AtlasError):
    """The address is not that of a site."""


def read_public_url(text: str) -> tuple[str, str]:
    """Scheme and host of an address such as 'https://atlas.example.org'.

    Raises:
        PublicUrlError: the text is not such an address, or has further parts.
    """
    try:
        parts = urlsplit(text)
        usable = parts.scheme in ("http", "https") and parts.hostname and (parts.port is None or parts.port > 0)
    except ValueError:
        usable = False
    if not usable or parts.path not in ("", "/") or parts.query or parts.fragment or parts.username is not None:
        raise PublicUrlError(
            f"{text!r} is not the address of a site; expected http or https, a host and optionally a port, without a "
            f"path, "
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
