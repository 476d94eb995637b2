"""Causal effects of pairs beside their metrics, and both for tables of other pairs."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated

from atlas.core.call import OF_ATLAS, call
from atlas.core.db import Atlas
from atlas.core.errors import QueryError
from atlas.core.parameter import Choice, Limit, Offset, Order
from atlas.core.statements import Statement
from atlas.core.term import Term
from atlas.core.units import Listing, NeuronRef, Token, neuron_ref


@dataclass(frozen=True)
class PairFigures:
    """A pair's figures on the side on which its neuron writes the token, for tables of pairs."""

    side: str
    """'positive', or 'negative' where the congruence is below 0 in a gated model."""
    auroc_predicted: float | None
    """See `pair_metric`."""
    average_precision_predicted: float | None
    """See `pair_metric`."""
    probability_change: float | None
    """See `pair_effect`. None: the pair was not measured."""


@dataclass(frozen=True)
class PairEffect:
    """A row of the table `pair_effect` (see there), with the pair's congruence and how well its activation predicts."""

    TABLE = "pair_effect"

    neuron: NeuronRef
    token: Token
    side: str
    chosen_by: tuple[str, ...]
    n_positions: int
    activation_mean: float
    probability: float
    probability_change: float
    probability_change_low: float | None
    probability_change_high: float | None
    rank_median: float
    rank_change: float
    rank_change_low: float | None
    rank_change_high: float | None
    logit_change: float
    logit_change_low: float | None
    logit_change_high: float | None
    direct_effect: float
    congruence: float
    auroc_predicted: float | None
    average_precision_predicted: float | None


EFFECT_SORTS = (
    "probability_change",
    "rank_change",
    "logit_change",
    "direct_effect",
    "probability",
    "n_positions",
    "congruence",
    "auroc_predicted",
    "average_precision_predicted",
)
"""Columns by which `pair_effects` sorts."""

_EFFECTS = """SELECT n.name AS neuron, t."text" AS token, e.side, e.chosen_by, e.n_positions, e.activation_mean,
       e.probability, e.probability_change, e.probability_change_low, e.probability_change_high,
       e.rank_median, e.rank_change, e.rank_change_low, e.rank_change_high,
       e.logit_change, e.logit_change_low, e.logit_change_high, e.direct_effect,
       c.congruence, m.auroc_predicted, m.average_precision_predicted, e.neuron_id, e.token_id
FROM pair_effect AS e
JOIN neuron AS n USING (neuron_id)
JOIN token AS t USING (token_id)
LEFT JOIN candidate_pair AS c USING (neuron_id, token_id)
LEFT JOIN pair_metric AS m USING (neuron_id, token_id, side)
ORDER BY {sort} {order} NULLS LAST, e.neuron_id, e.token_id, e.side
LIMIT {limit} OFFSET {offset}"""

_FIGURES = """SELECT m.neuron_id, m.token_id, m.side, m.auroc_predicted, m.average_precision_predicted,
       e.probability_change
FROM pair_metric AS m LEFT JOIN pair_effect AS e USING (neuron_id, token_id, side)
WHERE {}"""

_FIGURES_OF_TOKEN = Statement(_FIGURES.format("m.token_id = $token_id"), each="m.token_id")
# The table is sorted by neuron: the span keeps a neuron's page to one small part of it.
_FIGURES_OF_PAIRS = Statement(
    _FIGURES.format(
        "list_contains($n, m.neuron_id) AND list_contains($t, m.token_id) AND m.neuron_id BETWEEN $first AND $last"
    )
)

_Sort = Annotated[str, Choice("Column that sorts: NULLs last, ties by neuron, token, side.", EFFECT_SORTS)]


@call(OF_ATLAS + "/pair-effects", python="demo.pair_effects(limit=20)", limit=20)
def pair_effects(
    atlas: Atlas,
    *,
    sort: _Sort = "probability_change",
    descending: Order = False,
    offset: Offset = 0,
    limit: Limit = 100,
) -> Listing[PairEffect]:
    """Effects on tokens of ablating neurons where they fire, beside the pairs' metrics: the greatest loss first. Empty:
    `atlas effects` was not run on the file.

    Raises:
        QueryError: `sort` is no such column.
    """
    if sort not in EFFECT_SORTS:
        raise QueryError(f"Cannot sort effects by {sort!r}; sort by one of {', '.join(EFFECT_SORTS)}.")
    effects = atlas.rows(effects_sql(sort, descending, limit, offset))
    rows = tuple(
        PairEffect(neuron_ref(atlas, neuron_id), atlas.tokens[token_id], side, tuple(chosen_by.split(",")), *rest)
        for _, _, side, chosen_by, *rest, neuron_id, token_id in effects
    )
    return Listing(rows, atlas.rows("SELECT count(*) FROM pair_effect")[0][0], offset, limit)


def effects_sql(sort: str = "probability_change", descending: bool = False, limit: int = 50, offset: int = 0) -> str:
    """Ablated pairs with their metrics: the query of `pair_effects`."""
    return _EFFECTS.format(sort=sort, order="DESC" if descending else "ASC", limit=limit, offset=offset)


def pair_figures(atlas: Atlas, pairs: Iterable[tuple[int, int, float]]) -> list[PairFigures]:
    """Figures of candidate pairs (neuron_id, token_id, congruence), in their order, on the side on which the neuron
    writes the token: where the congruence is below 0 in a gated model, the negative one."""
    keys = [(n, t, "negative" if congruence < 0 and atlas.info.gated else "positive") for n, t, congruence in pairs]
    if not keys:
        return []
    neurons, tokens = ([*{pair[place] for pair in keys}] for place in (0, 1))
    if len(tokens) == 1:
        rows = _FIGURES_OF_TOKEN.rows(atlas, token_id=tokens[0])
    else:
        rows = _FIGURES_OF_PAIRS.rows(atlas, n=neurons, t=tokens, first=min(neurons), last=max(neurons))
    figures = {row[:3]: row[3:] for row in rows}
    return [PairFigures(side, *figures.get((n, t, side), (None, None, None))) for n, t, side in keys]


TERMS = (
    Term(
        "Effect of ablation",
        "ablation-effect",
        "Change of a token's probability, rank and logit at positions where a neuron fires when its activation is "
        "set to its mean: cause, where prediction curves show only correlation. Measured by `atlas effects` for some "
        "pairs.",
        "SELECT count(*) AS pairs, avg(probability_change) AS mean_probability_change FROM pair_effect",
    ),
)
