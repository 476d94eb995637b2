"""The threshold explorer of a curve: a choice of edges, and what lies beyond the chosen one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from flask import request

from atlas.core.display import show_edge, show_number, show_share
from atlas.topics.curve import Candidate, Curve
from atlas.topics.threshold import Threshold, thresholds
from web.site.errors import BadRequestError
from web.site.page import query_choice

SIDES = ("above", "below")


@dataclass(frozen=True)
class Explorer:
    """One candidate pair's thresholds on one side, and the one that is read; `asked` if the URL chose it.

    Without a choice it is the one whose precision and recall agree best (the greatest F1).
    """

    candidate: Candidate
    side: str
    sides: tuple[str, ...]
    choices: tuple[Threshold, ...]
    threshold: Threshold
    asked: bool

    @property
    def shown(self) -> dict[str, str]:
        """The chosen threshold, as it is read."""
        return shown(self.threshold)

    @property
    def rows(self) -> list[dict[str, str]]:
        """Every threshold as it is read, for the slider."""
        return [shown(choice) for choice in self.choices]

    def as_json(self) -> dict[str, Any]:
        """For JSON: the thresholds of the side."""
        return {"candidate": self.candidate, "side": self.side, "threshold": self.threshold, "choices": self.choices}


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


def explore(curve: Curve) -> Explorer | None:
    """The explorer of a curve as the URL asks for it; None where no counted activation lies beyond any edge.

    Raises:
        BadRequestError: the URL's side or threshold is none of those there are.
    """
    found = {side: tuple(thresholds(curve, side)) for side in SIDES}
    sides = tuple(side for side in SIDES if found[side])
    if not sides:
        return None
    natural = "above" if curve.candidate.congruence >= 0 else "below"
    side = query_choice("side", sides, natural if natural in sides else sides[0])
    choices = found[side]
    text = request.args.get("threshold")
    if text is None:
        return Explorer(curve.candidate, side, sides, choices, max(choices, key=_f1), "side" in request.args)
    for choice in choices:
        if text in (f"{choice.edge:g}", str(choice.edge)):
            return Explorer(curve.candidate, side, sides, choices, choice, True)
    raise BadRequestError(
        f"threshold={text!r} is no bin edge with counted positions beyond it; expected one of "
        f"{', '.join(f'{choice.edge:g}' for choice in choices)}."
    )
