"""Navigation of the atlas that a page is about: its lists and tools, the current one marked."""

from __future__ import annotations

import re
from dataclasses import dataclass

from flask import current_app, g, request

from atlas import Atlas
from atlas.topics.study.study import list_studies
from web.site import urls
from web.site.published import published
from web.site.urls import AtlasRef

_NEURON_OR_LAYER = re.compile(r"/[a-z0-9@-]+/L[0-9]+(?:N[0-9]+)?(?:/|$)")


@dataclass(frozen=True)
class NavItem:
    """A link of the navigation; `current` is the value of `aria-current`: 'page', 'true' for a page below it, or
    None."""

    label: str
    url: str
    title: str
    current: str | None
    key: str | None = None


@dataclass(frozen=True)
class Nav:
    """The navigation of an atlas."""

    ref: AtlasRef
    model_name: str
    url: str
    current: str | None
    items: tuple[NavItem, ...]


def nav() -> Nav | None:
    """Navigation of the atlas of the request: the one in its path, or the one searched, or the only one served; None:
    there are several, and the page is about none or all."""
    served: dict[str, Atlas] = current_app.extensions["atlases"]
    ref = g.get("ref") or AtlasRef(request.args.get("atlas", ""))
    if ref.slug not in served:
        if len(served) != 1:
            return None
        ref = AtlasRef(*served)
    atlas = served[ref.slug]
    overview = urls.to("overview", ref)
    return Nav(ref, atlas.info.model_name, overview, "page" if request.path == overview else None, _items(atlas, ref))


def _items(atlas: Atlas, ref: AtlasRef) -> tuple[NavItem, ...]:
    live, copy = current_app.extensions["live"], published()
    pages = [
        ("neurons", "neurons", "The neurons by layer and norm" if copy else "Every neuron: sort and filter"),
        ("predictive pairs", "predictive", "Neurons and tokens by how well firing predicts the token"),
        ("exclusive pairs", "pairs", "Neurons and tokens that are mutual best matches by congruence"),
        ("exclusive tokens", "exclusive", "Tokens by the lead of their best neuron over the second"),
        ("hubs", "hubs", "Tokens and neurons that are best for many others"),
        ("does congruence predict?", "prediction", "Congruence from the weights against predictions in the texts"),
        *([("studies", "studies", "Experiments on prompts")] if list_studies(atlas) else []),
        *([("live", "live", "Run the model on a text of yours")] if live and live.options else []),
        ("SQL", "console", "Ask the file anything"),
        ("tables", "tables", "Every table and column" if copy else "Every table and column, and files to download"),
        ("glossary", "atlas_glossary", "What the words mean"),
    ]
    items = [(label, urls.to(view, ref), title, view) for label, view, title in pages]
    drawn = NavItem("random", urls.to("random_neuron", ref), "A random neuron (r)", None, key="r")
    return (*(NavItem(label, url, title, _current(view, url)) for label, url, title, view in items), drawn)


def _current(view: str, url: str) -> str | None:
    path = request.path
    if path == url:
        return "page"
    below = path.startswith(f"{url}/") or (view == "studies" and "/study/" in path)
    return "true" if below or (view == "neurons" and _NEURON_OR_LAYER.match(path)) else None
