"""`/{slug}/sql.json?sql=`: the answer of a visitor's SQL, run in a sandbox (see `web.workers.sql`)."""

from __future__ import annotations

import re

from flask import Response, g, request
from werkzeug.datastructures import MultiDict

from atlas.core.jsonable import dumps
from web.site.errors import BadRequestError
from web.site.page import find_atlas
from web.site.urls import AtlasRef, Blueprint
from web.views.answering import answer_notes, ask
from web.workers.sql.answer import Answer

blueprint = Blueprint("sql", __name__)

_PARAMETER = re.compile(r"p\.([A-Za-z_]\w{0,99})", re.ASCII)
_MOST_PARAMETERS = 50
LONGEST_FORM = 1_000_000
"""Bytes of a form that is sent here."""


@blueprint.route("/<atlas:ref>/sql.json", methods=["GET", "POST"])
def sql(ref: AtlasRef) -> Response:
    """`{"columns": […], "types": […], "rows": [[…]], "truncated": bool}`; GET, or POST with the form field `sql`. The
    statement's parameters, `:name` or `$name`, are `p.name=value`. Not kept: the same query may answer another time.
    """
    g.ref = ref
    atlas = find_atlas(ref)
    request.max_content_length = request.max_form_memory_size = LONGEST_FORM
    given = request.form if request.method == "POST" and "sql" in request.form else request.args
    if "sql" not in given:
        raise BadRequestError("There is no sql: expected a statement as ?sql=…, or as the form field sql of a POST.")
    return answer_json(ask(atlas, given["sql"], given_parameters(given)))


def given_parameters(given: MultiDict[str, str]) -> dict[str, str]:
    """Values of the statement's parameters."""
    found = {match[1]: value for name, value in given.items() if (match := _PARAMETER.fullmatch(name))}
    if len(found) > _MOST_PARAMETERS:
        raise BadRequestError(f"There are {len(found)} parameters; expected {_MOST_PARAMETERS} at most.")
    return found


def answer_json(answer: Answer, **more: object) -> Response:
    """The answer as JSON, and `more` beside it. Its rows are JSON already, which the sandbox's limits bound: they are
    not read here."""
    head = {**more, "columns": answer.columns, "types": answer.types, "truncated": answer.truncated}
    head["notes"] = [vars(note) for note in answer_notes(find_atlas(g.ref), answer)]
    body = dumps(head).encode()[:-1] + b', "rows": ' + answer.rows_json + b"}"
    return Response(body, mimetype="application/json", headers={"Cache-Control": "no-store"})
