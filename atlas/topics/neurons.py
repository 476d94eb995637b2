"""The call for the index of neurons: filters by name, in pages."""

from __future__ import annotations

from typing import Annotated

from atlas.core.call import OF_ATLAS, Page, call
from atlas.core.db import Atlas
from atlas.core.errors import TokenError
from atlas.core.parameter import After, BoundsOf, Choice, Exactly, Flag, Layer, Limit, Order, Whole, write_cursor
from atlas.core.units import Bound
from atlas.topics.kind import KINDS
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
from atlas.topics.search import tokens_by_text

_Token = Annotated[int, Whole("Id of a token.")]
_Dead = Annotated[bool, Flag("1: only dead neurons; 0: only the others.")]
_Exclusive = Annotated[str, Choice("In an exclusive pair of this direction, of 'any', or of 'none'.", EXCLUSIVE)]
_Kind = Annotated[str, Choice("Only neurons of this kind; 'other' is none of the first three.", KINDS)]
_Sort = Annotated[str, Choice("Column that sorts: NULLs last, ties by neuron_id.", INDEX_SORTS)]
_Bounds = Annotated[tuple[Bound, ...], BoundsOf("this", RANGE_COLUMNS, WHOLE_COLUMNS, least=-(2**31))]


@call(
    OF_ATLAS + "/neurons",
    python='demo.neurons(sort="token_gap", token_gap_gte=0.01, limit=20)',
    sort="token_gap",
    limit=20,
    token_gap_gte=0.01,
)
def neurons(
    atlas: Atlas,
    *,
    layer_min: Layer | None = None,
    layer_max: Layer | None = None,
    best_token: Exactly | None = None,
    best_token_id: _Token | None = None,
    worst_token: Exactly | None = None,
    worst_token_id: _Token | None = None,
    dead: _Dead | None = None,
    exclusive: _Exclusive | None = None,
    kind: _Kind | None = None,
    sort: _Sort = "best_congruence",
    descending: Order = True,
    after: After | None = None,
    limit: Limit = 100,
    bounds: _Bounds = (),
) -> Page[Neuron]:
    """Neurons that meet every filter, sorted, in pages.

    Raises:
        TokenError: not exactly one token has a text.
    """
    selection = NeuronSelection(
        layer_min=layer_min,
        layer_max=layer_max,
        best_token_id=_token_id(atlas, "best_token", best_token, best_token_id),
        worst_token_id=_token_id(atlas, "worst_token", worst_token, worst_token_id),
        dead=dead,
        exclusive=exclusive,
        kind=kind,
        bounds=bounds,
    )
    total = neuron_facets(atlas, selection).total
    page = page_of_neurons(atlas, selection, total, sort=sort, descending=descending, after=after, limit=limit)
    return Page(page.rows, total, write_cursor(page.next))


def _token_id(atlas: Atlas, name: str, text: str | None, token_id: int | None) -> int | None:
    if text is None:
        return token_id
    ids = [token.token_id for token in tokens_by_text(atlas, text)]
    if len(ids) == 1 and token_id in (None, ids[0]):
        return ids[0]
    listed = f" ({', '.join(map(str, ids[:3]))})" if ids else ""
    raise TokenError(
        f"{name}={text!r}: expected exactly the text of one token, and {len(ids)} have it{listed}. "
        f"{name}_id says which."
    )
