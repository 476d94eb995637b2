"""The neurons that write a token: what each is known for, and whether its firing predicts the token."""

from __future__ import annotations

from dataclasses import dataclass, fields

from atlas.core.db import Atlas
from atlas.core.statements import Statement
from atlas.core.units import NeuronRef, Token, neuron_ref
from atlas.topics.neuron import neurons_by_id
from atlas.topics.token import CongruentNeuron, token_neurons
from atlas.topics.verdict import verdicts


@dataclass(frozen=True)
class WritingNeuron(CongruentNeuron):
    """A neuron in a token's list, what it is known for, and how well its firing predicts the token."""

    own_token: Token
    """The neuron's best token; in the list 'bottom' its worst."""
    headline: str
    """The neuron's verdict in a few words: `predicts ␣an`."""
    auroc: float | None
    """Area under ROC of the activation, on the side on which the neuron writes the token. None: the pair was not
    counted, or it lacks support."""


@dataclass(frozen=True)
class TokenPrediction:
    """How well a neuron's firing predicts a token, on the side on which the neuron writes it; the columns are those of
    the view `token_prediction`. None: too little support."""

    neuron: NeuronRef
    side: str
    threshold: float | None
    n_beyond: int | None
    n_hits: int | None
    n_predicted: int
    precision: float | None
    recall: float | None
    auroc: float | None
    average_precision: float | None
    f1_gain: float | None
    predicts: bool


TOKEN_PREDICTIONS = Statement(
    """SELECT /*+neuron, */side, threshold, n_beyond, n_hits, n_predicted, "precision",
       recall, auroc, average_precision, f1_gain, predicts, neuron_id
FROM token_prediction
WHERE token_id = $token_id
ORDER BY predicts DESC, f1_gain DESC NULLS LAST, neuron_id""",
    each="token_id",
)

_NUMBERS = [field.name for field in fields(TokenPrediction) if field.name != "neuron"]


def token_predictions(atlas: Atlas, token_id: int) -> list[TokenPrediction]:
    """How well the neurons counted with a token predict it where they write it, the best first."""
    return [
        TokenPrediction(neuron_ref(atlas, neuron_id), **dict(zip(_NUMBERS, values, strict=True)))
        for *values, neuron_id in TOKEN_PREDICTIONS.rows(atlas, token_id=token_id)
    ]


def writing_neurons(atlas: Atlas, token_id: int, predictions: list[TokenPrediction]) -> list[WritingNeuron]:
    """The neurons most congruent with a token, then the least congruent; `predictions` are the token's.

    Raises:
        TokenError: the id is out of range.
    """
    items = token_neurons(atlas, token_id)
    records = neurons_by_id(atlas, [item.neuron.neuron_id for item in items])
    known = verdicts(atlas, records.values())
    aurocs = {item.neuron.neuron_id: item.auroc for item in predictions}
    return [
        WritingNeuron(
            item.direction,
            item.rank,
            item.neuron,
            item.congruence,
            own_token=records[neuron_id].best_token if item.direction == "top" else records[neuron_id].worst_token,
            headline=known[neuron_id].headline,
            auroc=aurocs.get(neuron_id),
        )
        for item in items
        for neuron_id in (item.neuron.neuron_id,)
    ]
