"""Links that narrow and widen the index of neurons: its active filters and the counts of its facets."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from atlas import Atlas
from atlas.core.display import show_edge
from atlas.core.units import Token
from atlas.topics.neuron_columns import COLUMN
from atlas.topics.neuron_facets import NeuronFacets
from web.views.neurons_state import NeuronsState

Link = Callable[[NeuronsState], str]
"""The URL of a state, as the request would have it."""

_KIND_WORDS = {word: word for word in ("prediction", "suppression", "partition", "hub")}
_KIND_WORDS |= {"other": "none of these", "detector": "token detector", "entropy": "entropy"}
_EXCLUSIVE_WORDS = {"top": "in a top pair", "bottom": "in a bottom pair", "any": "in any pair", "none": "in no pair"}


@dataclass(frozen=True, kw_only=True)
class ActiveFilter:
    """One filter of the selection in words, the token it asks for (if it is about one), the list without it."""

    text: str
    token: Token | None = None
    url: str


@dataclass(frozen=True, kw_only=True)
class FacetLink:
    """A value, how many neurons of the selection have it, and the list of those; active: the list without it."""

    label: str
    token: Token | None = None
    n: int
    active: bool
    url: str


@dataclass(frozen=True, kw_only=True)
class FacetLinks:
    """A facet: by what it divides the selection, and its values."""

    name: str
    values: tuple[FacetLink, ...]

    @property
    def divides(self) -> bool:
        """Whether the facet says something: it has several values, not all of one size, or one that can be undone."""
        return len({value.n for value in self.values}) > 1 or any(value.active for value in self.values)


def active_filters(atlas: Atlas, state: NeuronsState, link: Link) -> tuple[ActiveFilter, ...]:
    """Every filter of a state, each with the list without it."""
    chosen = state.selection
    filters = []

    def add(text: str, token_id: int | None = None, **without: object) -> None:
        token = None if token_id is None else atlas.tokens[token_id]
        filters.append(ActiveFilter(text=text, token=token, url=link(state.selecting(**without))))

    if chosen.layer_min is not None or chosen.layer_max is not None:
        add(_layers(chosen.layer_min, chosen.layer_max), layer_min=None, layer_max=None)
    if chosen.best_token_id is not None:
        add("best token", chosen.best_token_id, best_token_id=None)
    if chosen.worst_token_id is not None:
        add("worst token", chosen.worst_token_id, worst_token_id=None)
    if chosen.dead is not None:
        add("dead" if chosen.dead else "not dead", dead=None)
    if chosen.exclusive is not None:
        add(_EXCLUSIVE_WORDS[chosen.exclusive], exclusive=None)
    if chosen.kind is not None:
        add("none of the kinds" if chosen.kind == "other" else _KIND_WORDS[chosen.kind], kind=None)
    for bound in chosen.bounds:
        rest = tuple(other for other in chosen.bounds if other != bound)
        sign = "≥" if bound.op == "gte" else "≤"
        add(f"{COLUMN[bound.column].label} {sign} {show_edge(bound.value)}", bounds=rest)
    return tuple(filters)


def facet_links(state: NeuronsState, facets: NeuronFacets, link: Link) -> tuple[FacetLinks, ...]:
    """Every facet of a selection; a value's link leads to as many neurons as it says, an active one's to more."""
    chosen = state.selection

    def values(counts, label, narrow: Callable[[object], dict[str, object]]) -> tuple[FacetLink, ...]:
        links = []
        for count in counts:
            filters = narrow(count.value)
            active = all(getattr(chosen, name) == value for name, value in filters.items())
            target = dict.fromkeys(filters) if active else filters
            links.append(
                FacetLink(
                    label=label(count.value),
                    token=count.token,
                    n=count.n,
                    active=active,
                    url=link(state.selecting(**target)),
                )
            )
        return tuple(links)

    # A word other than the active one narrows the selection only where the active one is 'any'.
    words = {None: ("top", "bottom", "any", "none"), "any": ("top", "bottom", "any")}
    exclusive = [count for count in facets.exclusive if count.value in words.get(chosen.exclusive, (chosen.exclusive,))]
    kinds = [count for count in facets.kind if chosen.kind in (None, count.value)]
    return (
        FacetLinks(
            name="layer",
            values=values(facets.layer, lambda layer: f"L{layer}", lambda v: {"layer_min": v, "layer_max": v}),
        ),
        FacetLinks(
            name="dead", values=values(facets.dead, lambda dead: "dead" if dead else "not dead", lambda v: {"dead": v})
        ),
        FacetLinks(
            name="exclusive pair", values=values(exclusive, _EXCLUSIVE_WORDS.__getitem__, lambda v: {"exclusive": v})
        ),
        FacetLinks(name="kind", values=values(kinds, _KIND_WORDS.__getitem__, lambda v: {"kind": v})),
        FacetLinks(
            name="best token", values=values(facets.best_token, lambda v: f"token {v}", lambda v: {"best_token_id": v})
        ),
    )


def _layers(first: int | None, last: int | None) -> str:
    if last is None:
        return f"layers from {first}"
    if first is None:
        return f"layers to {last}"
    return f"layer {first}" if first == last else f"layers {first} to {last}"
