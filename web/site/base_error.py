"""Errors that carry their HTTP answer: those of the sandbox, of saved queries and of live mode."""

from __future__ import annotations

from atlas.core.errors import AtlasError


class AnsweredError(AtlasError):
    """A request cannot be answered; the reason has a code for programs and a text for people."""

    code: str
    status: int
    """HTTP status of the answer."""
    retry_after: int | None = None
    """Seconds after which the request may be sent again."""
    position: int | None = None
    """Character of a statement at which the error is, from 0, if known."""
