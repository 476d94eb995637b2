"""The verdict on a neuron: what it does, in one or two sentences made from stored numbers.

A verdict names a token only on the side of zero on which the neuron fires, and says that it predicts the token only
where the data show it (view `neuron_prediction`); causes come from `pair_effect`, from studies and from attribution.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields

import numpy as np

from atlas.core.bins import ZERO_BIN, bin_edges
from atlas.core.call import OF_NEURON, call
from atlas.core.db import Atlas
from atlas.core.display import show_edge, show_number, show_points, show_share
from atlas.core.parameter import NeuronId
from atlas.core.statements import Statement
from atlas.core.term import Term
from atlas.core.units import Token
from atlas.topics.attribution import clearest_cause
from atlas.topics.neuron import Neuron, find_neuron
from atlas.topics.pair_metric.table import MIN_SUPPORT
from atlas.topics.study.study import stands_out

ZERO_EDGE = bin_edges(ZERO_BIN)[1]
"""Magnitudes below it are in the zero bin: the neuron does not fire."""

CLEAR = 6.0
"""Standard deviations from the neuron's mean over the vocabulary beyond which a token stands out."""

MUCH = 0.1
"""Logits of attribution from which on a headline names what a neuron supports or opposes."""


@dataclass(frozen=True)
class NeuronPrediction:
    """The token that a neuron's firing predicts best: a row of the view `neuron_prediction` (see there)."""

    TABLE = "neuron_prediction"

    token: Token
    side: str
    threshold: float
    n_beyond: int
    n_hits: int
    n_predicted: int
    precision: float
    precision_low: float
    precision_high: float
    recall: float
    auroc: float
    average_precision: float
    base_rate: float
    f1_gain: float
    predicts: bool
    congruence: float


@dataclass(frozen=True)
class Verdict:
    """What a neuron does, as far as the atlas knows.

    `claim` is 'predicts' (where it fires, `token` is the model's top prediction far more often than elsewhere),
    'writes' (its output weights raise `token` far above all others, but its firing does not predict it), 'none' (no
    token stands out) or 'dead'. `side` is the side of zero on which it fires for the token. `prediction` is the best
    predicted token, whether that is good or not; None: no pair has support.
    """

    claim: str
    token: Token | None
    side: str | None
    headline: str
    """A few words that go on from the neuron's name: `predicts ␣an`, `opposes ␣of`, `no clear token`."""
    text: str
    """One or two sentences, tokens in “quotes”."""
    prediction: NeuronPrediction | None


@dataclass(frozen=True)
class JudgedNeuron(Neuron):
    """A row of the table `neuron`, its two tokens resolved, and the verdict on the neuron."""

    verdict: Verdict


_COLUMNS = [field.name for field in fields(NeuronPrediction) if field.name != "token"]


def _listed(names: Iterable[str]) -> str:
    return ", ".join(f'"{name}"' for name in names)


PREDICTION = Statement(
    f"""SELECT /*+neuron, token, */{_listed(_COLUMNS[:8])},
       {_listed(_COLUMNS[8:])}, token_id, neuron_id
FROM neuron_prediction/*+
WHERE neuron_id = $neuron_id*/"""
)
"""The best predicted token of a neuron; the program reads those of all neurons once."""

_EFFECTS = """
SELECT neuron_id, token_id, side, probability, probability_change, probability_change_low, probability_change_high,
       n_positions
FROM pair_effect
"""


@call(OF_NEURON, name="neuron", python='demo.neuron("{neuron}").record')
def judged_neuron(atlas: Atlas, neuron_id: NeuronId) -> JudgedNeuron:
    """One neuron: its row of the table `neuron`, and the verdict on it.

    Raises:
        NeuronNameError: the id is out of range.
    """
    neuron = find_neuron(atlas, neuron_id)
    return JudgedNeuron(**vars(neuron), verdict=verdict_of(atlas, neuron))


@call(OF_NEURON + "/verdict", python='demo.neuron("{neuron}").verdict()')
def verdict(atlas: Atlas, neuron_id: NeuronId) -> Verdict:
    """What a neuron does, in one or two sentences made from stored numbers, and the numbers of its best prediction."""
    return verdict_of(atlas, find_neuron(atlas, neuron_id))


def verdicts(atlas: Atlas, neurons: Iterable[Neuron]) -> dict[int, Verdict]:
    """Verdicts on neurons by neuron_id."""
    by_id = {neuron.neuron_id: neuron for neuron in neurons}
    return atlas.records("verdicts", by_id, lambda ids: {one: verdict_of(atlas, by_id[one]) for one in ids})


def verdict_of(atlas: Atlas, neuron: Neuron) -> Verdict:
    """The verdict on a neuron. The first call reads the predictions of all neurons, which takes about 40 ms."""
    prediction = best_prediction(atlas, neuron.neuron_id)
    if neuron.dead:
        zero = f"−{show_edge(ZERO_EDGE)} to {show_edge(ZERO_EDGE)}"
        text = f"Dead in these texts: every activation lies in the zero bin ({zero})."
        return Verdict("dead", None, None, "dead in these texts", text, prediction)
    if prediction and prediction.predicts:
        token, side = prediction.token, prediction.side
        text = _joined(_predicts(prediction), _causes(atlas, neuron.neuron_id, token, side))
        return Verdict("predicts", token, side, f"predicts {token.shown}", text, prediction)
    side, token, congruence, deviations = _writes(atlas, neuron)
    causes = _causes(atlas, neuron.neuron_id, token, side)
    if deviations >= CLEAR and (side == "negative" or neuron.activation_max >= ZERO_EDGE):
        sentence = _writes_sentence(atlas, neuron, side, token, congruence, deviations)
        return Verdict("writes", token, side, f"writes {token.shown}", _joined(sentence, causes), prediction)
    favoured = (
        f"on the side on which it fires{_only(neuron, side)}, its output weights favour “{token.shown}”, but only by "
        f"{show_number(deviations, 2)} standard deviations"
    )
    cause = clearest_cause(atlas, neuron.neuron_id, token)
    if cause is not None and abs(cause.attribution) >= MUCH:
        headline = f"{cause.verb} {cause.token.shown}"
        return Verdict(
            "none", None, side, headline, _joined(causes, f"No clear token otherwise: {favoured}."), prediction
        )
    sentence = f"No clear token: {favoured}, and its firing predicts none of the tokens counted with it."
    return Verdict("none", None, side, "no clear token", _joined(sentence, causes), prediction)


def best_prediction(atlas: Atlas, neuron_id: int) -> NeuronPrediction | None:
    """The token that a neuron's firing predicts best; None: no pair has support."""
    columns = _all_predictions(atlas)
    place = int(np.searchsorted(columns["neuron_id"], neuron_id))
    if place == len(columns["neuron_id"]) or columns["neuron_id"][place] != neuron_id:
        return None
    values = {name: columns[name][place] for name in _COLUMNS}
    token = atlas.tokens[int(columns["token_id"][place])]
    return NeuronPrediction(
        token=token,
        **{name: value.item() if isinstance(value, np.generic) else value for name, value in values.items()},
    )


def predictors(atlas: Atlas, token_id: int) -> list[tuple[int, float, float]]:
    """The neurons whose firing predicts a token, best first: id, `f1_gain` and congruence."""
    columns = _all_predictions(atlas)
    rows = np.flatnonzero((columns["token_id"] == token_id) & columns["predicts"])
    rows = rows[np.lexsort((columns["neuron_id"][rows], -columns["f1_gain"][rows]))]
    return list(zip(*(columns[name][rows].tolist() for name in ("neuron_id", "f1_gain", "congruence")), strict=True))


def _all_predictions(atlas: Atlas) -> dict[str, np.ndarray]:
    """Columns of `neuron_prediction`, by neuron_id."""

    def read() -> dict[str, np.ndarray]:
        columns = {name: np.asarray(values) for name, values in PREDICTION.arrays(atlas).items()}
        order = np.argsort(columns["neuron_id"])
        return {name: values[order] for name, values in columns.items()}

    return atlas.remembered_large("predictions of neurons", read)


def _predicts(prediction: NeuronPrediction) -> str:
    token = f"“{prediction.token.shown}”"
    return (
        f"Predicts {token}: where its activation is {_beyond(prediction)}, {token} is the model’s top prediction at "
        f"{show_number(prediction.n_hits)} of {show_number(prediction.n_beyond)} positions "
        f"({show_share(prediction.precision, 2)}), {show_share(prediction.recall, 2)} of those where the model "
        f"predicts it (area under ROC {prediction.auroc:.2f})."
    )


def _beyond(prediction: NeuronPrediction) -> str:
    return f"{'at least' if prediction.side == 'positive' else 'below'} {show_edge(prediction.threshold)}"


def _writes(atlas: Atlas, neuron: Neuron) -> tuple[str, Token, float, float]:
    """The side on which a neuron can push a token most (activation times congruence from its mean), the token that it
    raises there, their congruence, and its standard deviations from the mean."""
    std = neuron.congruence_std or np.inf
    best = (neuron.best_congruence - neuron.congruence_mean) / std
    worst = (neuron.congruence_mean - neuron.worst_congruence) / std
    above, below = neuron.activation_max >= ZERO_EDGE, atlas.info.gated and neuron.activation_min < -ZERO_EDGE
    if below and (not above or -neuron.activation_min * worst > neuron.activation_max * best):
        return "negative", neuron.worst_token, neuron.worst_congruence, worst
    return "positive", neuron.best_token, neuron.best_congruence, best


def _writes_sentence(
    atlas: Atlas, neuron: Neuron, side: str, token: Token, congruence: float, deviations: float
) -> str:
    name = f"“{token.shown}”"
    end = "most"
    if atlas.info.gated:
        end += f" where it fires {'above' if side == 'positive' else 'below'} zero"
    counts = _predicted_counts(atlas)
    n = int(counts[token.token_id])
    if n < MIN_SUPPORT:
        times = f"predicts it only {'once' if n == 1 else f'at {n} positions'}" if n else "never predicts it"
        doubt = f"the model {times} in these texts, so its firing cannot be judged"
    else:
        doubt = f"no threshold of its activation picks out the {show_number(n)} positions where the model predicts it"
    return (
        f"Writes {name} {end} (congruence {show_number(congruence, 3)}, {show_number(deviations, 3)} standard "
        f"deviations from the mean over all tokens), but {doubt}."
    )


def _predicted_counts(atlas: Atlas) -> np.ndarray:
    """How often each token is the model's top prediction, by token_id."""
    sql = "SELECT n_predicted FROM token ORDER BY token_id"
    return atlas.remembered("predicted counts of tokens", lambda: np.asarray(atlas.arrays(sql)["n_predicted"]))


def _only(neuron: Neuron, side: str) -> str:
    if neuron.activation_max < ZERO_EDGE:
        return " (it never fires above zero)"
    if neuron.activation_min > -ZERO_EDGE:
        return " (it never fires below zero)"
    return " most strongly"


def _causes(atlas: Atlas, neuron_id: int, token: Token, side: str) -> str:
    """What ablation, studies and attribution say, as one sentence; empty where nothing was measured."""
    effect = _effects(atlas).get((neuron_id, token.token_id, side))
    clauses = [] if effect is None else [_effect(token, *effect)]
    clauses += [
        f"restoring it alone {'recovers' if item.neuron.recovery > 0 else 'takes away'} "
        f"{show_share(abs(item.neuron.recovery), 2)} of the logit difference in the study "
        f"‘{item.study.name}’"
        for item in stands_out(atlas, neuron_id)[:1]
    ]
    cause = clearest_cause(atlas, neuron_id, token)
    clauses += [] if cause is None else [cause.words]
    text = "; ".join(clauses)
    return f"{text[0].upper()}{text[1:]}." if text else ""


def _effects(atlas: Atlas) -> dict[tuple[int, int, str], tuple]:
    """Rows of `pair_effect` by neuron, token and side."""
    return atlas.remembered("effects of pairs", lambda: {row[:3]: row[3:] for row in atlas.rows(_EFFECTS)})


def _effect(token: Token, before: float, change: float, low: float | None, high: float | None, n: int) -> str:
    name = f"“{token.shown}”"
    if low is not None and high is not None and low <= 0 <= high:
        return f"ablating it where it fires does not change the probability of {name} significantly"
    verb, interval = "lowers" if change < 0 else "raises", ""
    if low is not None:
        lowest = show_points(low, 0).removesuffix(" points")
        interval = f" (95% interval of the change {lowest} to {show_points(high, 0)})"
    return (
        f"ablating it at {show_number(n)} {'positions' if n > 1 else 'position'} where it fires {verb} the probability "
        f"of {name} from {show_share(before, 2)} to {show_share(before + change, 2)}{interval}"
    )


def _joined(*sentences: str) -> str:
    return " ".join(filter(None, sentences))


TERMS = (
    Term(
        "Verdict",
        "verdict",
        "One or two sentences on what a neuron does, made from stored numbers. It predicts a token if, beyond the best "
        "threshold of its activation, the token is the model's top prediction far more often than elsewhere (F1 at "
        "least 0.05 above that of always predicting it, at least 5 such positions, precision surely at least 3 times "
        "the base rate); it writes a token if its congruence lies at least 6 standard deviations from the neuron's "
        "mean over the vocabulary on the side on which it fires. Otherwise it has no clear token; a headline may then "
        "say what it supports or opposes by attribution (0.1 logits or more, 3 standard errors from 0).",
        'SELECT neuron, token, side, threshold, "precision", recall, auroc\n'
        "FROM neuron_prediction WHERE predicts ORDER BY f1_gain DESC, neuron_id LIMIT 3",
    ),
)
