"""Kinds of neurons by their congruence (Gurnee et al. 2024), hubs, token detectors, and entropy neurons."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from atlas.core.call import OF_ATLAS, OF_NEURON, call
from atlas.core.db import Atlas
from atlas.core.parameter import NeuronId
from atlas.core.statements import Statement
from atlas.core.term import Term
from atlas.core.units import NeuronRef, Token, neuron_ref


@dataclass(frozen=True)
class TokenDetector:
    """The one token whose embedding a neuron's input weights read far more than any other (view `token_detector`)."""

    TABLE = "token_detector"

    token: Token
    """The token."""
    side: str
    """'in': the input weights read it. 'gate' (gated models): the gate's, which it opens."""
    direction: str
    """'top': the highest value. 'bottom' (gated models, side 'in'): the lowest, since the sign is a gauge there."""
    lead: float
    """Its lead over the second, divided by the second's lead over the twentieth."""


@dataclass(frozen=True)
class NeuronKind:
    """A neuron's kind (view `neuron_kind`), and the token it detects."""

    TABLE = "neuron_kind"

    neuron: NeuronRef
    """The neuron."""
    kind: str | None
    """'prediction', 'suppression' or 'partition'; None: none of them."""
    kurtosis: float | None
    """Kurtosis of its congruence over the vocabulary, 3 for a normal distribution; None: it has no spread."""
    skewness: float | None
    """Skewness of that, in gated models on the side on which it fires strongly; None: it has no spread."""
    spread: float | None
    """Standard deviation of its congruence for an output norm of 1, over the model's mean; None: no output weights."""
    hub: bool
    """Whether it is the best neuron of far more tokens than is usual."""
    dead: bool
    """Whether every counted activation lies in the zero bin."""
    entropy: bool | None
    """Whether it is an entropy neuron; None: it was not ablated (last layer only)."""
    detects: TokenDetector | None
    """The token that it detects; None: it detects none."""


@dataclass(frozen=True)
class LayerKinds:
    """Neurons of a layer by kind; the first four kinds exclude each other, the others overlap."""

    layer: int
    """Block, from 0."""
    prediction: int
    """Prediction neurons."""
    suppression: int
    """Suppression neurons."""
    partition: int
    """Partition neurons."""
    other: int
    """Neurons of none of these."""
    hub: int
    """Hubs."""
    detector: int
    """Token detectors."""
    entropy: int
    """Entropy neurons."""
    dead: int
    """Dead neurons."""


KINDS = ("prediction", "suppression", "partition", "other", "hub", "detector", "entropy")
"""Words for kinds. The first four divide the neurons; the others overlap with them."""

NEURON_KIND = Statement("""SELECT k.*, d.token AS detects, d.side, d.direction, d.lead
FROM neuron_kind AS k LEFT JOIN token_detector AS d USING (neuron_id)
WHERE k.neuron_id = $neuron_id""")

_LAYER_KINDS = """SELECT k.layer, count(*) FILTER (k.kind = 'prediction') AS prediction,
       count(*) FILTER (k.kind = 'suppression') AS suppression, count(*) FILTER (k.kind = 'partition') AS partition,
       count(*) FILTER (k.kind IS NULL) AS other, count(*) FILTER (k.hub) AS hub, count(d.neuron_id) AS detector,
       count(*) FILTER (k.entropy) AS entropy, count(*) FILTER (k.dead) AS dead
FROM neuron_kind AS k LEFT JOIN token_detector AS d USING (neuron_id){where}
GROUP BY k.layer
ORDER BY k.layer"""

LAYER_KINDS = Statement(_LAYER_KINDS.format(where=""))
KINDS_OF_LAYER = Statement(_LAYER_KINDS.format(where="\nWHERE k.layer = $layer"))


@dataclass(frozen=True)
class _Kinds:
    """Both views in memory: for each word, whether each neuron is of the kind, [neuron]."""

    members: dict[str, np.ndarray]
    numbers: dict[str, np.ma.MaskedArray]
    dead: np.ndarray
    ablated: np.ndarray
    detectors: dict[int, TokenDetector]


@call(OF_NEURON + "/kind", python='demo.neuron("{neuron}").kind()')
def neuron_kind(atlas: Atlas, neuron_id: NeuronId) -> NeuronKind:
    """A neuron's kind, by the moments of its congruence, and the token that it detects."""
    ref, kinds = neuron_ref(atlas, neuron_id), _kinds(atlas)
    kind = next((word for word in KINDS[:3] if kinds.members[word][neuron_id]), None)
    numbers: list[Any] = [
        None if np.ma.is_masked(values[neuron_id]) else float(values[neuron_id]) for values in kinds.numbers.values()
    ]
    flags = bool(kinds.members["hub"][neuron_id]), bool(kinds.dead[neuron_id])
    entropy = bool(kinds.members["entropy"][neuron_id]) if kinds.ablated[neuron_id] else None
    return NeuronKind(ref, kind, *numbers, *flags, entropy, kinds.detectors.get(neuron_id))


@call(OF_ATLAS + "/kinds", name="kinds", python="demo.kinds()", title="kinds of neurons")
def layer_kinds(atlas: Atlas) -> list[LayerKinds]:
    """How many neurons of each layer are of each kind."""
    kinds, info = _kinds(atlas), atlas.info
    flags = [*kinds.members.values(), kinds.dead]
    counts = [flag.reshape(info.n_layers, info.d_mlp).sum(axis=1).tolist() for flag in flags]
    return [LayerKinds(layer, *numbers) for layer, numbers in enumerate(zip(*counts, strict=True))]


def kind_ids(atlas: Atlas, word: str) -> list[int]:
    """Neurons of a kind of KINDS, by id."""
    return np.flatnonzero(_kinds(atlas).members[word]).tolist()


def count_kinds(atlas: Atlas, neuron_ids: np.ndarray) -> dict[str, int]:
    """How many of some neurons are of each kind of KINDS."""
    return {word: int(flag[neuron_ids].sum()) for word, flag in _kinds(atlas).members.items()}


def _kinds(atlas: Atlas) -> _Kinds:
    return atlas.remembered_large("kinds of neurons", lambda: _read(atlas))


def _read(atlas: Atlas) -> _Kinds:
    columns = atlas.arrays(
        "SELECT coalesce(kind, 'other') AS kind, kurtosis, skewness, spread, hub, dead, entropy "
        "FROM neuron_kind ORDER BY neuron_id"
    )
    detectors = {
        neuron_id: TokenDetector(atlas.tokens[token_id], side, direction, lead)
        for neuron_id, token_id, side, direction, lead in atlas.rows(
            "SELECT neuron_id, token_id, side, direction, lead FROM token_detector"
        )
    }
    detector = np.zeros(len(columns["kind"]), bool)
    detector[list(detectors)] = True
    return _Kinds(
        members={
            **{word: np.asarray(columns["kind"] == word) for word in KINDS[:4]},
            "hub": np.asarray(columns["hub"]),
            "detector": detector,
            "entropy": np.ma.filled(np.ma.asarray(columns["entropy"]), False).astype(bool),
        },
        numbers={name: np.ma.asarray(columns[name]) for name in ("kurtosis", "skewness", "spread")},
        dead=np.asarray(columns["dead"]),
        ablated=~np.ma.getmaskarray(columns["entropy"]),
        detectors=detectors,
    )


_GURNEE = "Gurnee et al., Universal Neurons in GPT2 Language Models, 2024; the thresholds are conventions of this atlas"
_STOLFO = "Stolfo et al., Confidence Regulation Neurons in Language Models, 2024; the thresholds are this atlas's"

TERMS = (
    Term(
        "Kind of neuron",
        "kind",
        "By the moments of its congruence over the vocabulary. Kurtosis above 10, so that a few tokens stand far "
        "out: a prediction neuron if they do so above (skewness above 0), a suppression neuron if below; kurtosis "
        "at most 4 and a spread above 1.5, a partition neuron, which raises one half of the vocabulary against the "
        "other. In gated models the sign of a neuron is arbitrary, so its skewness is taken on the side on which it "
        "fires strongly (with the opposite sign where its activation is skewed downwards).",
        "SELECT kind, count(*) AS neurons, min(layer) AS first, median(layer) AS middle, max(layer) AS last\n"
        "FROM neuron_kind GROUP BY kind ORDER BY kind",
        _GURNEE,
    ),
    Term(
        "Spread",
        "spread",
        "Standard deviation of a neuron's congruence over the vocabulary for an output norm of 1, over the mean of "
        "that over all neurons of the model. 1 is usual; large, its output weights lie where tokens differ most.",
        "SELECT neuron, spread, kurtosis FROM neuron_kind ORDER BY spread DESC NULLS LAST, neuron_id LIMIT 3",
        _GURNEE,
    ),
    Term(
        "Token detector",
        "detector",
        "A neuron whose input weights, or gate, read the embedding of one token far more than of any other: its "
        "lead over the second is more than three times what the second leads the twentieth by. About one list in "
        "400 does that by chance, so a few detectors among many neurons mean nothing. The contribution of attention "
        "and earlier "
        "layers is not included.",
        "SELECT count(*) AS detectors, max(lead) AS greatest_lead, arg_max(neuron, lead) AS neuron,\n"
        "       arg_max(token, lead) AS token\nFROM token_detector",
    ),
    Term(
        "Entropy neuron",
        "entropy",
        "A neuron of the last layer that makes the model surer or less sure through the scale of the final norm rather "
        "than through the tokens it writes. It is set to its mean where it fires, the norm and all logits are computed "
        "anew, and the change of the prediction's entropy is averaged (entropy_change, in nats). An entropy neuron "
        "changes it by more than 0.01, more than half of that by the norm's scale alone (entropy_change_by_norm), and "
        "has more than a tenth of its squared output weights in the hundredth of the unembedding's directions that "
        "logits depend on least (unembedding_null_fraction). Measured by atlas attribute.",
        "SELECT count(*) FILTER (entropy) AS entropy_neurons, count(entropy) AS neurons_ablated FROM neuron_kind",
        _STOLFO,
    ),
    Term(
        "Unigram divergence",
        "unigram-divergence",
        "The Kullback-Leibler divergence of the model's prediction from the frequencies with which tokens come next in "
        "the atlas's texts (each count plus one), in nats. unigram_divergence_change is how much it changes when a "
        "neuron of the last layer is set to its mean where it fires: above 0, the neuron draws predictions towards "
        "those frequencies; far from 0, it is a token-frequency neuron.",
        "SELECT max(unigram_divergence_change) AS greatest, min(unigram_divergence_change) AS least,\n"
        "       arg_max(name, abs(unigram_divergence_change)) AS neuron\nFROM neuron",
        _STOLFO,
    ),
    Term(
        "Hub",
        "hub",
        "A neuron that is the best neuron of more tokens than the model's mean plus two standard deviations. Being a "
        "token's best neuron then says little about the token.",
        "SELECT count(*) AS hubs, sum(hub_count) AS best_of, max(hub_count) AS greatest FROM neuron_kind WHERE hub",
        "Radovanović, Nanopoulos and Ivanović, Hubs in Space, JMLR 11 (2010)",
    ),
)
