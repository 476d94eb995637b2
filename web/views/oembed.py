"""`/oembed?url=`: how a page of this site is shown inside another's, by oEmbed 1.0.

A neuron, a token, a list or an embed of one is a frame; every other page is its card's picture, leading to it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import SplitResult, unquote_to_bytes, urlsplit
from xml.etree import ElementTree

from flask import Response, abort, current_app, g, request
from markupsafe import Markup
from werkzeug.exceptions import MethodNotAllowed, NotFound

from atlas.core.display import visible
from atlas.core.jsonable import dumps
from web.cards.svg import HEIGHT as CARD_HEIGHT
from web.cards.svg import WIDTH as CARD_WIDTH
from web.site import earlier, urls
from web.site.errors import BadRequestError, EarlierBuildError, NotServedError
from web.site.page import AtlasPage, Page, find_atlas, query_int
from web.site.sharing import FRAME_HEIGHT, FRAME_WIDTH, frame
from web.site.urls import Blueprint
from web.views.embed import EmbedPage

blueprint = Blueprint("oembed", __name__)

CACHE_SECONDS = 3600
"""How long an answer may be kept: titles change with a new build."""

_REDIRECTS = 3
_CARD = urls.card("")


@blueprint.get("/oembed")
def oembed() -> Response:
    """How the page at `url` is embedded, no larger than `maxwidth` x `maxheight`, as JSON or XML."""
    kind = request.args.get("format", "json")
    if kind not in ("json", "xml"):
        abort(501, f"format={visible(kind)!r} is not answered here; expected json or xml.")
    most = query_int("maxwidth", None, least=1), query_int("maxheight", None, least=1)
    answer = _answer(_page_at(request.args.get("url")), *most)
    response: Any = Response(dumps(answer), mimetype="application/json") if kind == "json" else _xml(answer)
    response.headers["Cache-Control"] = f"public, max-age={CACHE_SECONDS}"
    response.add_etag(weak=True)
    return response.make_conditional(request)


def _answer(page: Page, max_width: int | None, max_height: int | None) -> dict[str, Any]:
    host = request.host_url.rstrip("/")
    read = page.unfinished and page.unfinished.share if isinstance(page, AtlasPage) else None
    title = visible(page.share_title() + (f" ({read} read)" if read else ""))
    thing = page.page if isinstance(page, EmbedPage) else page
    answer: dict[str, Any] = {
        "version": "1.0",
        "type": "rich",
        "title": title,
        "provider_name": "Neuron Atlas",
        "provider_url": host + urls.to("home"),
        "cache_age": CACHE_SECONDS,
    }
    card = host + urls.card(thing.url)
    if urls.has_embed(thing.url):
        width, height = min(FRAME_WIDTH, max_width or FRAME_WIDTH), min(FRAME_HEIGHT, max_height or FRAME_HEIGHT)
        source = page.address() if isinstance(page, EmbedPage) else urls.embed(thing.url)
        answer |= {"html": frame(host + source, title, width, height), "width": width, "height": height}
    else:
        scale = min(1.0, (max_width or FRAME_WIDTH) / CARD_WIDTH, (max_height or CARD_HEIGHT) / CARD_HEIGHT)
        width, height = max(1, int(CARD_WIDTH * scale)), max(1, int(CARD_HEIGHT * scale))
        picture = Markup('<a href="{}"><img src="{}" alt="{}" width="{}" height="{}"></a>').format(
            host + thing.url, card, title, width, height
        )
        answer |= {"html": str(picture), "width": width, "height": height}
    if (max_width or CARD_WIDTH) >= CARD_WIDTH and (max_height or CARD_HEIGHT) >= CARD_HEIGHT:
        # A thumbnail obeys the limits too, and the card has one size.
        answer |= {"thumbnail_url": card, "thumbnail_width": CARD_WIDTH, "thumbnail_height": CARD_HEIGHT}
    return answer


def _xml(answer: Mapping[str, Any]) -> Response:
    root = ElementTree.Element("oembed")
    for name, value in answer.items():
        ElementTree.SubElement(root, name).text = str(value)
    return Response(ElementTree.tostring(root, encoding="utf-8", xml_declaration=True), mimetype="text/xml")


def _page_at(address: str | None) -> Page:
    """What is shown at a full address of this site, in whatever spelling.

    Raises:
        BadRequestError: it is no address.
        NotServedError: it is another site's, or nothing that can be embedded is there.
    """
    if not address:
        raise BadRequestError("oEmbed needs ?url=: expected the full address of a page of this site.")
    try:
        parts = urlsplit(address)
        host = _host(parts)
    except ValueError:
        raise BadRequestError(f"url={visible(address)!r} is no address.") from None
    if parts.scheme not in ("http", "https") or host is None:
        raise BadRequestError(f"url={visible(address)!r} is no full address: expected one that begins with http.")
    if host != _host(urlsplit(request.host_url)):
        raise NotServedError(f"{visible(address)} is not of this site, {request.host}.")
    for _ in range(_REDIRECTS):
        reached = _view(parts)
        if isinstance(reached, Page):
            return reached
        parts = urlsplit(reached)
    raise NotServedError(f"{visible(address)} leads on and on.")


def _host(parts: SplitResult) -> tuple[str | None, int | None] | None:
    """Host and port, whose spelling and scheme do not matter; the schemes' own ports are none."""
    if parts.hostname is None:
        return None
    return parts.hostname, None if parts.port in (None, 80, 443) else parts.port


def _view(parts: SplitResult) -> Page | str:
    """The page at a path of this site, or where it leads. It is asked for as its picture would be: a page may leave out
    what takes long then."""
    path = unquote_to_bytes(parts.path or "/") + _CARD.encode()
    environ = {
        name: value
        for name, value in request.environ.items()
        if not name.startswith(("werkzeug.", "flask.", "CONTENT_", "HTTP_IF_"))
    }
    query, _ = earlier.parted(parts.query)
    environ |= {"PATH_INFO": path.decode("latin-1"), "QUERY_STRING": query, "REQUEST_METHOD": "GET"}
    with current_app.request_context(environ) as context:
        try:
            if context.request.routing_exception is not None:
                raise context.request.routing_exception
        except (NotFound, MethodNotAllowed):
            return _nothing(parts)
        rule, values = context.request.url_rule, dict(context.request.view_args or {})
        view = getattr(current_app.view_functions[rule.endpoint], "view", None)
        if view is None or values.pop("kind", None) != "card":
            return _nothing(parts)
        if "ref" in values:
            g.ref = values.pop("ref")
            try:
                values["atlas"] = find_atlas(g.ref)
            except EarlierBuildError as error:
                return _page_of(error.link)
        answer = view(**values)
        if isinstance(answer, Page):
            return answer
        if answer.status_code == 301:
            return _page_of(answer.headers["Location"])
        return _nothing(parts)


def _page_of(card: str) -> str:
    """The page whose picture is at a URL."""
    path, mark, query = card.partition("?")
    return path.removesuffix(_CARD) + mark + query


def _nothing(parts: SplitResult) -> Page | str:
    raise NotServedError(f"Nothing that can be embedded is at {visible(parts.path)}.")
