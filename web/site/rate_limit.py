"""Rate limits on requests for data, sent forms and live pages from one address: off by default. Other pages are not
counted.

Each process counts separately in memory, so an address gets up to the limit times the number of processes. Behind a
proxy every request comes from the proxy's address: limit there instead.
"""

from __future__ import annotations

import re

from flask import Flask, request
from flask_limiter import ApplicationLimit, Limiter
from flask_limiter.util import get_remote_address

from atlas.core.errors import AtlasError
from web.site import urls
from web.site.cors import is_data

_UNITS = {"s": "second", "sec": "second", "min": "minute", "h": "hour", "hour": "hour", "d": "day", "day": "day"}


class RateLimitError(AtlasError):
    """A rate limit cannot be read."""


def read_rate(text: str) -> str:
    """A rate such as '60/min' in Flask-Limiter's words.

    Raises:
        RateLimitError: the text is not a number of requests and a unit of time.
    """
    match = re.fullmatch(r"([1-9][0-9]{0,8})/([a-z]+)", text.strip())
    if match is None or match[2] not in {*_UNITS, *_UNITS.values()}:
        raise RateLimitError(
            f"{text!r} is not a rate limit; expected a number of requests and a unit of time (s, min, h, d), as in "
            f"60/min."
        )
    return f"{match[1]} per {_UNITS.get(match[2], match[2])}"


def register(app: Flask, rate: str) -> None:
    """Answer 429 with Retry-After to an address that exceeds the limit.

    Raises:
        RateLimitError: the rate cannot be read.
    """
    limiter = Limiter(
        get_remote_address,
        app=app,
        application_limits=[
            ApplicationLimit(read_rate(rate), error_message=f"This site allows {rate} from an address.")
        ],
        headers_enabled=True,
        retry_after="delta-seconds",
        storage_uri="memory://",
        strategy="moving-window",
    )

    @limiter.request_filter
    def uncounted() -> bool:
        costs = is_data(request.path) or request.method == "POST" or urls.is_live(request.path)
        return request.method == "OPTIONS" or not costs
