"""`/{slug}/q/{name}`: a saved query and its answer; `POST /{slug}/q` saves one. See `web.saved`."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from flask import Response, current_app, g, redirect, request
from werkzeug.wrappers import Response as BaseResponse

from atlas import Atlas
from atlas.core.jsonable import dumps
from web.cards.saved import saved_card
from web.cards.svg import Card
from web.charts.chart import Chart
from web.charts.result import KINDS
from web.saved.query import Drawing, SavedQuery, check_note, check_query
from web.saved.store import SavedQueries
from web.site import urls
from web.site.errors import BadRequestError, NotServedError
from web.site.page import AtlasPage, atlas_fields, doc, find_atlas, page, wants_card
from web.site.published import published
from web.site.same_site import refuse_other_sites
from web.site.sharing import Citation, query_citations
from web.site.urls import AtlasRef, Blueprint
from web.views.answering import Problem, Result, answered, ask, console, drawn
from web.views.sql import LONGEST_FORM, answer_json, given_parameters

blueprint = Blueprint("saved", __name__)


@dataclass(frozen=True, kw_only=True)
class SavedPage(AtlasPage, template="saved.html"):
    """A saved query and its answer."""

    sql: str = field(metadata=doc("The statement."))
    parameters: dict[str, str] = field(metadata=doc("Values of its named parameters."))
    note: str | None = field(metadata=doc("What its first saver said of it; null if nothing."))
    saved_at: datetime = field(metadata=doc("When it was first saved, in UTC."))
    link: str = field(metadata=doc("Its short link without a build.", json=False))
    editing: str = field(metadata=doc("The console with this query.", json=False))
    result: Result | None = field(metadata=doc("Its answer; null if there is none."))
    problem: Problem | None = field(metadata=doc("Why there is none; null if nothing went wrong."))
    chart: Chart | None = field(metadata=doc("The answer drawn, if it was saved so.", json=False))
    fetching: tuple[Citation, ...] = field(metadata=doc("What asks the file itself.", json=False))

    @property
    def status(self) -> int:
        """200, or what the problem is answered with."""
        return self.problem.status if self.problem else 200

    def card(self) -> Card:
        """Its title and the statement; the answer is not asked for."""
        return saved_card(self.title, self.note, self.sql, self._footer())


@blueprint.after_request
def unlisted(response: Response) -> Response:
    """What strangers wrote is for whom they give the link, not for search engines."""
    response.headers["X-Robots-Tag"] = "noindex"
    return response


@blueprint.get("/<atlas:ref>/q")
def ask_first(ref: AtlasRef) -> BaseResponse:
    """A short link without its end leads to where one is made."""
    return redirect(urls.sql(ref))


@blueprint.post("/<atlas:ref>/q")
def save(ref: AtlasRef) -> BaseResponse:
    """Save a query: form fields `sql`, `p.name`, `draw`, `x`, `y`, `title`, `description`. Nothing is run.

    Answers 303 to the saved page; to a client that wants JSON `{"name", "url", "title", "description", "new"}`, 201 if
    it was not saved before.
    """
    refuse_other_sites(
        "This form is on another site: from a browser, queries are saved by this site's own console only. Open the "
        "console here and save the query there."
    )
    g.ref = ref
    atlas, kept = find_atlas(ref), _kept(ref)
    request.max_content_length = request.max_form_memory_size = LONGEST_FORM
    given = request.form
    kind = given.get("draw", "none")
    if kind not in ("none", *KINDS):
        raise BadRequestError(f"draw={kind!r} is invalid: expected one of none, {', '.join(KINDS)}.")
    drawing = None if kind == "none" else Drawing(kind, given.get("x", ""), given.get("y", ""))
    longest = console().options.limits.statement
    query = check_query(given.get("sql", ""), given_parameters(given), drawing, longest)
    note = check_note(given.get("title", ""), given.get("description", ""))
    saved, new = kept.save(atlas.info.slug, query, *note)
    url = urls.to("saved_query", ref, saved.name)
    if request.accept_mimetypes.best != "application/json":
        return redirect(url, 303)
    said = {"name": saved.name, "url": url, "title": saved.title, "description": saved.description, "new": new}
    return Response(dumps(said), 201 if new else 200, {"Location": url}, mimetype="application/json")


@blueprint.get("/<atlas:ref>/q/<name>.json")
def data(ref: AtlasRef, name: str) -> Response:
    """The answer as `/{slug}/sql.json` gives it, and beside it `saved`: what was asked."""
    g.ref = ref
    atlas = find_atlas(ref)
    saved = _find(ref, name)
    parameters, drawing = dict(saved.query.parameters), saved.query.drawing
    record = {
        "name": saved.name,
        "url": urls.to("saved_query", ref, saved.name),
        "sql": saved.query.sql,
        "parameters": parameters,
        "drawing": drawing,
        "title": saved.title,
        "description": saved.description,
        "saved_at": saved.saved_at,
        "build_id": atlas.info.build_id,
    }
    return answer_json(ask(atlas, saved.query.sql, parameters), saved=record)


@page(blueprint, "/<atlas:ref>/q/<name>", kept=False, data=False)
def saved_query(atlas: Atlas, name: str) -> SavedPage:
    """A saved query with its answer; a card does without the answer."""
    saved = _find(g.ref, name)
    sql, parameters, drawing = saved.query.sql, dict(saved.query.parameters), saved.query.drawing
    result, problem = (None, None) if wants_card() or published() else answered(atlas, sql, parameters)
    shape = {"draw": drawing.kind, "x": drawing.x, "y": drawing.y} if drawing else {}
    said = " ".join((saved.description or "").split()) or f"SQL over {atlas.info.model_name}: {' '.join(sql.split())}"
    return SavedPage(
        title=saved.title or f"Query {saved.name}",
        url=urls.to("saved_query", g.ref, saved.name),
        **atlas_fields(atlas),
        description=said if len(said) <= 300 else said[:299] + "…",
        sql=sql,
        parameters=parameters,
        note=saved.description,
        saved_at=saved.saved_at,
        link=urls.to("saved_query", AtlasRef(g.ref.slug), saved.name),
        editing=urls.sql(g.ref, sql, parameters, **shape),
        result=result,
        problem=problem,
        chart=drawn(atlas, result, *shape.values()) if shape else None,
        fetching=query_citations(atlas.info.slug, sql, parameters),
    )


def _kept(ref: AtlasRef) -> SavedQueries:
    kept = current_app.extensions["saved"]
    if kept is None:
        raise NotServedError(
            "Short links are not kept on this site. Share the console's address instead, /…/sql?sql=…: it holds the "
            "whole query.",
            urls.sql(ref),
        )
    return kept


def _find(ref: AtlasRef, name: str) -> SavedQuery:
    """The saved query of a name.

    Raises:
        NotServedError: there is none.
    """
    saved = _kept(ref).named(ref.slug, name)
    if saved is None:
        raise NotServedError(
            f"No query is saved as {name!r} for {ref.slug!r}: the link is not whole, or the query was removed. Ask it "
            "again in the console, and save it there.",
            urls.sql(ref),
        )
    return saved
