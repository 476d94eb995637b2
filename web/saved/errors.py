"""How saving a query can fail. Each has a code for programs and a text for people."""

from __future__ import annotations

from atlas.core.errors import AtlasError
from web.site.base_error import AnsweredError


class SavedFileError(AtlasError):
    """The file named for saved queries cannot hold them."""


class SavedError(AnsweredError):
    """A query cannot be saved, or a saved one not be read."""

    code = "bad_request"
    status = 400


class SavedRefused(SavedError):  # noqa: N818  the name is what happened, as those of web.workers.sql.errors are
    """What was sent is nothing that is saved: empty, too long, or without the value of a parameter."""


class CrossSite(SavedError):  # noqa: N818
    """A form on another site asked: visitors of that site would save without knowing."""

    code = "cross_site"
    status = 403


class SavedFull(SavedError):  # noqa: N818
    """As many queries are saved as the operator allows."""

    code = "saved_full"
    status = 507


class SavedUnavailable(SavedError):  # noqa: N818
    """The file cannot be read or written now."""

    code = "saved_unavailable"
    status = 503
    retry_after = 5
