"""`/{slug}/list?n=L31N892&n=L28N1921~a+note&title=…`: neurons with notes, handed around by address.

`POST /{slug}/list` saves a list under a short link, `/{slug}/list/{name}` (see `web.saved`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from flask import Response, current_app, g, redirect, request
from werkzeug.wrappers import Response as BaseResponse

from atlas import Atlas
from atlas.core.jsonable import dumps
from atlas.core.units import Misnamed, names_refused
from atlas.topics.collection import (
    LEAST,
    LONGEST_NOTE,
    LONGEST_TITLE,
    MOST,
    Collection,
    ListedNeuron,
    listed_neurons,
    panels,
    read_collection,
)
from atlas.topics.neuron import Neuron
from atlas.topics.neuron_list import EXPORT_COLUMNS
from web.cards.collection import list_card
from web.cards.svg import Card
from web.saved.errors import SavedRefused
from web.saved.query import SharedList
from web.saved.store import SavedQueries
from web.site import urls
from web.site.errors import BadRequestError, NotServedError
from web.site.exports import csv_answer
from web.site.page import AtlasPage, atlas_fields, doc, find_atlas, like_request, page, query_choice, wants_json
from web.site.same_site import refuse_other_sites
from web.site.urls import AtlasRef, Blueprint
from web.views.embed import THEMES, EmbedPage
from web.views.sql import LONGEST_FORM

blueprint = Blueprint("collection", __name__)

SORTS: dict[str, tuple[str, Callable[[ListedNeuron], Any]]] = {
    "listed": ("as listed", lambda item: item.place),
    "name": ("by name", lambda item: item.neuron.neuron_id),
    "congruence": ("by best congruence", lambda item: -item.neuron.best_congruence),
    "auroc": ("by area under ROC", lambda item: -(item.auroc or 0.0)),
}
"""Orders of a list: in words, and by what."""

LONGEST_SQL = 4_000
"""Characters of a panel's SQL that an address takes; that of a longer list has no link."""


@dataclass(frozen=True, kw_only=True)
class CollectionPage(AtlasPage, template="list.html"):
    """A list of neurons with notes."""

    heading: str = field(metadata=doc("The author's title; '' if none."))
    neurons: tuple[ListedNeuron, ...] = field(metadata=doc("The neurons, in the order of `sort`."))
    misnamed: tuple[Misnamed, ...] = field(
        metadata=doc("Names in the address that no neuron has; a request for data with any is refused.", json=False)
    )
    collection: Collection = field(metadata=doc("What its author wrote, in the author's order.", json=False))
    sort: str = field(metadata=doc(f"How the neurons are sorted: {', '.join(SORTS)}."))
    sorts: dict[str, tuple[str, str]] = field(
        metadata=doc("Of each order: its words, and the list's URL in it.", json=False)
    )
    short: str | None = field(metadata=doc("Its short link without a build; null: it was not saved.", json=False))
    saving: bool = field(metadata=doc("Whether this site keeps short links.", json=False))
    longest_note: int = field(metadata=doc("Most characters of a note.", json=False))
    longest_title: int = field(metadata=doc("Most characters of a title.", json=False))
    most: int = field(metadata=doc("Most neurons of a list.", json=False))
    least: int = field(metadata=doc("Fewest positions of a bin that a small curve shows.", json=False))
    panels: dict[str, str] = field(metadata=doc("The SQL behind each part of the page."))

    def card(self) -> Card:
        """Its title and first neurons."""
        return list_card(self.title, self.neurons, self._footer())


@dataclass(frozen=True, kw_only=True)
class CollectionEmbed(EmbedPage, template="embed_list.html"):
    """A list of neurons with notes, for a frame of another site."""

    page: CollectionPage = field(metadata=doc("The list's page.", json=False))


@blueprint.after_request
def unlisted(response: Response) -> Response:
    """What strangers wrote is for whom they give the link, not for search engines."""
    response.headers["X-Robots-Tag"] = "noindex"
    return response


@page(blueprint, "/<atlas:ref>/list")
def collection(atlas: Atlas) -> CollectionPage | BaseResponse:
    """A list of neurons by its address; other spellings lead to the canonical one. A name that no neuron has leaves the
    rest where it is, but for data."""
    collection, misnamed = _read(atlas, whole=wants_json())
    url = _url(collection, query_choice("sort", tuple(SORTS), "listed"))
    written = [entry.written() for entry in collection.entries]
    if not misnamed and (written, collection.title) != (request.args.getlist("n"), request.args.get("title", "")):
        return redirect(like_request(url), 301)
    return _page(atlas, collection, misnamed)


@page(blueprint, "/<atlas:ref>/list/<name>")
def saved_collection(atlas: Atlas, name: str) -> CollectionPage:
    """A saved list by its short link."""
    collection, misnamed = _saved(atlas, name)
    return _page(atlas, collection, misnamed, name)


@page(blueprint, "/embed/<atlas:ref>/list")
def embedded_collection(atlas: Atlas) -> CollectionEmbed:
    """A list of neurons for a frame of another site."""
    return _embed(atlas, _page(atlas, *_read(atlas)))


@page(blueprint, "/embed/<atlas:ref>/list/<name>")
def embedded_saved_collection(atlas: Atlas, name: str) -> CollectionEmbed:
    """A saved list for a frame of another site."""
    return _embed(atlas, _page(atlas, *_saved(atlas, name), name))


def collection_csv(ref: AtlasRef, name: str | None = None) -> Response:
    """A list as CSV: name, note, verdict, and every column of the table `neuron`."""
    g.ref, atlas = ref, find_atlas(ref)
    collection, _ = _read(atlas, whole=True) if name is None else _saved(atlas, name)
    rows = (
        (item.neuron.name, item.note, item.verdict.text, *_cells(item.neuron))
        for item in listed_neurons(atlas, collection.entries)
    )
    columns = [column for column in EXPORT_COLUMNS if column != "name"]
    return csv_answer(f"{atlas.info.slug}-list", ("name", "note", "verdict", *columns), rows)


blueprint.add_url_rule("/<atlas:ref>/list.csv", "collection_csv", collection_csv)
blueprint.add_url_rule("/<atlas:ref>/list/<name>.csv", "saved_collection_csv", collection_csv)


@blueprint.post("/<atlas:ref>/list")
def save_collection(ref: AtlasRef) -> BaseResponse:
    """Save a list: form fields `n`, as often as there are neurons, as an address has them, and `title`.

    Answers 303 to the saved page; to a client that wants JSON `{"name", "url", "title", "new"}`, 201 if it was not
    saved before.
    """
    refuse_other_sites(
        "This form is on another site: from a browser, lists are saved by this site's own pages only. Open the list "
        "here and save it there."
    )
    g.ref = ref
    atlas, store = find_atlas(ref), _store(ref)
    request.max_content_length = request.max_form_memory_size = LONGEST_FORM
    collection, misnamed = read_collection(atlas, request.form.get("title", ""), request.form.getlist("n"))
    if misnamed:
        raise BadRequestError(names_refused(misnamed))
    if not collection.entries:
        raise SavedRefused("There are no neurons to save: expected at least one form field n, as in n=L1N2.")
    entries = tuple((entry.name, entry.note) for entry in collection.entries)
    saved, new = store.save_list(atlas.info.slug, SharedList(collection.title, entries))
    url = urls.to("saved_collection", ref, saved.name)
    if request.accept_mimetypes.best != "application/json":
        return redirect(url, 303)
    body = {"name": saved.name, "url": url, "title": collection.title, "new": new}
    return Response(dumps(body), 201 if new else 200, {"Location": url}, mimetype="application/json")


def _store(ref: AtlasRef) -> SavedQueries:
    store = current_app.extensions["saved"]
    if store is None:
        raise NotServedError(
            "Short links are not kept on this site. Share the list's address instead, /…/list?n=…: it holds the whole "
            "list.",
            urls.to("collection", ref),
        )
    return store


def _read(atlas: Atlas, whole: bool = False) -> tuple[Collection, list[Misnamed]]:
    """The list that the address holds; `whole`: or none of it.

    Raises:
        BadRequestError: a name is of no neuron, and the whole is asked for or no other name is there.
    """
    collection, misnamed = read_collection(atlas, request.args.get("title", ""), request.args.getlist("n"))
    if misnamed and (whole or not collection.entries):
        raise BadRequestError(names_refused(misnamed), urls.to("collection", g.ref))
    return collection, misnamed


def _saved(atlas: Atlas, name: str) -> tuple[Collection, list[Misnamed]]:
    """The saved list of a name, read anew: the model may have changed under its slug.

    Raises:
        NotServedError: there is none.
    """
    saved = _store(g.ref).named_list(g.ref.slug, name)
    if saved is None:
        raise NotServedError(
            f"No list is saved as {name!r} for {g.ref.slug!r}: the link is incomplete, or the list was removed. Make "
            "it again from its neurons.",
            urls.to("collection", g.ref),
        )
    texts = [f"{neuron}~{note}" for neuron, note in saved.shared.entries]
    return read_collection(atlas, saved.shared.title, texts)


def _url(collection: Collection, sort: str = "listed", name: str | None = None) -> str:
    order = None if sort == "listed" else sort
    if name is not None:
        return urls.to("saved_collection", g.ref, name, sort=order)
    texts = [entry.written() for entry in collection.entries]
    return urls.to("collection", g.ref, n=texts, title=collection.title or None, sort=order)


def _page(
    atlas: Atlas, collection: Collection, misnamed: Sequence[Misnamed], name: str | None = None
) -> CollectionPage:
    """The page of a list; `name` is that of its short link."""
    sort = query_choice("sort", tuple(SORTS), "listed")
    neurons = sorted(listed_neurons(atlas, collection.entries), key=SORTS[sort][1])
    n = len(neurons)
    count = f"{n} neuron{'' if n == 1 else 's'}"
    first = "; ".join(f"{item.neuron.name} {item.verdict.headline}" for item in neurons[:5])
    return CollectionPage(
        title=collection.title or (f"List of {count}" if n else "A list of neurons"),
        url=_url(collection, sort, name),
        **atlas_fields(atlas),
        description=f"{count} of {atlas.info.model_name}{f': {first}' if first else ''}{'; …' if n > 5 else '.'}",
        heading=collection.title,
        neurons=tuple(neurons),
        misnamed=tuple(misnamed),
        collection=collection,
        sort=sort,
        sorts={key: (words, _url(collection, key, name)) for key, (words, _) in SORTS.items()},
        short=None if name is None else urls.to("saved_collection", AtlasRef(g.ref.slug), name),
        saving=current_app.extensions["saved"] is not None,
        longest_note=LONGEST_NOTE,
        longest_title=LONGEST_TITLE,
        most=MOST,
        least=LEAST,
        panels={key: sql for key, sql in panels(neurons).items() if len(sql) <= LONGEST_SQL},
    )


def _embed(atlas: Atlas, list_page: CollectionPage) -> CollectionEmbed:
    return CollectionEmbed(
        title=list_page.title,
        url=list_page.url,
        description=list_page.description,
        panel=None,
        theme=query_choice("theme", THEMES, THEMES[0]),
        page=list_page,
        **atlas_fields(atlas),
    )


def _cells(neuron: Neuron) -> list[object]:
    """A neuron's values in the order of EXPORT_COLUMNS but its name: a token's id, then its text."""
    cells: list[object] = []
    for column in EXPORT_COLUMNS:
        if column.endswith("token_id"):
            cells.append(getattr(neuron, column.removesuffix("_id")).token_id)
        elif column.endswith("_token"):
            cells.append(getattr(neuron, column).text)
        elif column != "name":
            cells.append(getattr(neuron, column))
    return cells
