"""The choice of candidate pairs whose curves a page shows, and the labels of the curves."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace

from atlas.core.errors import NeuronNameError
from atlas.core.units import Token
from atlas.topics.curve import Candidate, Curve
from atlas.topics.neuron import Neuron


def choose(
    neuron: Neuron, candidates: Iterable[Candidate], token_id: int | None, best: Token | None, limit: int
) -> list[Candidate]:
    """The candidates whose curves are shown: the one asked for, the best token, exclusive pairs, the user's, then by
    |congruence|; tokens that are neither predicted nor come last.

    Raises:
        NeuronNameError: the pair asked for was not counted.
    """
    candidates = list(candidates)
    if token_id is not None and all(candidate.token.token_id != token_id for candidate in candidates):
        raise NeuronNameError(
            f"The pair of {neuron.name} and token {token_id} was not counted, so it has no curve; "
            "the pairs that were are listed on the neuron's page."
        )

    def place(candidate: Candidate) -> tuple:
        token = candidate.token
        return (token.token_id != token_id, token != best, *by_promise(candidate), token.token_id)

    return sorted(candidates, key=place)[:limit]


def by_promise(candidate: Candidate) -> tuple:
    """Sort key: exclusive pairs, the user's own, pairs that occur, then the more congruent."""
    return (
        "exclusive" not in candidate.sources,
        "user" not in candidate.sources,
        candidate.n_predicted + candidate.n_actual == 0,
        -abs(candidate.congruence),
    )


def pair_label(by: str) -> Callable[[Curve], str]:
    """What a curve is called on a chart: its 'token', its 'neuron', or the 'pair' of both."""

    def label(curve: Curve) -> str:
        token, neuron = curve.candidate.token.shown, curve.candidate.neuron.name
        return {"token": token, "neuron": neuron, "pair": f"{neuron} {token}"}[by]

    return label


def apart(curves: Iterable[tuple[str, Curve]]) -> list[Curve]:
    """Curves of several atlases, each with its slug, as one chart takes them: neurons named with their atlas, and told
    apart by ids of their own, since ids of two models have nothing to do with each other."""
    return [
        replace(
            curve,
            candidate=replace(
                curve.candidate,
                neuron=replace(curve.candidate.neuron, neuron_id=place, name=f"{slug} {curve.candidate.neuron.name}"),
            ),
        )
        for place, (slug, curve) in enumerate(curves)
    ]
