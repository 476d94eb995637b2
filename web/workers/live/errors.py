"""How a live question can end without an answer. Each has a code for programs and a text for people."""

from __future__ import annotations

from typing import Any

from web.site.base_error import AnsweredError


class LiveError(AnsweredError):
    """A live question has no answer."""

    code = "live_failed"
    status = 503
    retry_after = 1


class LiveRefused(LiveError):  # noqa: N818  the names are what happened
    """What was asked cannot be answered; the text says what to change."""

    code = "live_refused"
    status = 400
    retry_after = None


class LiveTimeout(LiveError):  # noqa: N818
    """It was not done in the time that it may take, and was ended."""

    code = "live_timeout"
    status = 408
    retry_after = None


class LiveBusy(LiveError):  # noqa: N818
    """There is no room for it."""

    code = "live_busy"
    retry_after = 10


class LiveLoading(LiveError):  # noqa: N818
    """The model is not there yet."""

    code = "live_loading"
    retry_after = 4


class LiveUnavailable(LiveError):  # noqa: N818
    """The model cannot be had: it is not the atlas's, or could not be loaded."""

    code = "live_unavailable"
    retry_after = 60


_KINDS = {kind.code: kind for kind in (LiveRefused, LiveTimeout, LiveBusy, LiveLoading, LiveUnavailable)}


def error_of(said: dict[str, Any]) -> LiveError:
    """The error that the desk or a model's process says."""
    return _KINDS.get(said["code"], LiveError)(said["message"])
