"""Static files: the site's own, and the Vega bundle that vl-convert carries (no network, no build step)."""

from __future__ import annotations

import gzip
import mimetypes
import threading
from functools import cache
from hashlib import blake2b
from typing import Any

import vl_convert
from flask import Response, abort, request

from web.site import urls
from web.site.urls import Blueprint

blueprint = Blueprint("static", __name__)

_SNIPPET = "window.vegaEmbed = vegaEmbed;"
_YEAR = 365 * 24 * 3600
_HOUR = 3600
_making = threading.Lock()


def url() -> str:
    """URL of the bundle; it changes with vl-convert's version."""
    return urls.to("vega", vl_convert.__version__)  # type: ignore[attr-defined]  # its stubs lack it


@cache
def _made() -> tuple[bytes, bytes]:
    script = vl_convert.javascript_bundle(_SNIPPET).encode("utf-8")
    return script, gzip.compress(script, compresslevel=6, mtime=0)


def bundle() -> tuple[bytes, bytes]:
    """The bundle, plain and compressed. Making it takes seconds, so it is made once in a process."""
    with _making:
        return _made()


@blueprint.get("/static/vega-<version>.js")
def vega(version: str) -> Response:
    """The bundle, cached permanently: its address contains its version."""
    if version != vl_convert.__version__:  # type: ignore[attr-defined]
        abort(404)
    plain, compressed = bundle()
    if request.accept_encodings["gzip"] > 0:
        response = Response(compressed, mimetype="text/javascript", headers={"Content-Encoding": "gzip"})
    else:
        response = Response(plain, mimetype="text/javascript")
    response.headers["Vary"] = "Accept-Encoding"
    response.headers["Cache-Control"] = f"public, max-age={_YEAR}, immutable"
    return response


@cache
def _own(name: str) -> bytes | None:
    path = (urls.STATIC / name).resolve()
    return path.read_bytes() if path.parent == urls.STATIC and path.is_file() else None


@blueprint.get("/static/<path:name>")
def static_file(name: str) -> Response:
    """One of the site's own files, cached permanently if its address contains a hash of the content, else for an
    hour."""
    content = _own(name)
    if content is None:
        abort(404)
    response: Any = Response(content, mimetype=mimetypes.guess_type(name)[0])
    if "v" in request.args:
        response.headers["Cache-Control"] = f"public, max-age={_YEAR}, immutable"
        return response
    # Other sites include this file by a permanent address, so browsers must check for a new version.
    response.headers["Cache-Control"] = f"public, max-age={_HOUR}"
    response.set_etag(blake2b(content, digest_size=8).hexdigest(), weak=True)
    return response.make_conditional(request)
