"""The illusion guard: do the maximum texts show what the neuron ordinarily does?

Maximum texts of a neuron may agree on something that its ordinary firing does not (Bolukbasi et al. 2021, "An
interpretability illusion for BERT"). The guard compares the tokens on which the neuron fires in its maximum texts with
those in the interval samples.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from atlas.records import Example, IllusionGuard, IntervalShare, Token


def family(token: Token | None) -> str:
    """What a token is compared by: its text without spaces and case; its id where it has no text."""
    if token is None:
        return "#end"
    text = (token.text or "").strip().casefold()
    return text or f"#{token.token_id}"


def _distance(one: Counter[str], other: Counter[str]) -> float:
    """Total variation distance of two distributions given as counts: 0 the same, 1 nothing in common."""
    return 1.0 - sum(min(n / one.total(), other[key] / other.total()) for key, n in one.items())


def firing_token(example: Example) -> Token:
    """The token on which the example's neuron fires."""
    return example.tokens[example.position - example.window_start]


def illusion_guard(maximum: Sequence[Example], ordinary: Iterable[Example]) -> IllusionGuard | None:
    """How far the firing tokens of the maximum texts differ from those of ordinary ones; None where there are none.

    Texts that are both a maximum and a sample count on both sides. Samples are stratified: a few for each octave of
    the text's greatest activation, so that `shares` by octave says more than the distance over all of them.
    """
    ordinary = [example for example in ordinary if example.kind == "interval"]
    if not maximum or not ordinary:
        return None
    tops = Counter(family(firing_token(example)) for example in maximum)
    rest = Counter(family(firing_token(example)) for example in ordinary)
    shares = []
    for interval in sorted({example.interval for example in ordinary}, reverse=True):
        members = [example for example in ordinary if example.interval == interval]
        shared = sum(family(firing_token(example)) in tops for example in members)
        shares.append(IntervalShare(interval, len(members), shared))
    return IllusionGuard(
        n_maximum=len(maximum),
        n_ordinary=len(ordinary),
        distinct_maximum=len(tops),
        distinct_ordinary=len(rest),
        distance=_distance(tops, rest),
        predicted_distance=_distance(
            Counter(family(example.predicted) for example in maximum),
            Counter(family(example.predicted) for example in ordinary),
        ),
        shares=tuple(shares),
    )
