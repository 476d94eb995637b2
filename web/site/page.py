"""Pages: a documented record, shown by a template; `.json` gives its data, `.chart.svg` a chart."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from functools import wraps
from typing import Any, ClassVar
from urllib.parse import quote

from flask import Response, current_app, g, render_template, request
from werkzeug.wrappers import Response as BaseResponse

from atlas import Atlas
from atlas.core.info import AtlasInfo, came_before, count_words, share_words, unfinished_words
from atlas.core.jsonable import dumps
from web.cards.plain import plain_card
from web.cards.svg import Card
from web.charts.chart import Chart
from web.charts.render import MIMETYPES, render
from web.site import earlier, urls
from web.site.caching import lasting, not_modified, validated
from web.site.errors import BadRequestError, EarlierBuildError, GoneBuildError, NotServedError
from web.site.urls import AtlasRef, Blueprint


def doc(text: str, *, json: bool = True) -> dict[str, Any]:
    """Metadata of a field of a page's context: what it is; `json=False` leaves it out of the page's data."""
    return {"doc": text, "json": json}


def json_fields(record: Any) -> dict[str, Any]:
    """A record's data: every field but those that only serve its looks."""
    return {item.name: getattr(record, item.name) for item in fields(record) if item.metadata["json"]}


def charts_of(record: Any) -> list[Chart]:
    """The charts among the fields of a record."""
    values = [getattr(record, item.name) for item in fields(record)]
    listed = [value if isinstance(value, tuple) else (value,) for value in values]
    return [item for items in listed for item in items if isinstance(item, Chart)]


@dataclass(frozen=True, kw_only=True)
class Page:
    """The context of a page, of which its template gets every field; a subclass names its template:
    `class PairsPage(AtlasPage, template="pairs.html")`."""

    template: ClassVar[str]

    title: str = field(metadata=doc("Title of the page, for people."))
    url: str = field(metadata=doc("The page's own URL, in full; its data is at the same with '.json' after the path."))
    description: str = field(
        default="A page for every MLP neuron of a language model: the tokens it writes, when it fires, and whether its "
        "firing predicts those tokens.",
        metadata=doc("What the page is about, in a sentence or two: for search results and cards."),
    )

    def __init_subclass__(cls, template: str | None = None) -> None:
        if template is not None:
            cls.template = template

    @property
    def status(self) -> int:
        """HTTP status of the page as HTML."""
        return 200

    def share_title(self) -> str:
        """Its title for sites that show a link to it."""
        return self.title

    def card(self) -> Card:
        """The page's picture, to be shown beside links to it."""
        return plain_card(self.title, self.description, self._footer())

    def _footer(self) -> str:
        return ""

    def as_json(self) -> dict[str, Any]:
        """The page's data: every field but those that only serve its looks."""
        return json_fields(self)

    def every_chart(self) -> list[Chart]:
        """The charts it shows."""
        return charts_of(self)


@dataclass(frozen=True)
class Unfinished:
    """The progress of an atlas whose run goes on, in words."""

    said: str | None
    """A sentence saying that counts will grow; None: the run is complete."""
    texts: str
    """Texts that were read."""
    share: str | None
    """Of the run's texts; None: all."""
    earlier: str | None
    """The build that the reader's link was made to, when fewer texts had been read."""


@dataclass(frozen=True, kw_only=True)
class AtlasPage(Page):
    """What the template of every page of an atlas gets."""

    ref: AtlasRef = field(
        metadata=doc("Which atlas, and which build if the URL is pinned: what the page's links start from.", json=False)
    )
    slug: str = field(metadata=doc("Slug of the atlas."))
    build_id: str = field(metadata=doc("Build of the atlas that answered."))
    model_name: str = field(metadata=doc("The model."))
    share_read: float | None = field(
        metadata=doc("Share of the run's texts that were read when the file was written; null: the run is complete.")
    )
    unfinished: Unfinished | None = field(
        metadata=doc("What the page says of a run in progress, or of a link to an earlier build of it.", json=False)
    )

    def share_title(self) -> str:
        """Its title for sites that show a link to it."""
        return self.title if self.title == self.model_name else f"{self.title} · {self.model_name}"

    def _footer(self) -> str:
        read = self.unfinished and self.unfinished.share
        return f"{self.model_name}  ·  build {self.build_id}" + (f"  ·  {read} read" if read else "")


def atlas_fields(atlas: Atlas) -> dict[str, Any]:
    """The fields of an AtlasPage but its title."""
    info = atlas.info
    return {
        "ref": g.ref,
        "slug": info.slug,
        "build_id": info.build_id,
        "model_name": info.model_name,
        "share_read": info.share_read,
        "unfinished": _unfinished(info),
    }


def _unfinished(info: AtlasInfo) -> Unfinished | None:
    before = earlier.build(info) if g.ref.build_id is None else None
    if before is None and info.n_texts_planned is None:
        return None
    return Unfinished(unfinished_words(info), f"{count_words(info)} texts", share_words(info), before)


def _asked() -> str:
    """Path and query of the request, as an address."""
    query = request.query_string.decode("ascii", "replace")
    return quote(request.path, safe="/@:~!$&'()*+,;=") + (f"?{query}" if query else "")


def find_atlas(ref: AtlasRef) -> Atlas:
    """The atlas that a URL names.

    Raises:
        EarlierBuildError: a later build of the same run is served.
        GoneBuildError: another build of that slug is served.
        NotServedError: no atlas of that slug is served.
    """
    served: dict[str, Atlas] = current_app.extensions["atlases"]
    atlas = served.get(ref.slug)
    if atlas is None:
        there = f"; there is {', '.join(served)}" if served else " yet"
        raise NotServedError(f"There is no atlas {ref.slug!r} here{there}.", urls.to("home"))
    if ref.build_id not in (None, atlas.info.build_id):
        link = urls.current(ref, _asked())
        message = f"Build {ref.build_id} of {ref.slug!r} is not served here; build {atlas.info.build_id} is."
        if came_before(ref.build_id, atlas.info):
            raise EarlierBuildError(message, link, ref.build_id)
        raise GoneBuildError(message, link)
    return atlas


def _atlas_of_page(kind: str) -> Atlas:
    """The atlas of a page. A page for people that is pinned to a build that is gone shows the current one and says so;
    a program must not get other numbers than it asked for, nor a frame on another site."""
    try:
        return find_atlas(g.ref)
    except GoneBuildError:
        if kind != "html" or request.method not in ("GET", "HEAD") or urls.may_be_framed(request.path):
            raise
        g.gone_build, g.ref = g.ref.build_id, AtlasRef(g.ref.slug)
        return find_atlas(g.ref)


def _for_gone_build(response: BaseResponse) -> BaseResponse:
    """The current build's page at an address pinned to one that is gone: not kept, and left out of search engines."""
    response.headers["Cache-Control"] = "no-cache"
    response.headers["X-Robots-Tag"] = "noindex"
    location = response.headers.get("Location", "")
    if location.startswith(f"/{g.ref}"):
        response.headers["Location"] = urls.pinned(g.ref, location, g.gone_build)
    return response


def query_int(
    name: str, default: int | None, least: int = 0, most: int = 2**31 - 1, expected: str | None = None
) -> int | None:
    """A whole number from the query string; `expected` says which.

    Raises:
        BadRequestError: it is not a whole number, or not from `least` to `most`.
    """
    text = request.args.get(name)
    if text is None:
        return default
    if not (text.isascii() and text.isdigit()) or not least <= int(text) <= most:
        raise BadRequestError(f"{name}={text!r} is invalid: expected {expected or f'a whole number from {least}'}.")
    return int(text)


def query_choice(name: str, choices: tuple[str, ...], default: str) -> str:
    """One of a few words from the query string.

    Raises:
        BadRequestError: it is another word.
    """
    text = request.args.get(name, default)
    if text not in choices:
        raise BadRequestError(f"{name}={text!r} is invalid: expected one of {', '.join(choices)}.")
    return text


View = Callable[..., "Page | BaseResponse"]


def page(blueprint: Blueprint, rule: str, *, kept: bool = True, data: bool = True) -> Callable[[View], View]:
    """Serve a view that answers with a context record (or a redirect) at a rule, its data at the rule + '.json', its
    picture at '.card.png', its charts at '.chart.svg', '.chart.png', '.chart.csv', '.chart.json' with `?chart=name`.

    A rule with `<atlas:ref>` hands its view the Atlas instead of the reference, and its answers have validators;
    `kept=False` is for a page that shows what changes while its atlas does not; `data=False` for one whose data another
    view answers with.
    """

    def decorate(view: View) -> View:
        @wraps(view)
        def answer(**values: Any) -> Any:
            kind = values.pop("kind", "html")
            if "ref" not in values:
                return answered(view(**values), kind)
            g.ref = values.pop("ref")
            atlas = _atlas_of_page(kind)
            if "gone_build" in g:
                return _for_gone_build(answered(view(atlas=atlas, **values), kind))
            held = not_modified(atlas.info.build_id) if kept else None
            if held is not None:
                return held
            context = view(atlas=atlas, **values)
            response: Any = answered(context, kind)
            if not isinstance(context, Page) or response.status_code != 200:
                return response
            if not kept:
                response.headers["Cache-Control"] = "no-cache"
                return response
            return validated(response, atlas.info.build_id, pinned=lasting(g.ref, atlas.info))

        answer.view = view  # type: ignore[attr-defined]  # what other modules ask for a page's record (see web/views/oembed.py)

        # The longer rules first: names in a rule may hold dots, and the first of two equal rules wins.
        name = view.__name__
        for kind in MIMETYPES:
            blueprint.add_url_rule(f"{rule}.chart.{kind}", f"{name}_chart_{kind}", answer, defaults={"kind": kind})
        blueprint.add_url_rule(f"{rule}.card.png", f"{name}_card", answer, defaults={"kind": "card"})
        if data:
            blueprint.add_url_rule(f"{rule}.json", f"{name}_json", answer, defaults={"kind": "data"})
        blueprint.add_url_rule(rule, name, answer)
        return view

    return decorate


def answered(context: Page | BaseResponse, kind: str) -> BaseResponse:
    """The answer of a view as 'html', 'data', 'card', or the format of a chart."""
    if not isinstance(context, Page):
        return context
    if kind == "html":
        values = {item.name: getattr(context, item.name) for item in fields(context)}
        return Response(render_template(context.template, **values), context.status)
    if kind == "data":
        return Response(dumps(context), mimetype="application/json")
    if kind == "card":
        return Response(context.card().png(), mimetype="image/png")
    chart = _chart(context)
    response = Response(render(chart, kind), content_type=MIMETYPES[kind])
    name = re.sub(r"[^A-Za-z0-9]+", "-", f"{context.title} {chart.name}").strip("-").lower()
    # Drawings are shown, tables are saved.
    how = "attachment" if kind == "csv" else "inline"
    response.headers["Content-Disposition"] = f"{how}; filename={name}.{kind}"
    return response


def _chart(context: Page) -> Chart:
    charts = {chart.name: chart for chart in context.every_chart()}
    name = request.args.get("chart", "")
    if name not in charts:
        expected = ", ".join(charts) or "none: this page has no charts"
        raise NotServedError(f"This page has no chart {name!r}; it has {expected}.", context.url)
    return charts[name]


def wants_json() -> bool:
    """Whether the request is for data."""
    return request.path.endswith(".json")


def wants_card() -> bool:
    """Whether the request is for the page's picture, which can do without what takes long."""
    return request.path.endswith(".card.png")


def like_request(url: str) -> str:
    """A page's URL as the request would have it: its data or chart if the request is for that, the same query."""
    path, mark, query = url.partition("?")
    asked = re.search(rf"(\.chart\.({'|'.join(MIMETYPES)})|\.card\.png|\.json)$", request.path)
    url = f"{path}{asked[0] if asked else ''}{mark}{query}"
    given = request.query_string.decode("ascii", "replace")
    return earlier.kept(f"{url}?{given}" if given and not mark else url)
