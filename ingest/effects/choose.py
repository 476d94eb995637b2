"""The choice of the pairs to measure, and of their positions in stored texts."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, replace
from itertools import chain, zip_longest

from atlas.core.bins import MIN_EXPONENT
from atlas.core.db import Atlas

SIDES = ("positive", "negative")

_EXCLUSIVE = """
SELECT p.neuron_id, p.token_id, CASE WHEN a.gated AND p.congruence < 0 THEN 'negative' ELSE 'positive' END, p.congruence
FROM exclusive_pair AS p JOIN token AS t USING (token_id), atlas AS a
WHERE NOT t.special AND t.n_actual > 0
ORDER BY p.rank, p.direction DESC LIMIT ?"""

_BY_METRIC = """
SELECT m.neuron_id, m.token_id, m.side, c.congruence
FROM pair_metric AS m JOIN candidate_pair AS c USING (neuron_id, token_id) JOIN token AS t USING (token_id)
WHERE NOT t.special AND m.average_precision_predicted IS NOT NULL
ORDER BY m.average_precision_predicted DESC, m.neuron_id, m.token_id, m.side LIMIT ?"""

_FIRINGS = """
SELECT neuron_id, kind = '{extreme}' AS extreme, text_id, position, activation
FROM example JOIN neuron USING (neuron_id)
WHERE neuron_id IN ({neurons}) AND kind IN ('{extreme}', 'interval') AND {fires}
ORDER BY neuron_id, extreme DESC, abs("interval") DESC, rank"""


@dataclass(frozen=True)
class Firing:
    """A position of a stored text at which a neuron fires."""

    text_id: int
    position: int
    activation: float
    """The activation in the atlas."""


@dataclass(frozen=True)
class ChosenPair:
    """A pair to measure."""

    neuron_id: int
    token_id: int
    side: str
    """'positive' or 'negative' (gated models only): the sign of the activations that count as firing."""
    congruence: float
    chosen_by: str
    """'exclusive', 'metric' (average precision of predicting the token), or both, comma-separated."""
    firings: tuple[Firing, ...] = ()


def choose_pairs(atlas: Atlas, n: int, positions: int) -> list[ChosenPair]:
    """The `n` best exclusive pairs and the `n` best by average precision, by turns, best first, each once; special
    tokens are left out, and pairs whose neuron fires in no stored text on that side.

    A pair's positions are at most `positions` of its neuron's examples: half of the texts that fire it most, the
    others from the intervals below, which are chosen by a hash and so show ordinary behaviour. A neuron fires where its
    activation is outside the zero bin and beyond its mean, on the pair's side. The choice depends on the file alone.
    """
    pairs_by_key: dict[tuple[int, int, str], ChosenPair] = {}
    lists = [
        [ChosenPair(*row, name) for row in atlas.rows(query, n)]
        for name, query in (("exclusive", _EXCLUSIVE), ("metric", _BY_METRIC))
    ]
    for pair in filter(None, chain.from_iterable(zip_longest(*lists))):
        key = pair.neuron_id, pair.token_id, pair.side
        before = pairs_by_key.get(key)
        pairs_by_key[key] = pair if before is None else replace(before, chosen_by="exclusive,metric")
    firings = {side: _firings(atlas, side, {n for n, _, at in pairs_by_key if at == side}, positions) for side in SIDES}
    pairs = [replace(pair, firings=firings[pair.side].get(pair.neuron_id, ())) for pair in pairs_by_key.values()]
    return [pair for pair in pairs if pair.firings]


def _firings(atlas: Atlas, side: str, neurons: set[int], positions: int) -> dict[int, tuple[Firing, ...]]:
    if not neurons:
        return {}
    least = 2.0**MIN_EXPONENT
    # Not below its mean either: there, setting it to its mean would be adding.
    fires = {
        "positive": f"activation >= greatest({least}, activation_mean)",
        "negative": f"activation < least(-{least}, activation_mean)",
    }[side]
    query = _FIRINGS.format(
        extreme="max" if side == "positive" else "min", neurons=", ".join(map(str, sorted(neurons))), fires=fires
    )
    every: dict[int, dict[bool, list[Firing]]] = defaultdict(lambda: {True: [], False: []})
    for neuron, extreme, *firing in atlas.rows(query):
        every[neuron][extreme].append(Firing(*firing))
    return {neuron: _sample(kinds[True], kinds[False], positions) for neuron, kinds in every.items()}


def _sample(extreme: list[Firing], ordinary: list[Firing], positions: int) -> tuple[Firing, ...]:
    """Half of each, more of one where the other has too few; each position once."""
    there = {(firing.text_id, firing.position) for firing in extreme}
    ordinary = [firing for firing in ordinary if (firing.text_id, firing.position) not in there]
    n_ordinary = min(len(ordinary), max(positions // 2, positions - len(extreme)))
    # Evenly from every octave, strongest first: evenly spaced items of the list, which is in their order.
    step = len(ordinary) / n_ordinary if n_ordinary else 1
    chosen = [ordinary[int(i * step)] for i in range(n_ordinary)]
    return (*extreme[: positions - len(chosen)], *chosen)
