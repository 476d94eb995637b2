"""Errors of the site and their answers: a page, or `{"error": {"code", "message"}}` for data."""

from __future__ import annotations

from dataclasses import dataclass, replace
from http import HTTPStatus

from flask import Flask, Response, abort, current_app, g, redirect, render_template, request
from werkzeug.exceptions import HTTPException
from werkzeug.wrappers import Response as BaseResponse

from atlas import Atlas
from atlas.core.errors import AtlasError, NeuronNameError, ParameterError, QueryError, StudyNameError, TokenError
from atlas.core.jsonable import dumps
from web.site import urls
from web.site.base_error import AnsweredError
from web.site.cors import is_data
from web.site.nearest import Nearest, nearest
from web.site.urls import AtlasRef


class SiteError(AtlasError):
    """An error in a request; `link` is an alternative page."""

    def __init__(self, message: str, link: str | None = None) -> None:
        super().__init__(message)
        self.link = link


class BadRequestError(SiteError):
    """A value in the URL is malformed."""


class NotServedError(SiteError):
    """The URL is well formed and names nothing that is served here."""


class EarlierBuildError(NotServedError):
    """The URL is pinned to an earlier, less complete build of the run that is served now; `link` is the same page of
    the current build."""

    def __init__(self, message: str, link: str, build_id: str) -> None:
        super().__init__(message, link)
        self.build_id = build_id


class GoneBuildError(NotServedError):
    """The URL is pinned to a build of which another is served now; `link` is the same page of that one."""


class BusyError(SiteError):
    """The server is busy; the request may be sent again after `retry_after` seconds."""

    def __init__(self, message: str, retry_after: int) -> None:
        super().__init__(message)
        self.retry_after = retry_after


@dataclass(frozen=True)
class Failure:
    """Content of an error's answer."""

    status: int
    code: str
    message: str
    link: str | None = None
    position: int | None = None
    retry_after: int | None = None
    link_label: str | None = None
    """What is at `link`; None: its address says it."""
    typed: str = ""
    """What the address asked for, less the atlas: text of the search box."""
    nearest: tuple[Nearest, ...] = ()
    """Pages whose names are nearest to that."""


_CODES = {
    400: "bad_request",
    404: "not_found",
    405: "method_not_allowed",
    429: "too_many_requests",
    500: "internal_error",
}


def failure_of(error: Exception) -> Failure:
    """The answer to an error. Queries raise NeuronNameError, TokenError and StudyNameError for missing things."""
    if isinstance(error, HTTPException):
        status = error.code or 500
        message = "There is no such page." if status == 404 else error.description or error.name
        return Failure(status, _CODES.get(status, error.name.lower().replace(" ", "_")), message)
    if isinstance(error, NotServedError):
        return Failure(404, "not_found", str(error), error.link)
    if isinstance(error, NeuronNameError | TokenError | StudyNameError):
        return Failure(404, "not_found", str(error))
    if isinstance(error, BadRequestError):
        return Failure(400, "bad_request", str(error), error.link)
    if isinstance(error, ParameterError):
        return Failure(400, "bad_request", str(error))
    if isinstance(error, BusyError):
        return Failure(503, "busy", str(error), retry_after=error.retry_after)
    if isinstance(error, AnsweredError):
        return Failure(error.status, error.code, str(error), position=error.position, retry_after=error.retry_after)
    if isinstance(error, QueryError):
        return Failure(500, "query_failed", str(error))
    return Failure(500, "internal_error", "The server failed to answer this request. Its log has the details.")


def answer(failure: Failure) -> Response:
    """The answer to a failure, in the format that the request asks for."""
    if is_data(request.path) or request.accept_mimetypes.best == "application/json":
        error: dict[str, str | int] = {"code": failure.code, "message": failure.message}
        if failure.position is not None:
            error["position"] = failure.position
        return Response(dumps({"error": error}), failure.status, mimetype="application/json")
    titles = {403: "Cross-site request refused", 404: "Page not found"}
    # In another site's frame an error is shown without the site's header and footer.
    template = "embed_error.html" if urls.may_be_framed(request.path) else "error.html"
    title = titles.get(failure.status) or HTTPStatus(failure.status).phrase.capitalize()
    return Response(render_template(template, title=title, failure=_with_ways_on(failure)), failure.status)


def _with_ways_on(failure: Failure) -> Failure:
    """A failure with what its page offers: what was typed, the nearest matches, a link."""
    served: dict[str, Atlas] = current_app.extensions["atlases"]
    slug, _, rest = request.path.strip("/").partition("/")
    slug = slug.partition("@")[0]
    if slug not in served:
        near = nearest(served, request.path) if failure.status == 404 else ()
        return replace(failure, nearest=near, link=failure.link or urls.to("home"), link_label="All atlases")
    overview = urls.to("overview", g.get("ref") or AtlasRef(slug))
    link = failure.link or overview
    return replace(
        failure,
        link=link,
        link_label=f"Overview of {served[slug].info.model_name}" if link == overview else None,
        typed=rest.rpartition("/")[2] if failure.status == 404 else "",
        nearest=nearest(served, request.path) if failure.status == 404 else (),
    )


def lead_on(error: EarlierBuildError) -> BaseResponse:
    """Redirect to the same page of the current build; a page for people then names the requested build."""
    link = error.link if is_data(request.path) else urls.after(error.link, error.build_id)
    # 307 makes the client send the request's body again.
    response = redirect(link, 302 if request.method in ("GET", "HEAD") else 307)
    response.headers["Cache-Control"] = "no-store"
    return response


def register(app: Flask) -> None:
    """Answer every error of the app."""

    @app.before_request
    def no_nul() -> None:
        if "\0" in request.path:  # no page has it, and the system refuses it in file names
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
