"""The OpenAPI 3.1 document, made from the routes, their calls and the records of the answers."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, TypedDict

from flask import Flask
from werkzeug.routing import Rule

from atlas.api.calls import CALLS
from atlas.api.schema import Schemas
from atlas.core.call import OF_ATLAS, Call, Declared
from atlas.core.db import program_version
from atlas.topics.cut_list import Note
from web.site import urls

_ERROR = {
    "description": "The error: a `code` for programs and a `message` for people.",
    "type": "object",
    "required": ["error"],
    "additionalProperties": False,
    "properties": {
        "error": {
            "type": "object",
            "required": ["code", "message"],
            "additionalProperties": False,
            "properties": {
                "code": {"type": "string"},
                "message": {"type": "string"},
                "position": {"type": "integer", "description": "Character of the SQL at which the error is, from 0."},
            },
        }
    },
}
_FAILURES = {
    "400": "A parameter is unknown, missing or malformed.",
    "404": "There is no such atlas, build, neuron, token or pair; the message says what exists.",
    "429": "More requests than the operator allows; `Retry-After` says how many seconds to wait.",
}
_SQL_FAILURES = {
    "408": "The query was still running at the time limit and was stopped.",
    "503": "The server is busy; `Retry-After` says how many seconds to wait.",
}
_ATLAS = {
    "name": "atlas",
    "in": "path",
    "required": True,
    "description": "Slug of an atlas, or slug@build_id for one build of it.",
    "schema": {"type": "string", "pattern": "^[a-z0-9-]+(@[0-9a-f]{12})?$"},
}


class Sql(TypedDict):
    """The answer of SQL: names and DuckDB types of its columns, its rows, whether the server's limits left some out,
    and what a reader must know of the limits and of lists that it read."""

    columns: list[str]
    types: list[str]
    truncated: bool
    notes: list[Note]
    rows: list[list[Any]]


_SQL = {
    "name": "sql",
    "in": "query",
    "required": True,
    "description": "One read-only statement. Values of its parameters, `:name`, are sent as `p.name=value`.",
    "schema": {"type": "string"},
}
_OTHERS: dict[str, tuple[str, Any, list[dict[str, Any]]]] = {
    "api.openapi": ("This document.", dict[str, Any], []),
    "sql.sql": (
        "The answer of SQL, within the server's limits; a POST may send the same fields as a form.",
        Sql,
        [_ATLAS, _SQL],
    ),
}
"""Routes that are not calls: their summary, the type of their answer, their parameters."""


def routes(app: Flask) -> Iterator[tuple[Rule, Call | None]]:
    """The documented routes, by path, with the call behind each; None: there is none."""
    documented = [
        rule for rule in app.url_map.iter_rules() if rule.endpoint.startswith("api.") or rule.endpoint in _OTHERS
    ]
    for rule in sorted(documented, key=lambda rule: rule.rule):
        yield rule, CALLS.get(rule.endpoint.removeprefix("api."))


def template(rule: Rule) -> str:
    """A route's path as OpenAPI writes it."""
    return re.sub(r"<(?:\w+:)?(\w+)>", lambda m: f"{{{'atlas' if m[1] == 'ref' else m[1]}}}", rule.rule)


def document(app: Flask) -> dict[str, Any]:
    """The document."""
    schemas = Schemas()
    schemas.components["Error"] = _ERROR
    paths = {template(rule): {"get": _operation(rule.endpoint, call, schemas)} for rule, call in routes(app)}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Neuron Atlas",
            "version": program_version(),
            "description": (
                "Atlases of language models' MLP neurons. Every answer is an object with `data`; that of a list has "
                "`next` too, the cursor of its next rows (null: there are no more). Numbers that JSON lacks are the "
                "strings 'NaN', 'Infinity' and '-Infinity'. Answers have an ETag, and may be read from any site."
            ),
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "servers": [{"url": "/"}],
        "paths": paths,
        "components": {"schemas": dict(sorted(schemas.components.items()))},
    }


def _operation(endpoint: str, call: Call | None, schemas: Schemas) -> dict[str, Any]:
    name = endpoint.partition(".")[2]
    if call is None:
        summary, hint, parameters = _OTHERS[endpoint]
        answer, tag, what = schemas.of(hint), "other", "The answer."
    else:
        summary, answer = call.summary, schemas.answer(call)
        tag = call.path.removeprefix(f"{OF_ATLAS}/").partition("/")[0]
        parameters = ([_ATLAS] if call.of_atlas else []) + [_parameter(declared) for declared in call.parameters]
        what = "The record." if call.row is None else "Rows, in order."
    failures = {
        status: {"description": what, "content": _json({"$ref": "#/components/schemas/Error"})}
        for status, what in (_FAILURES | (_SQL_FAILURES if endpoint == "sql.sql" else {})).items()
    }
    return {
        "operationId": name,
        "summary": summary.replace("\n", " "),
        "tags": [tag],
        "parameters": parameters,
        "responses": {
            "200": {"description": what, "content": _json(answer)},
            "304": {"description": "The build that the client's `If-None-Match` names is still current."},
            **failures,
        },
    }


def _json(schema: dict[str, Any]) -> dict[str, Any]:
    return {"application/json": {"schema": schema}}


def _parameter(declared: Declared) -> dict[str, Any]:
    schema = declared.kind.schema()
    if declared.default is not None:
        schema["default"] = int(declared.default) if isinstance(declared.default, bool) else declared.default
    return {
        "name": declared.name,
        "in": "path" if declared.in_path else "query",
        "required": declared.required,
        "description": declared.kind.description,
        "schema": schema,
    }


def address(call: Call, slug: str, neuron: str, token: int, study: str = "an") -> str:
    """An example's URL, without its host."""
    path = {"neuron": neuron, "token": str(token), "study": study}
    return urls.api(call.path, urls.AtlasRef(slug), path, **call.texts(call.example))
