"""Where to start in an atlas: the neurons with the best verdicts, and the one neuron whose story is told first."""

from __future__ import annotations

import re
from dataclasses import dataclass

from atlas.core.db import Atlas
from atlas.core.display import show_share
from atlas.core.errors import PairError
from atlas.core.statements import Statement
from atlas.core.units import Token
from atlas.topics.curve import Curve, neuron_curve
from atlas.topics.example import neuron_examples
from atlas.topics.glance import Glance, glances
from atlas.topics.neuron import Neuron, find_neuron, neurons_by_id
from atlas.topics.study.neurons import study_neurons
from atlas.topics.study.records import StandsOut
from atlas.topics.study.study import list_studies
from atlas.topics.verdict import Verdict, verdict_of

MOST_JUDGED = 6
"""Neurons worth a look."""

BEST = Statement("""SELECT neuron, token, side, threshold, n_hits, n_beyond, "precision", recall, auroc, f1_gain,
       neuron_id, token_id
FROM neuron_prediction
WHERE predicts
QUALIFY row_number() OVER (PARTITION BY token_id ORDER BY f1_gain DESC, neuron_id) = 1
ORDER BY f1_gain DESC, neuron_id
LIMIT $limit""")
"""The neurons whose firing predicts a token best, one for each token."""


@dataclass(frozen=True)
class Story:
    """The neuron to start with: the one of greatest recovery in a study (`study`), or where there is none the one whose
    firing predicts a token best.

    `curve` is its prediction curve for `token`: the study's answer, or the token that it predicts. `phrase` is two
    words of a text, up to where one of the best neurons fires: None where no text has such words.
    """

    neuron: Neuron
    verdict: Verdict
    token: Token
    curve: Curve
    study: StandsOut | None
    phrase: str | None

    @property
    def text(self) -> str:
        """The study's finding in a sentence or two, or else the verdict."""
        if self.study is None:
            return self.verdict.text
        study, recovery = self.study.study, show_share(self.study.neuron.recovery, 2)
        if study.is_suite:
            return (
                f"Over {study.n_prompts:,} pairs of prompts, restoring {self.neuron.name} alone recovers {recovery} of "
                "the logit difference between the two answers on average."
            )
        n_changed = sum(other is not None for _, other in self.prompt)
        change = "One changed word takes" if n_changed == 1 else "From one prompt to the other"
        fall = f"{show_share(study.p_answer_clean, 2)} to {show_share(study.p_answer_corrupt, 2)}"
        answer, other = study.answer_token.shown, study.other_token.shown
        sentence = f"{change} the probability of “{answer}” {'from' if n_changed == 1 else 'goes from'} {fall}"
        if f"in the study ‘{study.name}’." in self.verdict.text:  # the verdict goes on with the recovery
            return f"{sentence}."
        return (
            f"{sentence}; restoring {self.neuron.name} alone recovers {recovery} of the logit difference between "
            f"“{answer}” and “{other}”."
        )

    @property
    def prompt(self) -> tuple[tuple[str, str | None], ...]:
        """The study's prompt, as words: (word, None), or (word, the word in its place) where the two prompts differ.
        Empty where they differ in length, or there is no single prompt."""
        if self.study is None or self.study.study.is_suite:
            return ()
        clean, corrupt = self.study.study.clean.split(), self.study.study.corrupt.split()
        if len(clean) != len(corrupt):
            return ()
        return tuple((one, None if one == other else other) for one, other in zip(clean, corrupt, strict=True))


def best_neurons(atlas: Atlas, limit: int = MOST_JUDGED) -> tuple[Glance, ...]:
    """The neurons whose firing predicts a token best, one for each token, at a glance."""
    ids = [neuron_id for *_, neuron_id, _ in BEST.rows(atlas, limit=limit)]
    neurons = neurons_by_id(atlas, ids)
    return tuple(glances(atlas, [neurons[neuron_id] for neuron_id in ids]))


def story(atlas: Atlas) -> Story | None:
    """The story to tell first, found once in a process; None: no study has a neuron that stands out, and no neuron's
    firing predicts a token."""
    return atlas.remembered("story", lambda: _of_a_study(atlas) or _of_the_best(atlas))


def _of_a_study(atlas: Atlas) -> Story | None:
    leading = [
        StandsOut(study, row)
        for study in list_studies(atlas)
        for row in study_neurons(atlas, study, limit=0).top
        if row.recovery > 0
    ]
    for item in sorted(leading, key=lambda item: (item.study.is_suite, -item.neuron.recovery)):
        told = _told(atlas, item.neuron.neuron.neuron_id, item.study.answer_token, item)
        if told is not None:
            return told
    return None


def _of_the_best(atlas: Atlas) -> Story | None:
    for best in best_neurons(atlas, 1):
        if best.verdict.token is not None:
            return _told(atlas, best.neuron.neuron_id, best.verdict.token, None)
    return None


def _told(atlas: Atlas, neuron_id: int, token: Token, study: StandsOut | None) -> Story | None:
    neuron = find_neuron(atlas, neuron_id)
    try:
        curve = neuron_curve(atlas, neuron_id, token.token_id)
    except PairError:
        return None
    phrases = (_phrase(atlas, n) for n in [*(best.neuron.neuron_id for best in best_neurons(atlas)), neuron_id])
    return Story(neuron, verdict_of(atlas, neuron), token, curve, study, next(filter(None, phrases), None))


_WORDS = re.compile(r"[A-Za-z]{3,} [a-z]{2,}")


def _phrase(atlas: Atlas, neuron_id: int) -> str | None:
    """The last two words up to where a neuron fires, in the first of its strongest texts where they are plain words."""
    for example in neuron_examples(atlas, neuron_id, "max"):
        peak = example.position - example.window_start
        before = "".join(token.text or "\n" for token in example.tokens[max(0, peak - 6) : peak + 1])
        words = " ".join(before.split(" ")[-2:])
        if _WORDS.fullmatch(words):
            return words
    return None
