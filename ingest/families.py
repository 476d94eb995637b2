"""Which (neuron, family) pairs are counted: each neuron's with the family of its best token (gated: worst too)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Int64

from atlas.families import family_ids
from ingest.congruence import Congruence
from ingest.vocabulary import Vocabulary


@dataclass(frozen=True)
class NeuronFamilies:
    """Pairs of neuron and family, unique, ordered by neuron, family; families of one token left out.

    `of_token` is every token's family, called by the lowest id of its members (see `atlas.families`).
    """

    neuron: Int64[np.ndarray, " pair"]
    family: Int64[np.ndarray, " pair"]
    of_token: Int64[np.ndarray, " d_vocab"]


def neuron_families(congruence: Congruence, vocabulary: Vocabulary, *, gated: bool) -> NeuronFamilies:
    """The pairs of a model. A family of one token is left out: its counts are those of the pair, a candidate."""
    of_token = family_ids(vocabulary.text, vocabulary.special)
    several = np.bincount(of_token, minlength=len(of_token)) > 1
    directions = ("top", "bottom") if gated else ("top",)
    family = of_token[np.stack([congruence.neuron_token[d].ids[:, 0].cpu().numpy() for d in directions], 1)]
    neuron, place = np.nonzero(several[family])
    cells = np.unique(neuron * np.int64(len(of_token)) + family[neuron, place])
    return NeuronFamilies(cells // len(of_token), cells % len(of_token), of_token)


def no_families(d_vocab: int) -> NeuronFamilies:
    """For runs that count none."""
    none = np.zeros(0, dtype=np.int64)
    return NeuronFamilies(none, none, np.arange(d_vocab, dtype=np.int64))
