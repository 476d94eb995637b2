"""Errors of saved queries. Each has a code for programs and a text for people."""

from __future__ import annotations

from atlas.core.errors import AtlasError
from web.site.base_error import AnsweredError


class SavedFileError(AtlasError):
    """The file of --saved cannot hold saved queries."""


class SavedError(AnsweredError):
    """A query cannot be saved, or a saved one cannot be read."""

    code = "bad_request"
    status = 400


class SavedRefused(SavedError):  # noqa: N818  the name is what happened, as those of web.workers.sql.errors are
    """The query cannot be saved: it is empty, too long, or lacks the value of a parameter."""


class CrossSite(SavedError):  # noqa: N818
    """The request came from a form on another site, whose visitors would save without knowing."""

    code = "cross_site"
    status = 403


class SavedFull(SavedError):  # noqa: N818
    """The operator's limit of saved queries is reached."""

    code = "saved_full"
    status = 507


class SavedUnavailable(SavedError):  # noqa: N818
    """The file cannot be read or written now."""

    code = "saved_unavailable"
    status = 503
    retry_after = 5
