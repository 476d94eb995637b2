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
    the view `neuron_prediction`. None: too little support."""

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


# The conditions of `predicts` are those of the view `neuron_prediction`, which has the best token of each neuron only.
TOKEN_PREDICTIONS = Statement("""SELECT /*+n.name AS neuron, */m.side, m.best_threshold_predicted AS threshold,
       round(m.recall_predicted * m.n_predicted / nullif(m.precision_predicted, 0))::BIGINT AS n_beyond,
       round(m.recall_predicted * m.n_predicted)::BIGINT AS n_hits, m.n_predicted,
       m.precision_predicted AS "precision", m.recall_predicted AS recall, m.auroc_predicted AS auroc,
       m.average_precision_predicted AS average_precision,
       m.best_f1_predicted - 2 * m.base_rate_predicted / (1 + m.base_rate_predicted) AS f1_gain,
       coalesce(
           f1_gain >= 0.05 AND n_hits >= 5 AND m.precision_predicted_low >= 3 * m.base_rate_predicted, false
       ) AS predicts, m.neuron_id
FROM pair_metric AS m
JOIN candidate_pair AS c ON c.neuron_id = m.neuron_id AND c.token_id = m.token_id/*+
JOIN neuron AS n ON n.neuron_id = m.neuron_id*/
WHERE m.token_id = $token_id AND CASE m.side WHEN 'positive' THEN c.congruence > 0 ELSE c.congruence < 0 END
ORDER BY predicts DESC, f1_gain DESC NULLS LAST, m.neuron_id""")

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
