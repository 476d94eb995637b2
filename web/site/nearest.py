"""The nearest match of a wrong name: for `L25N9999` the last neuron of its layer, for `L40` the last layer."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from difflib import get_close_matches

from atlas import Atlas
from atlas.core.info import AtlasInfo
from atlas.core.names import neuron_name, spelled_layer, spelled_neuron
from atlas.topics.study.study import list_studies
from web.site import urls
from web.site.urls import AtlasRef

_LISTS = (
    "neurons",
    "pairs",
    "exclusive",
    "hubs",
    "predictive",
    "drivers",
    "prediction",
    "studies",
    "compare",
    "tables",
)
_ALIKE = 0.5
"""Least likeness of a name that is offered, as difflib measures it."""


@dataclass(frozen=True)
class Nearest:
    """A page to go to instead: its name, its address, and what there is in all, for people."""

    label: str
    url: str
    note: str


def nearest_named(info: AtlasInfo, ref: AtlasRef, text: str) -> tuple[Nearest, ...]:
    """The neuron or layer nearest to a name that is out of the model's range; nothing for any other text."""
    neuron, last = spelled_neuron(text), info.n_layers - 1
    layer = spelled_layer(text) if neuron is None else neuron[0]
    if layer is None or (neuron is None and layer <= last):
        return ()
    layers, layer = f"this model has layers 0 to {last}", min(layer, last)
    if neuron is None:
        return (Nearest(f"L{layer}", urls.to("layer", ref, layer), layers),)
    name = neuron_name(layer, min(neuron[1], info.d_mlp - 1))
    note = layers if neuron[0] > last else f"layer {layer} has neurons 0 to {info.d_mlp - 1}"
    return (Nearest(name, urls.to("neuron", ref, name), note),)


def nearest(served: dict[str, Atlas], path: str) -> tuple[Nearest, ...]:
    """Pages whose addresses are nearest to one that is none."""
    slug, _, rest = path.strip("/").partition("/")
    atlas = served.get(slug.partition("@")[0])
    if atlas is None:
        return tuple(
            Nearest(name, urls.to("overview", AtlasRef(name)), "an atlas here") for name in _close(slug, served)
        )
    return tuple(_in_atlas(atlas, AtlasRef(atlas.info.slug), rest))


def _in_atlas(atlas: Atlas, ref: AtlasRef, rest: str) -> Iterator[Nearest]:
    yield from nearest_named(atlas.info, ref, rest)
    kind, _, name = rest.partition("/")
    last = atlas.info.d_vocab - 1
    if kind == "token" and re.fullmatch("[0-9]{1,18}", name) and int(name) > last:
        label = f"token {last}, {atlas.tokens[last].shown}"
        yield Nearest(label, urls.to("token", ref, last), f"this model has tokens 0 to {last}")
    if kind in ("study", "studies"):
        for study in _close(name, [study.name for study in list_studies(atlas)]):
            yield Nearest(f"Study {study}", urls.to("study", ref, study), "a study of this atlas")
    elif kind not in _LISTS:
        yield from (Nearest(view, urls.to(view, ref), "a page of this atlas") for view in _close(kind, _LISTS))


def _close(name: str, names: Iterable[str]) -> list[str]:
    return get_close_matches(name.lower(), list(names), n=2, cutoff=_ALIKE)
