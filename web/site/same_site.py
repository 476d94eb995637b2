"""Forms that change something or cost something are sent from this site's own pages only."""

from __future__ import annotations

from urllib.parse import urlsplit

from flask import request

from web.saved.errors import CrossSite


def refuse_other_sites(message: str) -> None:
    """Browsers say where a form is: on this site, or nobody's to send here.

    Raises:
        CrossSite: it is on another; says the message.
    """
    site, origin = request.headers.get("Sec-Fetch-Site"), request.headers.get("Origin")
    if site is not None:
        elsewhere = site not in ("same-origin", "none")
    else:
        # The host alone: behind a proxy that ends TLS, this program may not know its own scheme.
        elsewhere = origin is not None and urlsplit(origin).netloc != request.host
    if elsewhere:
        raise CrossSite(message)
