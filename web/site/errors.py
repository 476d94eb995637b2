"""Errors of the site, and how every error is answered: a page, or `{"error": {"code", "message"}}` for data."""

from __future__ import annotations

from dataclasses import dataclass, replace

from flask import Flask, Response, abort, g, redirect, render_template, request
from werkzeug.exceptions import HTTPException
from werkzeug.wrappers import Response as BaseResponse

from atlas.core.errors import AtlasError, NeuronNameError, QueryError, StudyNameError, TokenError
from atlas.core.jsonable import dumps
from web.site import urls
from web.site.base_error import AnsweredError
from web.site.cors import is_data


class SiteError(AtlasError):
    """An error in a request; `link` is where to go instead."""

    def __init__(self, message: str, link: str | None = None) -> None:
        super().__init__(message)
        self.link = link


class BadRequestError(SiteError):
    """A value in the URL is malformed."""


class NotServedError(SiteError):
    """The URL is well formed and names nothing that is served here."""


class EarlierBuildError(NotServedError):
    """The URL is pinned to a build that a run wrote before it had read as many texts as what is served now; `link` is
    the same page of that."""

    def __init__(self, message: str, link: str, build_id: str) -> None:
        super().__init__(message, link)
        self.build_id = build_id


class BusyError(SiteError):
    """There is no room for it now; in `retry_after` seconds there may be."""

    def __init__(self, message: str, retry_after: int) -> None:
        super().__init__(message)
        self.retry_after = retry_after


@dataclass(frozen=True)
class Failure:
    """What an error's answer says."""

    status: int
    code: str
    message: str
    link: str | None = None
    position: int | None = None
    retry_after: int | None = None


_CODES = {
    400: "bad_request",
    404: "not_found",
    405: "method_not_allowed",
    429: "too_many_requests",
    500: "internal_error",
}


def failure_of(error: Exception) -> Failure:
    """What is said of an error. Queries raise NeuronNameError, TokenError and StudyNameError for what is not there."""
    if isinstance(error, HTTPException):
        status = error.code or 500
        message = "There is no such page here." if status == 404 else error.description or error.name
        return Failure(status, _CODES.get(status, error.name.lower().replace(" ", "_")), message)
    if isinstance(error, NotServedError):
        return Failure(404, "not_found", str(error), error.link)
    if isinstance(error, NeuronNameError | TokenError | StudyNameError):
        return Failure(404, "not_found", str(error))
    if isinstance(error, BadRequestError):
        return Failure(400, "bad_request", str(error), error.link)
    if isinstance(error, BusyError):
        return Failure(503, "busy", str(error), retry_after=error.retry_after)
    if isinstance(error, AnsweredError):
        return Failure(error.status, error.code, str(error), position=error.position, retry_after=error.retry_after)
    if isinstance(error, QueryError):
        return Failure(500, "query_failed", str(error))
    return Failure(500, "internal_error", "Something went wrong here. The server's log says what.")


def answer(failure: Failure) -> Response:
    """The answer that says it, as the request would have it."""
    if is_data(request.path) or request.accept_mimetypes.best == "application/json":
        said: dict[str, str | int] = {"code": failure.code, "message": failure.message}
        if failure.position is not None:
            said["position"] = failure.position
        return Response(dumps({"error": said}), failure.status, mimetype="application/json")
    if failure.link is None and "ref" in g:
        # Within an atlas there is somewhere to go on from.
        failure = replace(failure, link=urls.to("overview", g.ref))
    titles = {400: "That is not quite right", 403: "Not from there", 404: "Not here", 507: "No room"}
    # In another site's frame an error is shown without the site around it.
    template = "embed_error.html" if urls.may_be_framed(request.path) else "error.html"
    title = titles.get(failure.status, "Something went wrong")
    return Response(render_template(template, title=title, failure=failure), failure.status)


def lead_on(error: EarlierBuildError) -> BaseResponse:
    """To the same of the build that is served now; a page for people says there which build was asked for."""
    link = error.link if is_data(request.path) else urls.after(error.link, error.build_id)
    # What was sent with a request is sent again.
    response = redirect(link, 302 if request.method in ("GET", "HEAD") else 307)
    response.headers["Cache-Control"] = "no-store"
    return response


def register(app: Flask) -> None:
    """Answer every error of the app."""

    @app.before_request
    def no_nul() -> None:
        if "\0" in request.path:  # no page's, and the system takes no such name of a file
            abort(404)

    @app.errorhandler(HTTPException)
    def http(error: HTTPException) -> BaseResponse:
        if error.code == 404 and len(request.path) > 1 and request.path.endswith("/"):
            # One leading slash only: '//host' would be another site's address.
            return redirect("/" + request.path.strip("/"), 301)
        if error.code is not None and error.code < 400:
            return error.get_response()
        response = answer(failure_of(error))
        if error.code == 405:
            response.headers["Allow"] = error.get_response().headers.get("Allow", "GET, HEAD, OPTIONS")
        return response

    @app.errorhandler(EarlierBuildError)
    def earlier(error: EarlierBuildError) -> BaseResponse:
        return lead_on(error)

    @app.errorhandler(AtlasError)
    def known(error: AtlasError) -> BaseResponse:
        failure = failure_of(error)
        response = answer(failure)
        if failure.retry_after is not None:
            response.headers["Retry-After"] = str(failure.retry_after)
        return response

    @app.errorhandler(Exception)
    def unknown(error: Exception) -> BaseResponse:
        app.logger.exception("A request failed: %s %s", request.method, request.path, exc_info=error)
        return answer(failure_of(error))
