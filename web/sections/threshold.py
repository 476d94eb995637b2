"""The threshold explorer of a curve: a choice of edges, and what lies beyond the chosen one."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

from flask import request

from atlas.core.display import show_edge, show_number, show_share
from atlas.topics.curve import Candidate, Curve
from atlas.topics.threshold import Threshold, thresholds
from atlas.topics.verdict import NeuronPrediction
from web.charts.chart import columns_of
from web.site.errors import BadRequestError


@dataclass(frozen=True)
class Explorer:
    """One candidate pair's thresholds in order of activation, and the one that is read; `asked` if the URL chose it.

    Below zero a threshold reads the positions with a smaller activation, above zero those with a greater one. Without a
    choice it is the neuron's verdict's, or else the one whose precision and recall agree best (the greatest F1): on the
    other side than the congruence's, where a neuron fires as a token is predicted that it opposes.
    """

    candidate: Candidate
    choices: tuple[Threshold, ...]
    threshold: Threshold
    asked: bool

    @cached_property
    def shown(self) -> dict[str, str]:
        """The chosen threshold, as it is read."""
        return shown(self.threshold)

    @cached_property
    def rows(self) -> list[dict[str, str]]:
        """Every threshold as it is read, for the line in the chart."""
        return [shown(choice) for choice in self.choices]

    @property
    def columns(self) -> dict[str, list[str]]:
        """The same by column, as the page carries them."""
        return columns_of(self.rows)[0]

    def as_json(self) -> dict[str, Any]:
        """For JSON: the thresholds, and the side of the chosen one."""
        side = self.threshold.side
        return {"candidate": self.candidate, "side": side, "threshold": self.threshold, "choices": self.choices}


def shown(threshold: Threshold) -> dict[str, str]:
    """A threshold's numbers as text."""
    return {
        "value": f"{threshold.edge:g}",
        "edge": f"{'≥' if threshold.side == 'above' else '<'} {show_edge(threshold.edge)}",
        "n": show_number(threshold.n),
        "n_predicted": show_number(threshold.n_predicted),
        "precision": show_share(threshold.precision),
        "interval": f"{show_share(threshold.precision_low)} to {show_share(threshold.precision_high)}",
        "recall": show_share(threshold.recall),
        "lift": "–" if threshold.lift is None else f"{show_number(threshold.lift, 3)} ×",
        "actual_precision": show_share(threshold.actual_precision),
        "actual_recall": show_share(threshold.actual_recall),
    }


def _f1(threshold: Threshold) -> float:
    p, r = threshold.precision, threshold.recall or 0.0
    return 2 * p * r / (p + r) if p + r else 0.0


def explore(curve: Curve, prediction: NeuronPrediction | None) -> Explorer | None:
    """The explorer of a curve as the URL asks for it; None where no counted activation lies beyond any edge.

    `prediction` is the best of the neuron: if it predicts its token, the line starts where its verdict does.

    Raises:
        BadRequestError: the URL's threshold is none of those there are.
    """
    choices = tuple(sorted((*thresholds(curve, "below"), *thresholds(curve, "above")), key=lambda choice: choice.edge))
    if not choices:
        return None
    text = request.args.get("threshold")
    if text is None:
        natural = "above" if curve.candidate.congruence >= 0 else "below"
        judged = prediction is not None and prediction.predicts and prediction.token == curve.candidate.token
        known = prediction.threshold if judged else None
        best = max(choices, key=lambda choice: (choice.edge == known, _f1(choice), choice.side == natural))
        return Explorer(curve.candidate, choices, best, False)
    for choice in choices:
        if text in (f"{choice.edge:g}", str(choice.edge)):
            return Explorer(curve.candidate, choices, choice, True)
    raise BadRequestError(
        f"threshold={text!r} is no bin edge with counted positions beyond it; expected one of "
        f"{', '.join(f'{choice.edge:g}' for choice in choices)}."
    )
