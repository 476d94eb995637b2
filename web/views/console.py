"""`/{slug}/sql`: the SQL console. Its answers are made in the sandbox (see `web.workers.sql`), never in this
process."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from flask import Response, current_app, g, request

import web
from atlas import Atlas
from atlas.core.answer.parquet import parquet
from atlas.core.answer.texts import csv
from atlas.core.names import database_name
from atlas.core.sql_text import parameter_names
from atlas.topics.example_queries import EXAMPLE_QUERIES, ExampleQuery, across
from atlas.topics.tables import SchemaMacro, SchemaTable, schema_macros, schema_tables
from web.charts.chart import Chart
from web.charts.result import KINDS, sensible_axes
from web.saved.errors import SavedError
from web.saved.query import LONGEST_DESCRIPTION, LONGEST_TITLE, Drawing, Query, normal
from web.saved.store import SavedQueries
from web.site import urls
from web.site.page import AtlasPage, atlas_fields, doc, find_atlas, page, query_choice, wants_card
from web.site.published import published
from web.site.urls import AtlasRef, Blueprint
from web.views import in_browser
from web.views.answering import Problem, Result, answered, ask, drawn
from web.views.sql import given_parameters
from web.workers.sql.answer import Answer

blueprint = Blueprint("console", __name__)

_ACROSS = 3
"""Other atlases that there is an example for."""


@dataclass(frozen=True)
class Saving:
    """How this very query is saved, or may be."""

    link: str | None
    """Its short link; None if it has none yet."""
    called: str | None
    """What its first saver called it; None if nothing."""
    longest_title: int = LONGEST_TITLE
    longest_description: int = LONGEST_DESCRIPTION


@dataclass(frozen=True, kw_only=True)
class ConsolePage(AtlasPage, template="console.html"):
    """A statement and its answer; a form to ask, the schema, examples."""

    sql: str = field(metadata=doc("The statement; empty if none was given."))
    parameters: dict[str, str | None] = field(
        metadata=doc("Its named parameters and their values; null where one is missing.")
    )
    blank: bool = field(metadata=doc("Whether an empty statement was run."))
    result: Result | None = field(metadata=doc("Its answer; null if there is none."))
    problem: Problem | None = field(metadata=doc("Why there is none; null if nothing went wrong."))
    chart: Chart | None = field(metadata=doc("The answer drawn, if the URL asks for that.", json=False))
    kinds: tuple[str, ...] = field(metadata=doc("Ways to draw it.", json=False))
    kind: str = field(metadata=doc("The way it is drawn, or 'none'.", json=False))
    axes: tuple[str, str] = field(metadata=doc("Columns drawn along x and y.", json=False))
    saving: Saving | None = field(
        metadata=doc("How this query is saved, or may be; null if short links are not kept here.", json=False)
    )
    tables: tuple[SchemaTable, ...] = field(metadata=doc("Tables and views with their columns.", json=False))
    macros: tuple[SchemaMacro, ...] = field(metadata=doc("The schema's macros.", json=False))
    others: tuple[str, ...] = field(
        metadata=doc("What the other atlases are called in SQL: each can be named in a statement.", json=False)
    )
    examples: tuple[ExampleQuery, ...] = field(metadata=doc("Questions to start from.", json=False))
    in_browser: dict[str, Any] | None = field(
        metadata=doc("What a script runs SQL by, in a published copy; null where the server runs it.", json=False)
    )

    @property
    def status(self) -> int:
        """200, or what the problem is answered with."""
        return self.problem.status if self.problem and not self.in_browser else 200


# `.json` behind this address is `web.views.sql`'s: the answer alone.
@page(blueprint, "/<atlas:ref>/sql", kept=False, data=False)
def console(atlas: Atlas) -> ConsolePage:
    """The console, with the answer of `?sql=` if it is given; a card does without the answer."""
    if published():
        return _to_fill(atlas)
    sql = request.args.get("sql", "")
    given = given_parameters(request.args)
    parameters = {name: given.get(name) for name in parameter_names(sql)}
    result, problem = (None, None) if wants_card() else answered(atlas, sql, given)
    kind = query_choice("draw", ("none", *KINDS), "none")
    x, y = sensible_axes(result.columns, result.numbers) if result else ("", "")
    x, y = request.args.get("x") or x, request.args.get("y") or y
    chart = drawn(atlas, result, kind, x, y)
    return ConsolePage(
        **_fields(atlas),
        url=urls.sql(g.ref, sql or None, given, **({"draw": kind, "x": x, "y": y} if chart else {})),
        description=_description(atlas) + (f" {' '.join(sql.split())[:200]}" if sql else ""),
        sql=sql,
        parameters=parameters,
        blank="sql" in request.args and not sql.strip(),
        result=result,
        problem=problem,
        chart=chart,
        kind=kind if chart else "none",
        axes=(x, y),
        saving=_saving(normal(sql, given, Drawing(kind, x, y) if chart else None)),
        in_browser=None,
    )


def _to_fill(atlas: Atlas) -> ConsolePage:
    """The console of a published copy: its script runs what the address holds, and fills in the answer."""
    copy = published()
    runs = copy is not None and copy.sql
    return ConsolePage(
        **_fields(atlas),
        url=urls.sql(g.ref),
        description=_description(atlas),
        sql="",
        parameters={},
        blank=False,
        result=in_browser.ANSWER if runs else None,
        problem=in_browser.PROBLEM if runs else None,
        chart=in_browser.chart(atlas) if runs else None,
        kind="none",
        axes=("", ""),
        saving=None,
        in_browser=in_browser.rules(atlas, g.ref) if runs else None,
    )


def _fields(atlas: Atlas) -> dict[str, Any]:
    """What the console shows whatever is asked."""
    others = [slug for slug in current_app.extensions["atlases"] if slug != atlas.info.slug]
    return {
        "title": "SQL",
        **atlas_fields(atlas),
        "kinds": KINDS,
        "tables": schema_tables(atlas),
        "macros": schema_macros(),
        "others": tuple(map(database_name, others)),
        "examples": EXAMPLE_QUERIES + tuple(map(across, others[:_ACROSS])),
    }


def _description(atlas: Atlas) -> str:
    return f"SQL over every neuron of {atlas.info.model_name}."


def _saving(query: Query) -> Saving | None:
    """How a query is saved; None if none are here, or their file cannot be read now."""
    queries: SavedQueries | None = current_app.extensions["saved"]
    if queries is None:
        return None
    with suppress(SavedError):
        saved = queries.find(g.ref.slug, query) if query.sql else None
        link = None if saved is None else urls.to("saved_query", g.ref, saved.name)
        return Saving(link, None if saved is None else saved.title)
    return None


@blueprint.get("/sql.md")
def sql_guide() -> Response:
    """Questions in SQL with their answers, docs/sql.md, as text."""
    return Response(_guide(), mimetype="text/plain", headers={"Cache-Control": "public, max-age=3600"})


@cache
def _guide() -> str:
    packaged = Path(web.__file__).parent / "sql.md"
    path = packaged if packaged.is_file() else packaged.parents[1] / "docs" / "sql.md"
    return path.read_text(encoding="utf-8")


@blueprint.get("/<atlas:ref>/sql.csv")
def as_csv(ref: AtlasRef) -> Response:
    """The whole answer as CSV."""
    answer = _asked(ref)
    return _file("".join(csv(answer.columns, answer.rows)).encode("utf-8", "replace"), "text/csv; charset=utf-8", "csv")


@blueprint.get("/<atlas:ref>/sql.parquet")
def as_parquet(ref: AtlasRef) -> Response:
    """The whole answer as Parquet, in the types of its columns."""
    answer = _asked(ref)
    content = parquet(answer.columns, answer.types, answer.shapes, answer.rows)
    return _file(content, "application/vnd.apache.parquet", "parquet")


def _asked(ref: AtlasRef) -> Answer:
    g.ref = ref
    return ask(find_atlas(ref), request.args.get("sql", ""), given_parameters(request.args))


def _file(content: bytes, kind: str, ending: str) -> Response:
    headers = {"Content-Disposition": f"attachment; filename=answer.{ending}", "Cache-Control": "no-store"}
    return Response(content, content_type=kind, headers=headers)
