"""`/api`: every call of the API with its parameters, its answer's shape, and an example each for curl and Python."""

from __future__ import annotations

import shlex
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, urlencode

from flask import current_app, request

from atlas import Atlas
from atlas.core.call import Call
from atlas.topics.pair import exclusive_pairs
from atlas.topics.study.study import list_studies
from web.api.openapi import address, document, routes, template
from web.site import urls
from web.site.page import Page, doc, page
from web.site.urls import Blueprint

blueprint = Blueprint("api_page", __name__)


_SQL = "SELECT neuron, token, score FROM pair ORDER BY rank LIMIT 3"


@dataclass(frozen=True)
class Field:
    """One field of a shape, or one parameter: `shape` names the shape that its type is of, if it is of one."""

    name: str
    type: str
    shape: str | None
    required: bool
    description: str


@dataclass(frozen=True)
class Shape:
    """The shape of a record in JSON."""

    name: str
    description: str
    fields: tuple[Field, ...]


@dataclass(frozen=True)
class Route:
    """One call: its path, what it answers, and how it is asked; `python` is None where there is no such call."""

    name: str
    path: str
    summary: str
    parameters: tuple[Field, ...]
    answer: tuple[Field, ...]
    url: str
    curl: str
    python: str | None


@dataclass(frozen=True, kw_only=True)
class ApiPage(Page, template="api.html"):
    """What the API answers."""

    place: str = field(metadata=doc("What the Python examples open."))
    openapi: str = field(metadata=doc("Where the OpenAPI 3.1 document is."))
    routes: tuple[Route, ...] = field(metadata=doc("Every route, by path."))
    shapes: tuple[Shape, ...] = field(metadata=doc("Shapes of the records, by name."))


@dataclass(frozen=True)
class Subject:
    """What the examples are about: a pair that was counted, and a study."""

    slug: str = "smollm2-135m"
    neuron: str = "L24N917"
    token: int = 670
    study: str = "an"


def subject_of(atlases: dict[str, Atlas]) -> Subject:
    """The best exclusive pair and the first study of the first atlas."""
    for atlas in atlases.values():
        for pair in exclusive_pairs(atlas, limit=1).rows:
            names = [study.name for study in list_studies(atlas)] or [Subject.study]
            return Subject(atlas.info.slug, pair.neuron.name, pair.token.token_id, names[0])
    return Subject()


@page(blueprint, "/api")
def api_page() -> ApiPage:
    """What the API answers."""
    described = document(current_app)
    subject = subject_of(current_app.extensions["atlases"])
    place = f"{request.host_url}{subject.slug}"
    schemas, described_routes = described["components"]["schemas"], []
    for rule, call in routes(current_app):
        path = template(rule)
        described_routes.append(_route(path, described["paths"][path]["get"], schemas, call, subject, place))
    return ApiPage(
        title="The API",
        url=urls.to("api_page"),
        place=place,
        openapi=urls.openapi(),
        routes=tuple(described_routes),
        shapes=tuple(Shape(name, schema["description"], _fields(schema)) for name, schema in schemas.items()),
    )


def _route(
    path: str,
    operation: dict[str, Any],
    schemas: dict[str, Any],
    call: Call | None,
    subject: Subject,
    place: str,
) -> Route:
    answer = operation["responses"]["200"]["content"]["application/json"]["schema"]
    answer = schemas.get(type_of(answer)[1], answer)  # a shape by its own fields
    if call is not None:
        url = address(call, subject.slug, subject.neuron, subject.token, subject.study)
        python = call.python.format(neuron=subject.neuron, token=subject.token, study=subject.study, place=place)
    elif operation["parameters"]:
        url = f"{path.format(atlas=subject.slug)}?{urlencode({'sql': _SQL}, quote_via=quote)}"
        python = f"demo.sql({_SQL!r})"
    else:
        url, python = path, None
    return Route(
        name=operation["operationId"],
        path=path,
        summary=operation["summary"],
        parameters=tuple(
            _field(item["name"], item["schema"], item["required"], item["description"])
            for item in operation["parameters"]
        ),
        answer=_fields(answer),
        url=url,
        curl=f"curl {shlex.quote(request.host_url.rstrip('/') + url)}",
        python=python,
    )


def _fields(schema: dict[str, Any]) -> tuple[Field, ...]:
    required = schema.get("required", [])
    return tuple(
        _field(name, item, name in required, item.get("description", ""))
        for name, item in schema.get("properties", {}).items()
    )


def _field(name: str, schema: dict[str, Any], required: bool, description: str) -> Field:
    text, shape = type_of(schema)
    if "enum" in schema:
        description = f"{description} One of {', '.join(map(str, schema['enum']))}."
    if "default" in schema:
        description = f"{description} Default: {schema['default']}."
    return Field(name, text, shape, required, description)


def type_of(schema: dict[str, Any]) -> tuple[str, str | None]:
    """A JSON Schema in words, and the shape it is of (None: of none)."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return name, name
    if "anyOf" in schema:
        parts = [type_of(item) for item in schema["anyOf"]]
        return " or ".join(text for text, _ in parts), next((shape for _, shape in parts if shape), None)
    if "items" in schema:
        text, shape = type_of(schema["items"])
        return f"array of {text}", shape
    if "prefixItems" in schema:
        return f"[{', '.join(type_of(item)[0] for item in schema['prefixItems'])}]", None
    if isinstance(schema.get("additionalProperties"), dict):
        text, shape = type_of(schema["additionalProperties"])
        return f"object of {text}", shape
    kind = schema.get("type", "anything")
    return (" or ".join(kind) if isinstance(kind, list) else kind), None
