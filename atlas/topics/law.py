"""Published laws about neurons, each asked of this model."""

from __future__ import annotations

from dataclasses import dataclass

from atlas.core.call import OF_ATLAS, call
from atlas.core.db import Atlas
from atlas.core.display import show_number, show_share
from atlas.core.statements import Statement
from atlas.core.stats import wilson

SHARE = 0.95
"""Share of a neuron's extreme texts that must fire it on one token for it to be a detector here."""

TEXTS = 5
"""Fewest extreme texts that tell."""

ERASE = Statement(f"""WITH fired AS (
    SELECT e.neuron_id, e.kind, x.token_ids[e.position + 1] AS token_id, count(*) AS n,
           max(abs(e.activation)) AS strongest
    FROM example AS e JOIN "text" AS x USING (text_id)
    WHERE e.kind IN ('max', 'min')
    GROUP BY ALL
),
trigger AS (
    SELECT neuron_id, kind, arg_max(token_id, n) AS token_id, max(n) AS n, sum(n) AS n_texts,
           max(strongest) AS strongest
    FROM fired
    GROUP BY neuron_id, kind
),
detector AS (
    FROM trigger
    QUALIFY row_number() OVER (PARTITION BY neuron_id ORDER BY strongest DESC, kind) = 1
        AND n >= {SHARE} * n_texts AND n_texts >= {TEXTS}
)
SELECT n.layer, count(*) AS n,
       count(*) FILTER (array_inner_product(w.w_out, r.readout) * if(d.kind = 'min', -1, 1) < 0) AS n_true
FROM detector AS d JOIN neuron AS n USING (neuron_id) JOIN neuron_weight AS w USING (neuron_id)
JOIN token_weight AS r ON r.token_id = d.token_id
WHERE NOT n.dead
GROUP BY n.layer
ORDER BY n.layer""")

ERASE_BY_WEIGHTS = Statement("""SELECT d.layer, count(*) AS n,
       count(*) FILTER (array_inner_product(w.w_out, r.readout) * if(d.direction = 'top', 1, -1) < 0) AS n_true
FROM token_detector AS d JOIN neuron_weight AS w USING (neuron_id) JOIN token_weight AS r ON r.token_id = d.token_id
WHERE d.side = 'in'
GROUP BY d.layer
ORDER BY d.layer""")

AGREE = Statement("""WITH trigger AS (
    SELECT n.layer, if(e.activation > 0, n.best_token_id, n.worst_token_id) AS written,
           x.token_ids[e.position + 2] AS following
    FROM example AS e JOIN "text" AS x USING (text_id) JOIN neuron AS n USING (neuron_id)
    WHERE e.rank = 1 AND e.kind IN ('max', 'min') AND NOT n.dead
    QUALIFY row_number() OVER (PARTITION BY n.neuron_id ORDER BY abs(e.activation) DESC, e.kind) = 1
)
SELECT layer, count(*) AS n, count(*) FILTER (written = following) AS n_true
FROM trigger
WHERE following IS NOT NULL
GROUP BY layer
ORDER BY layer""")

ENRICH = Statement("""SELECT layer, count(*) AS n, count(*) FILTER (in_out_cosine > 0) AS n_true,
       median(in_out_cosine) AS cosine, median(gate_out_cosine) AS gate_cosine,
       count(*) FILTER (in_out_cosine > 0.5) AS n_enrich, count(*) FILTER (in_out_cosine < -0.5) AS n_deplete
FROM neuron
WHERE in_out_cosine IS NOT NULL
GROUP BY layer
ORDER BY layer""")


@dataclass(frozen=True)
class LayerShare:
    """Of a layer's `n` neurons that can be judged, the share for which a law's statement is true, with Wilson's 95%
    interval."""

    layer: int
    n: int
    n_true: int
    value: float
    low: float
    high: float
    cosine: float | None = None
    """Of 'enrichment': median cosine of input and output weights."""
    gate_cosine: float | None = None
    """Of 'enrichment' in a gated model: median cosine of gate and output weights."""


@dataclass(frozen=True)
class Law:
    """A published law, asked of this model: by layer, and in its two halves."""

    name: str
    """'erasing', 'erasing-by-weights', 'agreement' or 'enrichment'."""
    title: str
    source: str
    measure: str
    """What is counted, in words."""
    published: str
    """What the source reports."""
    answer: str
    """What this model shows."""
    sql: str
    layers: tuple[LayerShare, ...]


@call(OF_ATLAS + "/laws", python="demo.laws()")
def laws(atlas: Atlas) -> list[Law]:
    """Published laws about neurons, each with its figure on this model and the published one."""
    ask = (_erasing, _erasing_by_weights, _agreement, _enrichment)
    return list(atlas.remembered_large("published laws", lambda: tuple(law(atlas) for law in ask)))


def _shares(atlas: Atlas, statement: Statement) -> tuple[LayerShare, ...]:
    return tuple(
        LayerShare(layer, n, k, k / n, *wilson(k, n), *rest[:2]) for layer, n, k, *rest in statement.rows(atlas)
    )


def _of(layers: tuple[LayerShare, ...], atlas: Atlas, first: float, last: float, what: str = "neurons") -> str:
    """The share over a part of the model's depth, 0 to 1, with its interval, in words."""
    part = [layer for layer in layers if first <= layer.layer / atlas.info.n_layers < last]
    n, k = (sum(getattr(layer, name) for layer in part) for name in ("n", "n_true"))
    if not n:
        return f"none of 0 {what}"
    low, high = (show_share(end, 2) for end in wilson(k, n))
    return f"{show_share(k / n, 2)} of {show_number(n)} {what} (95% interval {low} to {high})"


_ERASING = "Voita, Ferrando and Nalmpantis, Neurons in Large Language Models: Dead, N-gram, Positional, 2023"


def _erased(atlas: Atlas, layers: tuple[LayerShare, ...]) -> str:
    if not layers:
        return "This cannot be told: no neuron is such a detector, or the weights are not in the file."
    return (
        f"The output opposes the token in {_of(layers, atlas, 0, 0.5, 'detectors')} of the first half of the layers, "
        f"in {_of(layers, atlas, 0.5, 1, 'detectors')} of the second; by chance it would in about half."
    )


def _erasing_by_weights(atlas: Atlas) -> Law:
    layers = _shares(atlas, ERASE_BY_WEIGHTS)
    return Law(
        "erasing-by-weights",
        "Detectors erase their trigger, by weights alone",
        _ERASING,
        "Neurons whose input weights read the embedding of one token far more than that of any other (view "
        "token_detector, side 'in'). Is that token’s congruence, on the side on which it makes the neuron fire, below "
        "0?",
        "As above; the paper looks at what fires a neuron, not at its input weights.",
        _erased(atlas, layers),
        ERASE_BY_WEIGHTS.shown(),
        layers,
    )


def _erasing(atlas: Atlas) -> Law:
    layers = _shares(atlas, ERASE)
    return Law(
        "erasing",
        "Detectors erase their trigger",
        _ERASING,
        f"Neurons whose extreme texts (at least {TEXTS}, on the side on which they fire most strongly) fire them on "
        f"one and the same token in {show_share(SHARE, 2)} of cases or more. Is that token’s congruence, on that side, "
        "below 0?",
        "In OPT (125M to 66B) the updates of early token detectors “explicitly focus on removing the information about "
        "triggering them tokens”; there, detectors are found by whether a ReLU neuron is active at all.",
        _erased(atlas, layers),
        ERASE.shown(),
        layers,
    )


def _agreement(atlas: Atlas) -> Law:
    layers = _shares(atlas, AGREE)
    most = max(layers, key=lambda layer: layer.value)
    return Law(
        "agreement",
        "Keys and values agree in upper layers",
        "Geva, Schuster, Berant and Levy, Transformer Feed-Forward Layers Are Key-Value Memories, 2021",
        "Neurons whose most congruent token, on the side on which their strongest text fires them, is the token that "
        "comes next in that text.",
        "About 0% in the lower layers, rising to 3.5% in the upper ones (a 16-layer model over WikiText-103).",
        f"{_of(layers, atlas, 0, 0.5)} in the first half of the layers, {_of(layers, atlas, 0.5, 1)} in the second; "
        f"most in layer {most.layer}, {show_share(most.value, 2)} of {show_number(most.n)}.",
        AGREE.shown(),
        layers,
    )


def _enrichment(atlas: Atlas) -> Law:
    layers = _shares(atlas, ENRICH)
    cosines = [layer.cosine or 0.0 for layer in layers]
    return Law(
        "enrichment",
        "Enrichment early, depletion late",
        "Gerstner and Schütze, Understanding Gated Neurons in Transformers from Their Input-Output Functionality, 2025",
        "Neurons whose input and output weights have a cosine above 0: they add more of what they read. Below 0 they "
        "take it away.",
        "In 12 gated models, enrichment neurons dominate in early-middle layers, and later layers tend to depletion.",
        f"The cosine is above 0 for {_of(layers, atlas, 0, 0.5)} in the first half of the layers, "
        f"{_of(layers, atlas, 0.5, 0.75)} in the third quarter and {_of(layers, atlas, 0.75, 1)} in the last; its "
        f"median goes from {show_number(max(cosines), 2)} (layer {layers[cosines.index(max(cosines))].layer}) to "
        f"{show_number(min(cosines), 2)} (layer {layers[cosines.index(min(cosines))].layer}).",
        ENRICH.shown(),
        layers,
    )
