"""Errors of visitors' queries. Each has a code for programs and a text for people."""

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
    """The statement may not run here, and did not run."""

    code = "sql_refused"


class SqlFailed(SqlError):  # noqa: N818
    """DuckDB refused the statement or failed at it, or the worker crashed."""


class SqlTimeout(SqlError):  # noqa: N818
    """The query was still running at the time limit and was killed."""

    code = "sql_timeout"
    status = 408


class SqlBusy(SqlError):  # noqa: N818
    """Too many queries are running."""

    code = "sql_busy"
    status = 503

    def __init__(self, message: str, retry_after: int) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class SqlUnavailable(SqlError):  # noqa: N818
    """SQL cannot run here now: the console is off, is not safe on this machine, or its processes have ended."""

    code = "sql_unavailable"
    status = 503
    retry_after = 60
