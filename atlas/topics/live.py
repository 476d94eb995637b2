"""Protocol between the site and a process that holds a model: requests and answers, each a line of JSON.

A request is `{"id": 7, "job": "activations", ...}` with the fields of the request's record. The model's process answers
`{"id": 7, "answer": {...}}` with the fields of the answer's, `{"id": 7, "progress": [done, planned]}` before that where
a job takes long, or `{"id": 7, "error": {"code", "message"}}`. `{"cancel": 7}` ends a job early. The first line that
the process writes is `{"ready": true}`, or `{"failed": message}` where it cannot serve.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from atlas.core.db import Atlas

REFUSED, FAILED, CANCELLED = "live_refused", "live_failed", "live_cancelled"
"""Codes of errors: the request cannot be answered and the message says what to change; the program failed; the job was
cancelled."""


@dataclass(frozen=True)
class ModelWanted:
    """The model that answers: the atlas's record of its own model, and the name or path to load."""

    name: str
    """`model_name` of the atlas."""
    revision: str | None
    """`model_revision` of the atlas."""
    fingerprint: str
    """`model_fingerprint` of the atlas, which the loaded weights must match."""
    load: str | None
    """A name or path to load in place of `name`; None: the model that the atlas names."""


@dataclass(frozen=True)
class ActivationsWanted:
    """One neuron's activation at every token of a text."""

    text: str
    layer: int
    index: int


@dataclass(frozen=True)
class Activations:
    """The answer: tokens as ingest makes them, BOS first where the model has one."""

    token_ids: tuple[int, ...]
    has_bos: bool
    """Whether position 0 is BOS."""
    values: tuple[float, ...]
    """The activation at each token."""

    @classmethod
    def read(cls, answer: dict[str, Any]) -> Activations:
        """From JSON."""
        return cls(tuple(answer["token_ids"]), answer["has_bos"], tuple(answer["values"]))


@dataclass(frozen=True)
class ExplainWanted:
    """A request for each neuron's attribution to a token after a text."""

    text: str
    token: str | None
    """Text of the token; None: the predicted one."""
    against: str | None
    """Text of the token whose logit is subtracted; None: the mean over the vocabulary is subtracted."""
    means: str
    """File of the mean activation of every neuron over the atlas's data: float32 [layer, d_mlp], as `numpy.save`
    writes it."""
    most: int
    """Neurons listed at each end."""
    neuron: int | None = None
    """A neuron to ablate."""


@dataclass(frozen=True)
class Predicted:
    """A token after the text."""

    token_id: int
    rank: int
    """From 1, by logit; equal logits: the lower token first."""
    logit: float
    probability: float
    """0 to 1."""


@dataclass(frozen=True)
class NeuronShare:
    """A neuron at the last position."""

    neuron_id: int
    activation: float
    attribution: float
    """(activation - mean over the atlas's data) times the gradient of the explained value with respect to it, keys and
    values held: logits."""
    direct: float
    """Its direct part: (activation - mean) times the dot product of its output weights with the readout of the token
    (less that of the other token, or the mean over the vocabulary), norms behind it held at the scale they have there;
    before any soft cap."""
    exact: float
    """How far the explained value falls in the whole model if the neuron is set to its mean."""


@dataclass(frozen=True)
class ToldPosition:
    """A position of the text: the token predicted after it, and the neurons of greatest |attribution| to that, each
    with its attribution."""

    position: int
    token_id: int
    probability: float
    neurons: tuple[tuple[int, float], ...]


@dataclass(frozen=True)
class AblatedNeuron:
    """A neuron set to its mean over the atlas's data at the last position: what becomes of the token."""

    neuron_id: int
    activation: float
    mean: float
    attribution: float
    """The estimated fall of the explained value."""
    exact: float | None
    """The exact fall with the position's keys and values held; None: the model has no cache to hold them in."""
    exact_full: float
    """The exact fall in the whole model."""
    probability: float
    """Of the token, as the text stands; so the next in the whole model without the neuron."""
    probability_after: float
    top_id: int
    """The prediction without the neuron."""
    top_probability: float


@dataclass(frozen=True)
class Explanation:
    """The answer."""

    token_ids: tuple[int, ...]
    has_bos: bool
    predictions: tuple[Predicted, ...]
    """The ten best tokens, and the requested ones."""
    token_id: int
    against_id: int | None
    value: float
    """The explained value: the token's logit less the other token's, or less the mean over the vocabulary."""
    supports: tuple[NeuronShare, ...]
    """Greatest attribution first."""
    opposes: tuple[NeuronShare, ...]
    """Least attribution first."""
    direct: tuple[NeuronShare, ...]
    """Greatest |direct part| first, half as many."""
    positions: tuple[ToldPosition, ...]
    """Every counted position, in order."""
    ablated: AblatedNeuron | None

    @classmethod
    def read(cls, answer: dict[str, Any]) -> Explanation:
        """From JSON."""
        lists = {
            name: tuple(NeuronShare(**item) for item in answer[name]) for name in ("supports", "opposes", "direct")
        }
        positions = tuple(
            ToldPosition(**{**item, "neurons": tuple((n, value) for n, value in item["neurons"])})
            for item in answer["positions"]
        )
        ablated = None if answer["ablated"] is None else AblatedNeuron(**answer["ablated"])
        predictions = tuple(Predicted(**item) for item in answer["predictions"])
        read = {"token_ids": tuple(answer["token_ids"]), "predictions": predictions, "positions": positions}
        return cls(**{**answer, **read, "ablated": ablated, **lists})


@dataclass(frozen=True)
class StudyWanted:
    """A study of one pair of prompts, as `atlas study` runs it."""

    clean: str
    corrupt: str
    answer: str
    other: str
    means: str
    """File of the mean activations, as of `ExplainWanted`."""
    command: str
    """The command line that records the same study."""
    folder: str
    """Folder of its tables as Arrow files, `study.arrow` and so on, with the columns of the atlas's tables."""


def activation_means(atlas: Atlas) -> np.ndarray:
    """Mean activation of every neuron over the atlas's data, float32 [layer, d_mlp]."""
    means = atlas.arrays("SELECT activation_mean FROM neuron ORDER BY neuron_id")["activation_mean"]
    return np.asarray(means, np.float32).reshape(atlas.info.n_layers, atlas.info.d_mlp)
