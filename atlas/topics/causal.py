"""What is caused, over all pairs: promises of the weights against attribution, and how much of an effect is direct."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from atlas.core.call import OF_ATLAS, call
from atlas.core.db import Atlas
from atlas.core.parameter import Limit
from atlas.core.statements import Statement
from atlas.core.stats import bootstrap_ratio, bootstrap_spearman, interval, number_or_none, spearman
from atlas.core.units import NeuronRef, Token, neuron_ref
from atlas.topics.attribution import CLEAR, MIN_POSITIONS, attributed_positions
from atlas.topics.predictiveness import Correlation, rank_criteria

PROMISES = ("congruence", "token_gap", "neuron_gap", "score", "fired_congruence")
"""Criteria: four numbers of the weights, and the congruence with the sign of the side on which the neuron fires."""

REMAINS = 0.2
"""Share of one part in the other below which a pair is listed as not keeping its promise, or as indirect."""

_PAIRS = f"""WITH counted AS (
    SELECT p.*, c.congruence AS signed, a.gated AND c.congruence < 0 AS below
    FROM pair_attribution AS p JOIN candidate_pair AS c USING (neuron_id, token_id), atlas AS a
    WHERE p.n >= {MIN_POSITIONS}
),
gap AS (
    SELECT c.neuron_id, c.token_id, n.layer, c.n, c.attribution, c.standard_error, c.direct,
           if(c.below, -c.signed, c.signed) AS congruence,
           CASE WHEN c.below THEN if(n.worst_token_id = c.token_id, n.token_gap_bottom, n.worst_congruence - c.signed)
                ELSE if(n.best_token_id = c.token_id, n.token_gap, c.signed - n.best_congruence) END AS token_gap,
           CASE WHEN c.below
                THEN if(t.worst_neuron_id = c.neuron_id, t.neuron_gap_bottom, t.worst_congruence - c.signed)
                ELSE if(t.best_neuron_id = c.neuron_id, t.neuron_gap, c.signed - t.best_congruence) END AS neuron_gap,
           if(n.activation_max >= -n.activation_min, c.signed, -c.signed) AS fired_congruence
    FROM counted AS c JOIN neuron AS n USING (neuron_id) JOIN token AS t USING (token_id)
    WHERE NOT t.special
),
pair AS (
    SELECT *, if(least(token_gap, neuron_gap) > 0, token_gap * neuron_gap, least(token_gap, neuron_gap)) AS score
    FROM gap
)
"""

CAUSAL_PAIRS = Statement(
    _PAIRS
    + f"""SELECT /*+n.name AS neuron, t."text" AS token, */p.layer, p.n, p.attribution, p.direct,
       {", ".join(f"p.{name}" for name in PROMISES)}, p.neuron_id, p.token_id
FROM pair AS p/*+ JOIN neuron AS n USING (neuron_id) JOIN token AS t USING (token_id)*/
ORDER BY p.neuron_id, p.token_id"""
)
"""Pairs whose token is predicted at 10 positions or more. In a gated model the sign of a congruence is a gauge, so that
the criteria of a negative one are those of its other end."""

UNKEPT = Statement(
    _PAIRS
    + f"""SELECT n.name AS neuron, t."text" AS token, p.congruence, p.direct, p.attribution, p.standard_error, p.n,
       p.neuron_id, p.token_id
FROM pair AS p JOIN neuron AS n USING (neuron_id) JOIN token AS t USING (token_id)
WHERE abs(p.attribution) <= {REMAINS} * abs(p.direct)
ORDER BY abs(p.direct) - abs(p.attribution) DESC, p.neuron_id, p.token_id
LIMIT $limit"""
)
"""Pairs whose neuron writes (or takes away) the token directly, and hardly changes what becomes of it."""

INDIRECT = Statement(f"""WITH chosen AS (
    SELECT d.* FROM token_driver AS d JOIN token AS t USING (token_id)
    WHERE NOT t.special AND abs(d.direct) <= {REMAINS} * abs(d.attribution)
      AND abs(d.attribution) >= {CLEAR} * d.standard_error
    ORDER BY abs(d.attribution) DESC, d.neuron_id, d.token_id
    LIMIT $limit
)
SELECT n.name AS neuron, t."text" AS token, array_inner_product(w.w_out, r.readout) AS congruence, c.direct,
       c.attribution, c.standard_error, c.n, c.neuron_id, c.token_id
FROM chosen AS c JOIN neuron AS n USING (neuron_id) JOIN token AS t ON t.token_id = c.token_id
LEFT JOIN neuron_weight AS w ON w.neuron_id = c.neuron_id LEFT JOIN token_weight AS r ON r.token_id = c.token_id
ORDER BY abs(c.attribution) DESC, c.neuron_id, c.token_id""")
"""Drivers that matter for their token through later layers, or the scale of the final norm."""

OPPOSED = Statement("""WITH strongest AS (
    SELECT token_id, max(attribution) AS supports, min(attribution) AS opposes,
           arg_min(neuron_id, attribution) AS neuron_id
    FROM token_driver GROUP BY token_id
)
SELECT count(*) AS n_tokens, count(*) FILTER (-opposes > supports) AS n_opposed,
       count(*) FILTER (-opposes > supports AND n.layer = a.n_layers - 1) AS n_by_last_layer
FROM strongest JOIN neuron AS n USING (neuron_id), atlas AS a""")
"""How many tokens have an opposer that is stronger than every supporter."""

LAYER_MAGNITUDES = Statement("""SELECT n.layer, avg(c.attribution_abs_mean) AS attribution,
       avg(c.direct_abs_mean) AS direct
FROM neuron_attribution AS c JOIN neuron AS n USING (neuron_id)
GROUP BY n.layer
ORDER BY n.layer""")


@dataclass(frozen=True)
class CausedPair:
    """A pair's promise and what it causes. Of an unkept promise, the congruence has the sign of its end (see
    CAUSAL_PAIRS); None: the atlas holds no weights."""

    neuron: NeuronRef
    token: Token
    congruence: float | None
    direct: float
    attribution: float
    standard_error: float | None
    n: int


@dataclass(frozen=True)
class LayerCause:
    """What the neurons of a layer cause. Intervals are of 95%; None: too few pairs."""

    layer: int
    n_pairs: int
    """Pairs with support."""
    value: float | None
    """Rank correlation of congruence with attribution over them."""
    low: float | None
    high: float | None
    kept: float | None
    """Logits of attribution for each logit of direct part: the slope of a line through the origin."""
    kept_low: float | None
    kept_high: float | None
    magnitude: float
    """Mean magnitude of the attribution, over the layer's neurons and all positions, logits."""
    direct_magnitude: float
    """The same of the direct part."""


@dataclass(frozen=True)
class CausalAnswer:
    """Whether congruence tells what is caused: rank correlations with attribution over all pairs with support."""

    n_positions: int
    """Positions read for attribution."""
    n_pairs: int
    n_neurons: int
    n_tokens: int
    criteria: tuple[Correlation, ...]
    """By criterion of PROMISES, the best first. Intervals resample tokens, whose pairs share positions and texts."""
    direct: Correlation
    """The same of the pairs' direct part: weights and activations together."""
    layers: tuple[LayerCause, ...]
    opposed: Opposed


@dataclass(frozen=True)
class Opposed:
    """Of `n_tokens` with drivers, those with an opposer that is stronger than every supporter, and those of them whose
    strongest opposer is in the last layer."""

    n_tokens: int
    n_opposed: int
    n_by_last_layer: int


@call(OF_ATLAS + "/causal-answer", name="causal_answer", python="demo.causal_answer()")
def causal_answers(atlas: Atlas) -> list[CausalAnswer]:
    """Whether congruence tells what a neuron causes, over all pairs: one record, or none where attribution was off."""
    if not attributed_positions(atlas):
        return []
    return [atlas.remembered_large("causal answer", lambda: _answer(atlas))]


@call(OF_ATLAS + "/unkept-promises", name="unkept_promises", python="demo.unkept_promises(limit=20)", limit=20)
def unkept_promises(atlas: Atlas, limit: Limit = 100) -> list[CausedPair]:
    """Pairs whose neuron writes the token directly and hardly changes it: attribution at most a fifth of the direct
    part, the greatest difference first."""
    return _pairs(atlas, UNKEPT, limit)


@call(OF_ATLAS + "/indirect-causes", name="indirect_causes", python="demo.indirect_causes(limit=20)", limit=20)
def indirect_causes(atlas: Atlas, limit: Limit = 100) -> list[CausedPair]:
    """Drivers that change their token through later layers or the scale of the final norm: direct part at most a fifth
    of the attribution, which lies at least 3 standard errors from 0; the greatest first."""
    return _pairs(atlas, INDIRECT, limit)


def _pairs(atlas: Atlas, statement: Statement, limit: int) -> list[CausedPair]:
    return [
        CausedPair(neuron_ref(atlas, neuron_id), atlas.tokens[token_id], *numbers)
        for _, _, *numbers, neuron_id, token_id in statement.rows(atlas, limit=limit)
    ]


def _answer(atlas: Atlas) -> CausalAnswer:
    columns = {name: np.asarray(values) for name, values in CAUSAL_PAIRS.arrays(atlas).items()}
    token, outcome = columns["token_id"], columns["attribution"]
    magnitudes = {layer: rest for layer, *rest in LAYER_MAGNITUDES.rows(atlas)}
    return CausalAnswer(
        n_positions=attributed_positions(atlas),
        n_pairs=len(token),
        n_neurons=len(np.unique(columns["neuron_id"])),
        n_tokens=len(np.unique(token)),
        criteria=rank_criteria({name: columns[name] for name in PROMISES}, outcome, token),
        direct=rank_criteria({"direct": columns["direct"]}, outcome, token)[0],
        layers=tuple(_layer(columns, layer, *magnitudes[layer]) for layer in range(atlas.info.n_layers)),
        opposed=Opposed(*OPPOSED.rows(atlas)[0]),
    )


def _layer(columns: dict[str, np.ndarray], layer: int, magnitude: float, direct_magnitude: float) -> LayerCause:
    here = columns["layer"] == layer
    token, congruence, outcome = (columns[name][here] for name in ("token_id", "congruence", "attribution"))
    direct = columns["direct"][here].astype(np.float64)
    over, under = outcome * direct, direct * direct
    return LayerCause(
        layer,
        int(here.sum()),
        number_or_none(spearman([congruence], outcome)[0]),
        *interval(bootstrap_spearman([congruence], outcome, token)[:, 0]),
        float(over.sum() / under.sum()) if under.any() else None,
        *interval(bootstrap_ratio(over, under, token)),
        magnitude,
        direct_magnitude,
    )
