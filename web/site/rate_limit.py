"""How many requests for data, forms sent and live pages one address may have: off unless the operator says so. Other
pages are never counted.

Each process counts for itself and in memory, so that an address gets up to as many times the limit as there are
processes. Behind a proxy every request comes from the proxy's address: limit there instead.
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
        RateLimitError: it is no number of requests and unit of time.
    """
    found = re.fullmatch(r"([1-9][0-9]{0,8})/([a-z]+)", text.strip())
    if found is None or found[2] not in {*_UNITS, *_UNITS.values()}:
        raise RateLimitError(
            f"{text!r} is no rate limit; expected a number of requests and a unit of time (s, min, h, d), as in 60/min."
        )
    return f"{found[1]} per {_UNITS.get(found[2], found[2])}"


def register(app: Flask, rate: str) -> None:
    """Answer 429 with Retry-After to an address that asks for more.

    Raises:
        RateLimitError: the rate cannot be read.
    """
    limiter = Limiter(
        get_remote_address,
        app=app,
        application_limits=[
            ApplicationLimit(read_rate(rate), error_message=f"This site answers {rate} to an address.")
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
