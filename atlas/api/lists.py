"""Calls for long lists: neurons, exclusive pairs, exclusive tokens; a page of each at a time."""

from __future__ import annotations

from typing import Annotated, Any

from atlas.core.call import Declared, Page, call
from atlas.core.db import Atlas
from atlas.core.errors import TokenError
from atlas.core.parameter import (
    After,
    AfterRow,
    Choice,
    Contained,
    Direction,
    Every,
    Exactly,
    Flag,
    Layer,
    Limit,
    Number,
    Order,
    Parameter,
    TokenId,
    Whole,
    write_cursor,
)
from atlas.core.units import Bound, Listing
from atlas.topics.kind import KINDS
from atlas.topics.layer import LayerSummary, layer_summaries
from atlas.topics.neuron import Neuron
from atlas.topics.neuron_facets import neuron_facets
from atlas.topics.neuron_list import (
    EXCLUSIVE,
    INDEX_SORTS,
    RANGE_COLUMNS,
    WHOLE_COLUMNS,
    NeuronSelection,
    page_of_neurons,
)
from atlas.topics.pair import (
    EXCLUSIVITY_SORTS,
    PAIR_SORTS,
    ExclusivePair,
    RankingFilter,
    exclusive_pairs,
    token_exclusivities,
)
from atlas.topics.pair import TokenExclusivity as Exclusivity
from atlas.topics.search import tokens_by_text

Sort = Annotated[str, Choice("Column that sorts: NULLs last, ties by neuron_id.", INDEX_SORTS)]
PairSort = Annotated[str, Choice("Column that sorts; ties by rank.", PAIR_SORTS)]
TokenSort = Annotated[str, Choice("Column that sorts; ties by token_id.", EXCLUSIVITY_SORTS)]
Dead = Annotated[bool, Flag("1: only dead neurons; 0: only the others.")]
Exclusive = Annotated[str, Choice("In an exclusive pair of a direction, of 'any', or of 'none'.", EXCLUSIVE)]
KindOf = Annotated[str, Choice("Only neurons of this kind; 'other' is none of the first three.", KINDS)]
Least = Annotated[int, Whole("Least number of positions at which the token is predicted.")]
LeastScore = Annotated[float, Number("Least score.")]
LeastGap = Annotated[float, Number("Least neuron gap.")]


def _bound(column: str, op: str) -> Declared:
    word = "At least" if op == "gte" else "At most"
    what = f"{word} this `{column}`; NULL is neither."
    kind: Parameter = Whole(what, least=-(2**31)) if column in WHOLE_COLUMNS else Number(what)
    return Declared(name=f"{column}.{op}", kind=kind)


_BOUNDS = {f"{column}_{op}": (column, op) for column in RANGE_COLUMNS for op in ("gte", "lte")}


@call(
    "atlases/{atlas}/neurons",
    python='demo.neurons(sort="token_gap", token_gap_gte=0.01, limit=20)',
    more=[_bound(column, op) for column, op in _BOUNDS.values()],
    sort="token_gap",
    limit=20,
    token_gap_gte=0.01,
)
def neurons(
    atlas: Atlas,
    layer_min: Layer | None = None,
    layer_max: Layer | None = None,
    best_token: Exactly | None = None,
    best_token_id: TokenId | None = None,
    worst_token: Exactly | None = None,
    worst_token_id: TokenId | None = None,
    dead: Dead | None = None,
    exclusive: Exclusive | None = None,
    kind: KindOf | None = None,
    sort: Sort = "best_congruence",
    order: Order = "desc",
    after: After | None = None,
    limit: Limit = 100,
    **bounds: Any,
) -> Page[Neuron]:
    """Neurons: those for which everything that is given holds, sorted, a page at a time."""
    selection = NeuronSelection(
        layer_min=layer_min,
        layer_max=layer_max,
        best_token_id=_token_id(atlas, "best_token", best_token, best_token_id),
        worst_token_id=_token_id(atlas, "worst_token", worst_token, worst_token_id),
        dead=dead,
        exclusive=exclusive,
        kind=kind,
        bounds=tuple(Bound(*_BOUNDS[name], value) for name, value in bounds.items()),
    )
    total = neuron_facets(atlas, selection).total
    found = page_of_neurons(atlas, selection, total, sort=sort, descending=order == "desc", after=after, limit=limit)
    return Page(found.rows, total, write_cursor(found.next))


@call("atlases/{atlas}/pairs", python="demo.pairs(limit=20)", limit=20)
def pairs(
    atlas: Atlas,
    direction: Direction = "top",
    every: Every = False,
    layer_min: Layer | None = None,
    layer_max: Layer | None = None,
    token: Contained | None = None,
    min_predicted: Least | None = None,
    min_score: LeastScore | None = None,
    sort: PairSort = "rank",
    order: Order | None = None,
    after: AfterRow = 0,
    limit: Limit = 100,
) -> Page[ExclusivePair]:
    """Exclusive pairs, ranks ascending and all else descending unless `order` says otherwise."""
    where = RankingFilter(
        every=every,
        layer_min=layer_min,
        layer_max=layer_max,
        token=token,
        min_predicted=min_predicted,
        min_score=min_score,
    )
    descending = order == "desc" if order else sort != "rank"
    return _page(exclusive_pairs(atlas, direction, where, sort=sort, descending=descending, limit=limit, offset=after))


@call("atlases/{atlas}/exclusive", python="demo.exclusive(limit=20)", limit=20)
def exclusive(
    atlas: Atlas,
    every: Every = False,
    layer_min: Layer | None = None,
    layer_max: Layer | None = None,
    token: Contained | None = None,
    min_predicted: Least | None = None,
    min_gap: LeastGap | None = None,
    sort: TokenSort = "neuron_gap",
    order: Order = "desc",
    after: AfterRow = 0,
    limit: Limit = 100,
) -> Page[Exclusivity]:
    """Tokens by how far their best neuron leads the second; layers are the best neuron's."""
    where = RankingFilter(
        every=every,
        layer_min=layer_min,
        layer_max=layer_max,
        token=token,
        min_predicted=min_predicted,
        min_score=min_gap,
    )
    return _page(token_exclusivities(atlas, where, sort=sort, descending=order == "desc", limit=limit, offset=after))


@call("atlases/{atlas}/layers", python="demo.layers()")
def layers(atlas: Atlas) -> tuple[LayerSummary, ...]:
    """Every layer in numbers."""
    return tuple(layer_summaries(atlas))


def _page(listing: Listing) -> Page:
    end = listing.offset + len(listing.rows)
    return Page(listing.rows, listing.total, str(end) if listing.rows and end < listing.total else None)


def _token_id(atlas: Atlas, name: str, text: str | None, token_id: int | None) -> int | None:
    if text is None:
        return token_id
    found = [token.token_id for token in tokens_by_text(atlas, text)]
    if len(found) == 1 and token_id in (None, found[0]):
        return found[0]
    ids = f" ({', '.join(map(str, found[:3]))})" if found else ""
    raise TokenError(
        f"{name}={text!r}: expected exactly the text of one token, and {len(found)} have it{ids}. {name}_id says which."
    )
