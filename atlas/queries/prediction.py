"""Candidate pairs and their curves: is the token predicted where the neuron fires?"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from atlas.db import Atlas
from atlas.queries.atlas import neuron_ref
from atlas.queries.neuron import finite_edges, histogram
from atlas.records import Candidate, Curve, CurvePoint, ExclusivePair, HistogramBar

Cells = Mapping[int, Mapping[int, tuple[int, int]]]
"""By token: by bin: how often it was predicted, and how often it came. Empty cells are left out."""

_TOKEN_CANDIDATES = """
SELECT c.neuron_id, c.congruence, c.source, coalesce(p.n_predicted, 0), coalesce(p.n_actual, 0)
FROM (SELECT * FROM candidate_pair WHERE token_id = $1) AS c
LEFT JOIN (
    SELECT neuron_id, sum(n_predicted)::BIGINT AS n_predicted, sum(n_actual)::BIGINT AS n_actual
    FROM prediction_histogram WHERE token_id = $1 GROUP BY ALL
) AS p USING (neuron_id)
ORDER BY c.congruence DESC, c.neuron_id
"""


def neuron_cells(atlas: Atlas, neuron_id: int) -> Cells:
    """What was counted of a neuron's pairs: one lookup for its candidates' totals and all its curves."""
    cells: dict[int, dict[int, tuple[int, int]]] = {}
    sql = "SELECT token_id, bin, n_predicted, n_actual FROM prediction_histogram WHERE neuron_id = ?"
    for token_id, bin, predicted, actual in atlas.rows(sql, neuron_id):
        cells.setdefault(token_id, {})[bin] = (predicted, actual)
    return cells


def neuron_candidates(atlas: Atlas, neuron_id: int, cells: Cells | None = None) -> list[Candidate]:
    """The pairs of a neuron that were counted, highest congruence first, with their totals over all bins.

    `cells` is what was counted of them, if it has been read.
    """
    cells = neuron_cells(atlas, neuron_id) if cells is None else cells
    neuron = neuron_ref(atlas, neuron_id)
    found = []
    sql = "SELECT token_id, congruence, source FROM candidate_pair WHERE neuron_id = ?"
    for token_id, congruence, source in atlas.rows(sql, neuron_id):
        counts = cells.get(token_id, {}).values()
        predicted, actual = sum(p for p, _ in counts), sum(a for _, a in counts)
        found.append(Candidate(neuron, atlas.tokens[token_id], congruence, tuple(source.split(",")), predicted, actual))
    return sorted(found, key=lambda candidate: (-candidate.congruence, candidate.token.token_id))


def token_candidates(atlas: Atlas, token_id: int) -> list[Candidate]:
    """The pairs of a token that were counted, highest congruence first, with their totals over all bins."""
    token = atlas.tokens[token_id]
    return [
        Candidate(neuron_ref(atlas, neuron_id), token, congruence, tuple(source.split(",")), predicted, actual)
        for neuron_id, congruence, source, predicted, actual in atlas.rows(_TOKEN_CANDIDATES, token_id)
    ]


def _curve(candidate: Candidate, bars: Iterable[HistogramBar], cells: Mapping[int, tuple[int, int]]) -> Curve:
    points = []
    for bar in bars:
        predicted, actual = cells.get(bar.bin, (0, 0))
        points.append(
            CurvePoint(bar.bin, *finite_edges(bar.bin), bar.n, predicted, actual, predicted / bar.n, actual / bar.n)
        )
    return Curve(candidate, tuple(points))


def neuron_curves(
    atlas: Atlas,
    neuron_id: int,
    candidates: Iterable[Candidate],
    bars: Iterable[HistogramBar],
    cells: Cells | None = None,
) -> list[Curve]:
    """Curves of some of a neuron's candidates, in their order; `bars` is the neuron's histogram, `cells` what was
    counted of its pairs, if it has been read."""
    cells = neuron_cells(atlas, neuron_id) if cells is None else cells
    bars = list(bars)
    return [_curve(candidate, bars, cells.get(candidate.token.token_id, {})) for candidate in candidates]


def token_curves(atlas: Atlas, candidates: Iterable[Candidate]) -> list[Curve]:
    """Curves of some of a token's candidates, in their order: two point lookups for each."""
    curves = []
    for candidate in candidates:
        neuron_id, token_id = candidate.neuron.neuron_id, candidate.token.token_id
        cells = atlas.rows(
            "SELECT bin, n_predicted, n_actual FROM prediction_histogram WHERE neuron_id = ? AND token_id = ?",
            neuron_id,
            token_id,
        )
        curves.append(_curve(candidate, histogram(atlas, neuron_id), {bin: (p, a) for bin, p, a in cells}))
    return curves


def pair_curves(atlas: Atlas, pairs: Iterable[ExclusivePair]) -> list[Curve]:
    """Curves of exclusive pairs, in their order: every exclusive pair is counted."""
    sql = "SELECT source FROM candidate_pair WHERE neuron_id = ? AND token_id = ?"
    candidates = []
    for pair in pairs:
        source = atlas.rows(sql, pair.neuron.neuron_id, pair.token.token_id)[0][0]
        # A pair's totals over all bins are the token's own: every counted position is in some bin.
        totals = (pair.n_predicted, pair.n_actual)
        candidates.append(Candidate(pair.neuron, pair.token, pair.congruence, tuple(source.split(",")), *totals))
    return token_curves(atlas, candidates)
