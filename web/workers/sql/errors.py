"""How a visitor's query can end without an answer. Each has a code for programs and a text for people."""

from __future__ import annotations

from web.site.base_error import AnsweredError


class SqlError(AnsweredError):
    """A visitor's query has no answer."""

    code = "sql_failed"
    status = 400

    def __init__(self, message: str, position: int | None = None) -> None:
        super().__init__(message)
        self.position = position


class SqlRefused(SqlError):  # noqa: N818  the name is what happened, as the others are
    """It is not a statement that may be run here, and it was not run."""

    code = "sql_refused"


class SqlFailed(SqlError):  # noqa: N818
    """DuckDB refused it or failed at it, or the worker died of it."""


class SqlTimeout(SqlError):  # noqa: N818
    """It was still running at the limit, and was killed."""

    code = "sql_timeout"
    status = 408


class SqlBusy(SqlError):  # noqa: N818
    """There was no room for it."""

    code = "sql_busy"
    status = 503

    def __init__(self, message: str, retry_after: int) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class SqlUnavailable(SqlError):  # noqa: N818
    """Nothing can be run here now: the console is off, is not safe on this machine, or its processes are gone."""

    code = "sql_unavailable"
    status = 503
    retry_after = 60
