"""Kinds of neurons: the views `neuron_kind` and `token_detector`, read once in a process (40,000 neurons: 0.2 s)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from atlas.core.statements import Statement
from atlas.db import Atlas
from atlas.queries.atlas import neuron_ref
from atlas.records import LayerKinds, NeuronKind, TokenDetector

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
    numbers = (None if np.ma.is_masked(values[neuron_id]) else float(values[neuron_id])
               for values in kinds.numbers.values())  # fmt: skip
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
