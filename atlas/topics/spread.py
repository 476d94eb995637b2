"""Distributions computed from the weights: congruence over the vocabulary or the neurons, and similar neurons."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np

from atlas.core.call import OF_NEURON, OF_TOKEN, call
from atlas.core.db import Atlas
from atlas.core.errors import WeightsError
from atlas.core.parameter import Choice, Few, NeuronId, TokenId
from atlas.core.statements import Statement
from atlas.core.units import NeuronRef, Token, neuron_ref
from atlas.topics.neuron import CongruentToken
from atlas.topics.token import CongruentNeuron


@dataclass(frozen=True)
class SpreadBar:
    """Tokens (or neurons) `n` whose congruence lies in lower <= congruence < upper; the last bar includes its end."""

    lower: float
    upper: float
    n: int


@dataclass(frozen=True)
class TokenSpread:
    """Congruence of one neuron with every token of the vocabulary: bars of equal width, extremes and moments."""

    bars: tuple[SpreadBar, ...]
    top: tuple[CongruentToken, ...]
    bottom: tuple[CongruentToken, ...]
    n: int
    mean: float
    std: float


@dataclass(frozen=True)
class LayerSpread:
    """Congruence of one token with every neuron of a layer: quantiles at 0, 1, 25, 50, 75, 99 and 100%."""

    layer: int
    quantiles: tuple[float, ...]


@dataclass(frozen=True)
class NeuronSpread:
    """Congruence of one token with every neuron of the model: layers, and the outliers, best first."""

    layers: tuple[LayerSpread, ...]
    outliers: tuple[CongruentNeuron, ...]


@dataclass(frozen=True)
class SimilarNeuron:
    """Another neuron, and the cosine of its weights with this neuron's, -1 to 1."""

    neuron: NeuronRef
    cosine: float
    best_token: Token
    worst_token: Token


QUANTILES = (0.0, 0.01, 0.25, 0.5, 0.75, 0.99, 1.0)
"""Quantiles of a LayerSpread."""

SIDES = ("out", "in", "gate")
"""Weights that neurons can be compared by."""

# Bare scans, in order of id. A join with `neuron` for the norms would carry every vector along (3 x slower), and a
# vector from a subquery takes several times the memory of one passed as a parameter.
_TOKENS = "SELECT array_inner_product(readout, ?::FLOAT[{d_model}]) AS value FROM token_weight ORDER BY token_id"
_NEURONS = "SELECT array_inner_product(w_{side}, ?::FLOAT[{d_model}]) AS value FROM neuron_weight ORDER BY neuron_id"

# The same query for readers, with the vector from a subquery.
_OF_NEURON = """WITH congruence AS MATERIALIZED (
    SELECT token_id, array_inner_product(
        readout, (SELECT w_out FROM neuron_weight WHERE neuron_id = $neuron_id)) AS congruence
    FROM token_weight
)"""
_EXTREMES = (
    _OF_NEURON
    + """
SELECT row_number() OVER (ORDER BY c.congruence {order}, c.token_id) AS rank, t."text" AS token, c.congruence,
       c.token_id
FROM congruence AS c JOIN token AS t USING (token_id)
ORDER BY c.congruence {order}, c.token_id
LIMIT $limit"""
)
_OF_TOKEN = """WITH congruence AS MATERIALIZED (
    SELECT neuron_id, array_inner_product(
        w_out, (SELECT readout FROM token_weight WHERE token_id = $token_id)) AS congruence
    FROM neuron_weight
)"""
_SIMILAR = """WITH alike AS MATERIALIZED (
    SELECT w.neuron_id, array_cosine_similarity(w.w_{side}, q.w_{side}) AS cosine
    FROM neuron_weight AS w, (SELECT w_{side} FROM neuron_weight WHERE neuron_id = $neuron_id) AS q
    WHERE w.neuron_id <> $neuron_id
),
chosen AS (
    FROM (FROM alike WHERE NOT isnan(cosine) ORDER BY cosine DESC, neuron_id LIMIT $limit)
    UNION
    FROM (FROM alike WHERE NOT isnan(cosine) ORDER BY cosine, neuron_id DESC LIMIT $limit)
)
SELECT n.name AS neuron, cosine, b."text" AS best_token, w."text" AS worst_token
FROM chosen
JOIN neuron AS n USING (neuron_id)
JOIN token AS b ON b.token_id = n.best_token_id
JOIN token AS w ON w.token_id = n.worst_token_id
ORDER BY cosine DESC, neuron_id"""

TOKEN_SPREAD = {
    "spread": Statement(
        _OF_NEURON
        + """,
ends AS (
    SELECT min(congruence)::DOUBLE AS least, (max(congruence)::DOUBLE - min(congruence)) / $n_bars AS width
    FROM congruence
),
binned AS (
    SELECT least + width * place AS lower, least + width * (place + 1) AS upper
    FROM (SELECT least, width, least($n_bars - 1, floor((congruence - least) / nullif(width, 0)))::INTEGER AS place
          FROM congruence, ends)
)
SELECT lower, upper, count(*) AS tokens FROM binned GROUP BY ALL ORDER BY lower"""
    ),
    "top": Statement(_EXTREMES.format(order="DESC")),
    "bottom": Statement(_EXTREMES.format(order="ASC")),
}
"""The query of `token_spread`."""

NEURON_SPREAD = {
    "layers": Statement(
        _OF_TOKEN
        + """
SELECT n.layer, min(congruence) AS least, quantile_cont(congruence, 0.01) AS p1, quantile_cont(congruence, 0.25) AS p25,
       median(congruence) AS median, quantile_cont(congruence, 0.75) AS p75, quantile_cont(congruence, 0.99) AS p99,
       max(congruence) AS greatest
FROM congruence JOIN neuron AS n USING (neuron_id)
GROUP BY n.layer
ORDER BY n.layer"""
    ),
    "outliers": Statement(
        _OF_TOKEN
        + """
SELECT n.name AS neuron, far.congruence
FROM (SELECT * FROM congruence ORDER BY abs(congruence) DESC, neuron_id LIMIT $limit) AS far
JOIN neuron AS n USING (neuron_id)
ORDER BY far.congruence DESC, neuron_id"""
    ),
}
"""The query of `neuron_spread`."""

SIMILAR = {side: Statement(_SIMILAR.format(side=side)) for side in SIDES}
"""The query of `similar_neurons`, by the weights that are compared."""


def check_weights(atlas: Atlas) -> None:
    """Check that an atlas holds its weights.

    Raises:
        WeightsError: it was built with --no-weights.
    """
    if not atlas.info.has_weights:
        raise WeightsError(
            f"The atlas {atlas.info.slug!r} holds no weights (it was built with --no-weights), and this needs them. "
            "Build it again without that option."
        )


@call(OF_NEURON + "/spread", name="neuron_spread", python='demo.neuron("{neuron}").spread()')
def token_spread(atlas: Atlas, neuron_id: NeuronId, *, n_bars: int = 80, limit: Few = 20) -> TokenSpread:
    """A neuron's congruence with every token of the vocabulary: bars, moments, extremes.

    Raises:
        WeightsError: the atlas holds no weights.
        NeuronNameError: the id is out of range.
    """
    check_weights(atlas)
    vector = atlas.rows("SELECT w_out FROM neuron_weight WHERE neuron_id = ?", neuron_id)[0][0]
    sql = _TOKENS.format(d_model=atlas.info.d_model)
    values = np.asarray(atlas.arrays(sql, vector)["value"], dtype=np.float32)
    counts, edges = np.histogram(values, bins=n_bars)
    bars = tuple(
        SpreadBar(float(low), float(high), int(n)) for low, high, n in zip(edges[:-1], edges[1:], counts, strict=True)
    )

    def extremes(direction: str, signed: np.ndarray) -> tuple[CongruentToken, ...]:
        best = np.argsort(signed, kind="stable")[:limit]
        return tuple(
            CongruentToken(direction, rank, atlas.tokens[int(t)], float(values[t])) for rank, t in enumerate(best, 1)
        )

    mean, std = float(values.mean(dtype=np.float64)), float(values.std(dtype=np.float64))
    return TokenSpread(bars, extremes("top", -values), extremes("bottom", values), len(values), mean, std)


@call(OF_TOKEN + "/spread", name="token_spread", python="demo.token({token}).spread()")
def neuron_spread(atlas: Atlas, token_id: TokenId, *, limit: Few = 60) -> NeuronSpread:
    """A token's congruence with every neuron: quantiles by layer, and the neurons farthest from zero.

    Raises:
        WeightsError: the atlas holds no weights.
        TokenError: the id is out of range.
    """
    check_weights(atlas)
    atlas.tokens[token_id]  # raises
    vector = atlas.rows("SELECT readout FROM token_weight WHERE token_id = ?", token_id)[0][0]
    sql = _NEURONS.format(side="out", d_model=atlas.info.d_model)
    values = np.asarray(atlas.arrays(sql, vector)["value"], dtype=np.float32)
    by_layer = np.quantile(values.reshape(atlas.info.n_layers, atlas.info.d_mlp), QUANTILES, axis=1).T
    layers = tuple(LayerSpread(layer, tuple(map(float, row))) for layer, row in enumerate(by_layer))
    farthest = np.argsort(-np.abs(values), kind="stable")[:limit]
    ordered = sorted(farthest.tolist(), key=lambda n: (-values[n], n))
    outliers = tuple(
        CongruentNeuron("top" if values[n] >= 0 else "bottom", rank, neuron_ref(atlas, n), float(values[n]))
        for rank, n in enumerate(ordered, 1)
    )
    return NeuronSpread(layers, outliers)


_Side = Annotated[str, Choice("Weights they are compared by; 'gate' of gated MLPs only.", SIDES)]


@call(OF_NEURON + "/similar", name="similar", python='demo.neuron("{neuron}").similar()', title="similar neurons")
def similar_neurons(atlas: Atlas, neuron_id: NeuronId, side: _Side = "out", *, limit: Few = 10) -> list[SimilarNeuron]:
    """Neurons whose weights have the greatest cosine with this neuron's, then those with the least.

    `side` is 'out' (w_out), 'in' (w_in) or 'gate' (w_gate, gated models). Empty where this neuron's weights are zero.

    Raises:
        WeightsError: the atlas holds no weights, or the MLP is not gated and has no gate.
    """
    check_weights(atlas)
    if side not in SIDES or (side == "gate" and not atlas.info.gated):
        raise WeightsError(f"Neurons of this model cannot be compared by {side!r}; expected 'out' or 'in'.")
    norms = atlas.remembered(f"norms {side}", lambda: _norms(atlas, side))
    if not norms[neuron_id]:
        return []
    vector = atlas.rows(f"SELECT w_{side} FROM neuron_weight WHERE neuron_id = ?", neuron_id)[0][0]
    sql = _NEURONS.format(side=side, d_model=atlas.info.d_model)
    products = np.asarray(atlas.arrays(sql, vector)["value"], dtype=np.float64)
    others = np.flatnonzero(norms)
    others = others[others != neuron_id]
    cosines = products[others] / (norms[others] * norms[neuron_id])
    order = np.lexsort((others, -cosines))
    ids = order if len(order) <= 2 * limit else np.concatenate([order[:limit], order[-limit:]])
    tokens = {
        n: (best, worst)
        for n, best, worst in atlas.rows(
            "SELECT neuron_id, best_token_id, worst_token_id FROM neuron WHERE list_contains(?, neuron_id)",
            others[ids].tolist(),
        )
    }
    return [
        SimilarNeuron(neuron_ref(atlas, n), float(np.clip(value, -1, 1)), *(atlas.tokens[token] for token in tokens[n]))
        for n, value in zip(others[ids].tolist(), cosines[ids].tolist(), strict=True)
    ]


def _norms(atlas: Atlas, side: str) -> np.ndarray:
    return np.asarray(atlas.arrays(f"SELECT w_{side}_norm AS n FROM neuron ORDER BY neuron_id")["n"], dtype=np.float64)
