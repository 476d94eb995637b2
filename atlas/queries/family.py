"""Families of tokens: does the noise of a neuron's curve go with its best token's other spellings? Which tokens share
best neurons?"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from atlas.db import Atlas
from atlas.queries.atlas import neuron_ref
from atlas.queries.hub import neuron_occurrences
from atlas.queries.neuron import finite_edges, histogram, neuron
from atlas.queries.prediction import neuron_candidates, neuron_cells, neuron_curves
from atlas.records import CurvePoint, FamilyCurve, FamilyMember, FamilyTail, HistogramBar, KinToken

TAIL = 100
"""Positions that the tail of an activation holds at least, in whole bins."""

BEST = 5
"""Best neurons of a token that its kin share."""

SHARED = 2
"""Of those, shared at least by kin."""

_MEMBERS = """
SELECT m.token_id, t.n_predicted, t.n_actual
FROM token_family AS f JOIN token_family AS m USING (family_id) JOIN token AS t ON t.token_id = m.token_id
WHERE f.token_id = ?
ORDER BY m.token_id
"""


def family(atlas: Atlas, token_id: int) -> list[FamilyMember]:
    """The spelled family of a token by id, itself included; none: it has no such relatives.

    Raises:
        TokenError: the id is out of range.
    """
    atlas.tokens[token_id]  # raises
    return [FamilyMember(atlas.tokens[t], *counts) for t, *counts in atlas.rows(_MEMBERS, token_id)]


def has_family(atlas: Atlas, token_id: int) -> bool:
    """Whether a token has relatives that differ in spelling alone."""

    def read() -> frozenset[int]:
        return frozenset(np.asarray(atlas.arrays("SELECT token_id FROM token_family")["token_id"]).tolist())

    return token_id in atlas.remembered("tokens of families", read)


def family_curves(atlas: Atlas, neuron_id: int) -> list[FamilyCurve]:
    """Predictions of a neuron's best token (gated: then its worst) alone and with its family.

    Empty where neither has relatives.

    Raises:
        NeuronNameError: the id is out of range.
    """
    record = neuron(atlas, neuron_id)
    ends = {"top": record.best_token, "bottom": record.worst_token} if atlas.info.gated else {"top": record.best_token}
    ends = {direction: token for direction, token in ends.items() if has_family(atlas, token.token_id)}
    if not ends:
        return []
    bars, cells = histogram(atlas, neuron_id), neuron_cells(atlas, neuron_id)
    candidates = {item.token: item for item in neuron_candidates(atlas, neuron_id, cells)}
    counted: dict[int, dict[int, tuple[int, int]]] = {}
    rows = "SELECT family_id, bin, n_predicted, n_actual FROM family_histogram WHERE neuron_id = ?"
    for family_id, bin, *counts in atlas.rows(rows, neuron_id):
        counted.setdefault(family_id, {})[bin] = tuple(counts)
    found = []
    for direction, token in ends.items():
        members = family(atlas, token.token_id)
        (alone,) = neuron_curves(atlas, neuron_id, [candidates[token]], bars, cells)
        points = _points(bars, counted.get(members[0].token.token_id, {}))
        tail = _tail(alone.points, points, direction)
        ref = neuron_ref(atlas, neuron_id)
        found.append(FamilyCurve(ref, token, direction, tuple(members), alone, points, tail))
    return found


def _points(bars: Iterable[HistogramBar], cells: dict[int, tuple[int, int]]) -> tuple[CurvePoint, ...]:
    points = []
    for bar in bars:
        predicted, actual = cells.get(bar.bin, (0, 0))
        fractions = predicted / bar.n, actual / bar.n
        points.append(CurvePoint(bar.bin, *finite_edges(bar.bin), bar.n, predicted, actual, *fractions))
    return tuple(points)


def _tail(alone: tuple[CurvePoint, ...], points: tuple[CurvePoint, ...], direction: str) -> FamilyTail:
    n = n_token = n_family = 0
    both = list(zip(alone, points, strict=True))
    for own, one in both if direction == "bottom" else reversed(both):
        n, n_token, n_family = n + one.n, n_token + own.n_predicted, n_family + one.n_predicted
        edge = one.upper if direction == "bottom" else one.lower
        if n >= TAIL:
            break
    return FamilyTail(n, edge, n_token, n_family)


def kin(atlas: Atlas, token_id: int, limit: int = 20) -> list[KinToken]:
    """Tokens that share at least SHARED of their BEST best neurons with a token: most alike first, ties by id.

    Raises:
        TokenError: the id is out of range.
    """
    atlas.tokens[token_id]  # raises
    lists, weights, totals = atlas.remembered_large("best neurons of tokens", lambda: _best(atlas))
    own = lists[token_id]
    shared = np.any([lists == one for one in own], axis=0)
    common = (weights[lists] * shared).sum(axis=1)
    both = totals[token_id] + totals - common
    likeness = np.divide(common, both, out=np.zeros_like(common), where=both > 0)
    enough = (shared.sum(axis=1) >= SHARED) & (likeness > 0)
    enough[token_id] = False
    others = np.flatnonzero(enough)
    relatives = {member.token.token_id for member in family(atlas, token_id)}
    return [
        KinToken(
            atlas.tokens[other],
            float(likeness[other]),
            tuple(neuron_ref(atlas, n) for n in own.tolist() if n in lists[other]),
            other in relatives,
        )
        for other in others[np.lexsort((others, -likeness[others]))][:limit].tolist()
    ]


def _best(atlas: Atlas) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The best neurons of every token, [token, rank]; the weight of every neuron; the sum of weights of each list."""
    d_vocab, k = atlas.info.d_vocab, min(BEST, atlas.info.top_neurons)
    found = atlas.arrays(
        "SELECT neuron_id FROM token_neuron WHERE direction = 'top' AND rank <= ? ORDER BY token_id, rank", k
    )
    lists = np.asarray(found["neuron_id"]).reshape(d_vocab, -1)
    weights = np.log(d_vocab / np.maximum(neuron_occurrences(atlas, k), 1))
    return lists, weights, weights[lists].sum(axis=1)
