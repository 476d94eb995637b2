"""Errors that know their own answer: the sandbox's, those of saved queries and of live mode."""

from __future__ import annotations

from atlas.core.errors import AtlasError


class AnsweredError(AtlasError):
    """What was asked has no answer, for a reason that has a code for programs and a text for people."""

    code: str
    status: int
    """Of the answer that says so."""
    retry_after: int | None = None
    """Seconds after which the same may be asked again."""
    position: int | None = None
    """Character of a statement where the trouble is, from 0, if that is known."""
