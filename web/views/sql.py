"""`/{slug}/sql.json?sql=`: the answer of a visitor's SQL, run in a sandbox (see `web.sandbox`)."""

from __future__ import annotations

import re

from flask import Blueprint, Response, current_app, g, request
from werkzeug.datastructures import MultiDict

from atlas.jsonable import dumps
from web.errors import BadRequestError
from web.page import find_atlas
from web.sandbox.console import Console
from web.sandbox.sandbox import Answer
from web.urls import AtlasRef

blueprint = Blueprint("sql", __name__)

_PARAMETER = re.compile(r"p\.([A-Za-z_]\w{0,99})", re.ASCII)
_MOST_PARAMETERS = 50
_LONGEST_FORM = 1_000_000


def console() -> Console:
    """Where the site's visitors may run SQL."""
    return current_app.extensions["console"]


@blueprint.route("/<atlas:ref>/sql.json", methods=["GET", "POST"])
def sql(ref: AtlasRef) -> Response:
    """`{"columns": […], "types": […], "rows": [[…]], "truncated": bool}`; GET, or POST with the form field `sql`. The
    statement's parameters, `:name` or `$name`, are `p.name=value`. Not kept: the same query may answer another time.
    """
    g.ref = ref
    atlas = find_atlas(ref)
    request.max_content_length = request.max_form_memory_size = _LONGEST_FORM
    given = request.form if request.method == "POST" and "sql" in request.form else request.args
    if "sql" not in given:
        raise BadRequestError("There is no sql: expected a statement as ?sql=…, or as the form field sql of a POST.")
    answer = console().sandbox(atlas.info.slug).ask(given["sql"], given_parameters(given), client=_client())
    return Response(_body(answer), mimetype="application/json", headers={"Cache-Control": "no-store"})


def given_parameters(given: MultiDict[str, str]) -> dict[str, str]:
    """Values of the statement's parameters."""
    found = {match[1]: value for name, value in given.items() if (match := _PARAMETER.fullmatch(name))}
    if len(found) > _MOST_PARAMETERS:
        raise BadRequestError(f"There are {len(found)} parameters; expected {_MOST_PARAMETERS} at most.")
    return found


def _client() -> object | None:
    """The visitor's socket, where the server shows it: a query ends when its visitor leaves."""
    return request.environ.get("gunicorn.socket")


def _body(answer: Answer) -> bytes:
    """The answer as JSON. Its rows are JSON already, which the sandbox's limits bound: they are not read here."""
    head = {"columns": answer.columns, "types": answer.types, "truncated": answer.truncated}
    return dumps(head).encode()[:-1] + b', "rows": ' + answer.rows_json + b"}"
