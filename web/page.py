"""How a page is made: a documented context record, shown by a template or, with `.json`, given as it is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, fields
from functools import wraps
from typing import Any

from flask import Blueprint, Response, current_app, g, render_template, request
from werkzeug.wrappers import Response as BaseResponse

from atlas import Atlas
from atlas.jsonable import dumps
from web import urls
from web.errors import BadRequestError, NotServedError
from web.urls import AtlasRef


def doc(text: str, *, json: bool = True) -> dict[str, Any]:
    """Metadata of a field of a page's context: what it is; `json=False` leaves it out of the page's data."""
    return {"doc": text, "json": json}


@dataclass(frozen=True, kw_only=True)
class Page:
    """What every page's template gets."""

    title: str = field(metadata=doc("Title of the page, for people."))
    url: str = field(metadata=doc("The page's own URL, in full; its data is at the same with '.json' after the path."))

    def as_json(self) -> dict[str, Any]:
        """The page's data: every field but those that only serve its looks."""
        return {item.name: getattr(self, item.name) for item in fields(self) if item.metadata["json"]}


@dataclass(frozen=True, kw_only=True)
class AtlasPage(Page):
    """What the template of every page of an atlas gets."""

    ref: AtlasRef = field(
        metadata=doc("Which atlas, and which build if the URL is pinned: what the page's links start from.", json=False)
    )
    slug: str = field(metadata=doc("Slug of the atlas."))
    build_id: str = field(metadata=doc("Build of the atlas that answered."))
    model_name: str = field(metadata=doc("The model."))


def atlas_fields(atlas: Atlas) -> dict[str, Any]:
    """The fields of an AtlasPage but its title."""
    info = atlas.info
    return {"ref": g.ref, "slug": info.slug, "build_id": info.build_id, "model_name": info.model_name}


def find_atlas(ref: AtlasRef) -> Atlas:
    """The atlas that a URL names.

    Raises:
        NotServedError: no atlas of that slug, or not that build of it, is served.
    """
    served: dict[str, Atlas] = current_app.extensions["atlases"]
    atlas = served.get(ref.slug)
    if atlas is None:
        raise NotServedError(f"There is no atlas {ref.slug!r} here; there is {', '.join(served)}.", urls.home())
    if ref.build_id not in (None, atlas.info.build_id):
        link = urls.current(ref, request.full_path.rstrip("?"))
        raise NotServedError(
            f"Build {ref.build_id} of {ref.slug!r} is not served here; build {atlas.info.build_id} is.", link
        )
    return atlas


def query_int(name: str, default: int | None, least: int = 0) -> int | None:
    """A whole number from the query string.

    Raises:
        BadRequestError: it is not a whole number, or less than `least`.
    """
    text = request.args.get(name)
    if text is None:
        return default
    if not (text.isascii() and text.isdigit()) or not least <= int(text) < 2**31:
        raise BadRequestError(f"{name}={text!r} is not right: expected a whole number from {least}.")
    return int(text)


def query_choice(name: str, choices: tuple[str, ...], default: str) -> str:
    """One of a few words from the query string.

    Raises:
        BadRequestError: it is another word.
    """
    text = request.args.get(name, default)
    if text not in choices:
        raise BadRequestError(f"{name}={text!r} is not right: expected one of {', '.join(choices)}.")
    return text


View = Callable[..., "Page | BaseResponse"]


def page(blueprint: Blueprint, rule: str, template: str) -> Callable[[View], View]:
    """Serve a view that answers with a context record (or a redirect) at a rule, and its data at the rule + '.json'.

    A rule with `<atlas:ref>` hands its view the Atlas instead of the reference.
    """

    def decorate(view: View) -> View:
        @wraps(view)
        def answer(**values: Any) -> BaseResponse | str:
            if "ref" in values:
                g.ref = values.pop("ref")
                values["atlas"] = find_atlas(g.ref)
            context = view(**values)
            if not isinstance(context, Page):
                return context
            if wants_json():
                return Response(dumps(context), mimetype="application/json")
            return render_template(template, **{item.name: getattr(context, item.name) for item in fields(context)})

        # The data's rule first: names in a rule may hold dots, and the first of two equal rules wins.
        blueprint.add_url_rule(f"{rule}.json", f"{view.__name__}_json", answer)
        blueprint.add_url_rule(rule, view.__name__, answer)
        return view

    return decorate


def wants_json() -> bool:
    """Whether the request is for data."""
    return request.path.endswith(".json")


def like_request(url: str) -> str:
    """A page's URL as the request would have it: its data if the request is for data, the same query string."""
    url = urls.json(url) if wants_json() else url
    query = request.query_string.decode("ascii", "replace")
    return f"{url}?{query}" if query and "?" not in url else url
