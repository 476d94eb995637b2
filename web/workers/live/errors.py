"""Errors of live requests. Each has a code for programs and a text for people."""

from __future__ import annotations

from typing import Any

from web.site.base_error import AnsweredError


class LiveError(AnsweredError):
    """A live request has no answer."""

    code = "live_failed"
    status = 503
    retry_after = 1


class LiveRefused(LiveError):  # noqa: N818  the names are what happened
    """The request cannot be answered; the text says what to change."""

    code = "live_refused"
    status = 400
    retry_after = None


class LiveTimeout(LiveError):  # noqa: N818
    """The request exceeded its time limit and was stopped."""

    code = "live_timeout"
    status = 408
    retry_after = None


class LiveBusy(LiveError):  # noqa: N818
    """The queue is full."""

    code = "live_busy"
    retry_after = 10


class LiveLoading(LiveError):  # noqa: N818
    """The model is still loading."""

    code = "live_loading"
    retry_after = 4


class LiveUnavailable(LiveError):  # noqa: N818
    """The model is not available: it is not the atlas's, or could not be loaded."""

    code = "live_unavailable"
    retry_after = 60


_KINDS = {kind.code: kind for kind in (LiveRefused, LiveTimeout, LiveBusy, LiveLoading, LiveUnavailable)}


def error_of(failure: dict[str, Any]) -> LiveError:
    """The error for a failure reported by the desk or a model's process."""
    return _KINDS.get(failure["code"], LiveError)(failure["message"])
