"""Kinds of neurons by their congruence (Gurnee et al. 2024), hubs, and token detectors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from atlas.core.db import Atlas
from atlas.core.statements import Statement
from atlas.core.units import NeuronRef, Token, neuron_ref


@dataclass(frozen=True)
class TokenDetector:
    """The one token whose embedding a neuron's input weights read far more than any other (view `token_detector`)."""

    token: Token
    """The token."""
    side: str
    """'in': the input weights read it. 'gate' (gated models): the gate's, which it opens."""
    direction: str
    """'top': the highest value. 'bottom' (gated models, side 'in'): the lowest, since the sign is a gauge there."""
    lead: float
    """How far it leads the second, over how far the second leads the twentieth."""


@dataclass(frozen=True)
class NeuronKind:
    """What kind of neuron it is (view `neuron_kind`), and the token it detects."""

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
    detects: TokenDetector | None
    """The token that it detects; None: it detects none."""


@dataclass(frozen=True)
class LayerKinds:
    """How many neurons of a layer are of each kind; one may be of several but for the first four."""

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
    dead: int
    """Dead neurons."""


KINDS = ("prediction", "suppression", "partition", "other", "hub", "detector")
"""Words for kinds. The first four divide the neurons; hubs and detectors may be any of those."""

NEURON_KIND = Statement("""SELECT k.*, d.token AS detects, d.side, d.direction, d.lead
FROM neuron_kind AS k LEFT JOIN token_detector AS d USING (neuron_id)
WHERE k.neuron_id = $neuron_id""")

_LAYER_KINDS = """SELECT k.layer, count(*) FILTER (k.kind = 'prediction') AS prediction,
       count(*) FILTER (k.kind = 'suppression') AS suppression, count(*) FILTER (k.kind = 'partition') AS partition,
       count(*) FILTER (k.kind IS NULL) AS other, count(*) FILTER (k.hub) AS hub, count(d.neuron_id) AS detector,
       count(*) FILTER (k.dead) AS dead
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
    detectors: dict[int, TokenDetector]


def neuron_kind(atlas: Atlas, neuron_id: int) -> NeuronKind:
    """What kind a neuron is."""
    ref, kinds = neuron_ref(atlas, neuron_id), _kinds(atlas)
    kind = next((word for word in KINDS[:3] if kinds.members[word][neuron_id]), None)
    numbers: list[Any] = [
        None if np.ma.is_masked(values[neuron_id]) else float(values[neuron_id]) for values in kinds.numbers.values()
    ]
    flags = bool(kinds.members["hub"][neuron_id]), bool(kinds.dead[neuron_id])
    return NeuronKind(ref, kind, *numbers, *flags, kinds.detectors.get(neuron_id))


def layer_kinds(atlas: Atlas) -> list[LayerKinds]:
    """How many neurons of each layer are of each kind, from layer 0."""
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
    found = atlas.arrays(
        "SELECT coalesce(kind, 'other') AS kind, kurtosis, skewness, spread, hub, dead "
        "FROM neuron_kind ORDER BY neuron_id"
    )
    detectors = {
        neuron_id: TokenDetector(atlas.tokens[token_id], side, direction, lead)
        for neuron_id, token_id, side, direction, lead in atlas.rows(
            "SELECT neuron_id, token_id, side, direction, lead FROM token_detector"
        )
    }
    detector = np.zeros(len(found["kind"]), bool)
    detector[list(detectors)] = True
    return _Kinds(
        members={
            **{word: np.asarray(found["kind"] == word) for word in KINDS[:4]},
            "hub": np.asarray(found["hub"]),
            "detector": detector,
        },
        numbers={name: np.ma.asarray(found[name]) for name in ("kurtosis", "skewness", "spread")},
        dead=np.asarray(found["dead"]),
        detectors=detectors,
    )
