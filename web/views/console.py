"""`/{slug}/sql`: the SQL console. Its answers are made in the sandbox (see `web.sandbox`), never in this process."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from flask import Blueprint, Response, current_app, g, request

from atlas import Atlas, queries
from atlas.example_queries import EXAMPLE_QUERIES, ExampleQuery
from atlas.records import SchemaTable
from web import urls
from web.charts import Chart
from web.charts.result import KINDS, result_chart
from web.page import AtlasPage, atlas_fields, doc, find_atlas, page, query_choice
from web.sandbox.console import Console
from web.sandbox.errors import SqlError
from web.sandbox.parameters import parameter_names
from web.sandbox.sandbox import Answer
from web.urls import AtlasRef
from web.views.sql import given_parameters

blueprint = Blueprint("console", __name__)

SHOWN = 1_000
"""Rows of an answer that the page shows; files hold all of it."""


@dataclass(frozen=True)
class Result:
    """An answer as the page shows it: its first rows, of `n` in all."""

    columns: tuple[str, ...]
    types: tuple[str, ...]
    rows: tuple[tuple[Any, ...], ...]
    n: int
    truncated: bool


@dataclass(frozen=True)
class Problem:
    """Why there is no answer, and the statement parted where the trouble is, if that is known."""

    code: str
    message: str
    status: int
    before: str | None
    after: str | None


@dataclass(frozen=True, kw_only=True)
class ConsolePage(AtlasPage):
    """A statement and its answer; a form to ask, the schema, examples."""

    sql: str = field(metadata=doc("The statement; empty if none was given."))
    parameters: dict[str, str | None] = field(
        metadata=doc("Its named parameters and their values; null where one is missing.")
    )
    result: Result | None = field(metadata=doc("Its answer; null if there is none."))
    problem: Problem | None = field(metadata=doc("Why there is none; null if nothing went wrong."))
    chart: Chart | None = field(metadata=doc("The answer drawn, if the URL asks for that.", json=False))
    kinds: tuple[str, ...] = field(metadata=doc("Ways to draw it.", json=False))
    kind: str = field(metadata=doc("The way it is drawn, or 'none'.", json=False))
    axes: tuple[str, str] = field(metadata=doc("Columns drawn along x and y.", json=False))
    tables: tuple[SchemaTable, ...] = field(metadata=doc("Tables and views with their columns.", json=False))
    examples: tuple[ExampleQuery, ...] = field(metadata=doc("Questions to start from.", json=False))

    @property
    def status(self) -> int:
        """200, or what the problem is answered with."""
        return self.problem.status if self.problem else 200


def _console() -> Console:
    return current_app.extensions["console"]


def _ask(atlas: Atlas, sql: str, parameters: dict[str, str]) -> Answer:
    return _console().sandbox(atlas.info.slug).ask(sql, parameters, client=request.environ.get("gunicorn.socket"))


# `.json` behind this address is `web.views.sql`'s: the answer alone.
@page(blueprint, "/<atlas:ref>/sql", "console.html")
def console(atlas: Atlas) -> ConsolePage:
    """The console, with the answer of `?sql=` if it is given."""
    sql = request.args.get("sql", "")
    given = given_parameters(request.args)
    names = parameter_names(sql)
    missing = [name for name in names if not given.get(name)]
    result = problem = None
    if sql.strip() and missing:
        text = f"The statement's parameter {missing[0]!r} has no value; write it beside its name."
        problem = Problem("bad_request", text, 400, None, None)
    elif sql.strip():
        try:
            answer = _ask(atlas, sql, given)
            rows = tuple(map(tuple, answer.rows))
            result = Result(answer.columns, answer.types, rows[:SHOWN], len(rows), answer.truncated)
        except SqlError as error:
            place = error.position
            parts = (None, None) if place is None else (sql[:place], sql[place:])
            problem = Problem(error.code, str(error), error.status, *parts)
    kind = query_choice("draw", ("none", *KINDS), "none")
    columns = result.columns if result else ()
    x, y = request.args.get("x") or next(iter(columns), ""), request.args.get("y") or next(iter(columns[1:]), "")
    chart = None
    if result and kind != "none" and {x, y} <= set(columns):
        chart = result_chart(kind, result.columns, result.rows, x, y, f"SQL on {atlas.info.model_name}")
    drawn = {"draw": kind, "x": x, "y": y} if chart else {}
    return ConsolePage(
        title="SQL",
        url=urls.sql(g.ref, sql or None, given, **drawn),
        **atlas_fields(atlas),
        description=f"SQL over every neuron of {atlas.info.model_name}."
        + (f" {' '.join(sql.split())[:200]}" if sql else ""),
        sql=sql,
        parameters={name: given.get(name) for name in names},
        result=result,
        problem=problem,
        chart=chart,
        kinds=KINDS,
        kind=kind if chart else "none",
        axes=(x, y),
        tables=queries.schema_tables(atlas),
        examples=EXAMPLE_QUERIES,
    )


@blueprint.get("/<atlas:ref>/sql.csv")
def as_csv(ref: AtlasRef) -> Response:
    """The whole answer as CSV."""
    answer = _asked(ref)

    def lines() -> Iterator[str]:
        for row in (answer.columns, *answer.rows):
            line = io.StringIO()
            csv.writer(line).writerow(row)
            yield line.getvalue()

    return _file("".join(lines()).encode(), "text/csv; charset=utf-8", "csv")


@blueprint.get("/<atlas:ref>/sql.parquet")
def as_parquet(ref: AtlasRef) -> Response:
    """The whole answer as Parquet; what JSON cannot tell apart is text."""
    answer = _asked(ref)
    columns = list(zip(*answer.rows, strict=True)) or [()] * len(answer.columns)
    arrays = [_array(values) for values in columns]
    names = [
        name if answer.columns.index(name) == place else f"{name}_{place}" for place, name in enumerate(answer.columns)
    ]
    out = io.BytesIO()
    pq.write_table(pa.Table.from_arrays(arrays, names=names), out)
    return _file(out.getvalue(), "application/vnd.apache.parquet", "parquet")


def _array(values: tuple[Any, ...]) -> pa.Array:
    try:
        return pa.array(values)
    except (pa.ArrowInvalid, pa.ArrowTypeError):
        return pa.array([None if value is None else str(value) for value in values])


def _asked(ref: AtlasRef) -> Answer:
    g.ref = ref
    return _ask(find_atlas(ref), request.args.get("sql", ""), given_parameters(request.args))


def _file(content: bytes, kind: str, ending: str) -> Response:
    headers = {"Content-Disposition": f"attachment; filename=answer.{ending}", "Cache-Control": "no-store"}
    return Response(content, content_type=kind, headers=headers)
