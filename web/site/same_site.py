"""Accept forms that change or cost something only from this site's own pages."""

from __future__ import annotations

from urllib.parse import urlsplit

from flask import request

from web.saved.errors import CrossSite


def refuse_other_sites(message: str) -> None:
    """Refuse a form whose Origin or Sec-Fetch-Site header, which browsers send, names another site.

    Raises:
        CrossSite: the form is on another site; `message` is the error's text.
    """
    site, origin = request.headers.get("Sec-Fetch-Site"), request.headers.get("Origin")
    if site is not None:
        elsewhere = site not in ("same-origin", "none")
    else:
        # The host alone: behind a proxy that ends TLS, this program may not know its own scheme.
        elsewhere = origin is not None and urlsplit(origin).netloc != request.host
    if elsewhere:
        raise CrossSite(message)
