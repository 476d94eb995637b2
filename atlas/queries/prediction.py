"""Candidate pairs and their curves: is the token predicted where the neuron fires?"""

from __future__ import annotations

from collections.abc import Iterable

from atlas.db import Atlas
from atlas.queries.atlas import neuron_ref
from atlas.queries.neuron import finite_edges, histogram
from atlas.records import Candidate, Curve, CurvePoint, HistogramBar

_CANDIDATES = """
SELECT c.neuron_id, c.token_id, c.congruence, c.source, coalesce(p.n_predicted, 0), coalesce(p.n_actual, 0)
FROM (SELECT * FROM candidate_pair WHERE {key} = ?) AS c
LEFT JOIN (
    SELECT neuron_id, token_id, sum(n_predicted)::BIGINT AS n_predicted, sum(n_actual)::BIGINT AS n_actual
    FROM prediction_histogram WHERE {key} = ? GROUP BY ALL
) AS p USING (neuron_id, token_id)
ORDER BY c.congruence DESC, c.neuron_id, c.token_id
"""


def _candidates(atlas: Atlas, key: str, value: int) -> list[Candidate]:
    return [
        Candidate(neuron_ref(atlas, n), atlas.tokens[t], congruence, tuple(source.split(",")), predicted, actual)
        for n, t, congruence, source, predicted, actual in atlas.rows(_CANDIDATES.format(key=key), value, value)
    ]


def neuron_candidates(atlas: Atlas, neuron_id: int) -> list[Candidate]:
    """The pairs of a neuron that were counted, highest congruence first, with their totals over all bins."""
    return _candidates(atlas, "neuron_id", neuron_id)


def token_candidates(atlas: Atlas, token_id: int) -> list[Candidate]:
    """The pairs of a token that were counted, highest congruence first, with their totals over all bins."""
    return _candidates(atlas, "token_id", token_id)


def _curve(candidate: Candidate, bars: Iterable[HistogramBar], cells: dict[int, tuple[int, int]]) -> Curve:
    points = []
    for bar in bars:
        predicted, actual = cells.get(bar.bin, (0, 0))
        points.append(
            CurvePoint(bar.bin, *finite_edges(bar.bin), bar.n, predicted, actual, predicted / bar.n, actual / bar.n)
        )
    return Curve(candidate, tuple(points))


def neuron_curves(
    atlas: Atlas, neuron_id: int, candidates: Iterable[Candidate], bars: Iterable[HistogramBar]
) -> list[Curve]:
    """Curves of some of a neuron's candidates, in their order; `bars` is the neuron's histogram."""
    cells: dict[int, dict[int, tuple[int, int]]] = {}
    for token_id, bin, predicted, actual in atlas.rows(
        "SELECT token_id, bin, n_predicted, n_actual FROM prediction_histogram WHERE neuron_id = ?", neuron_id
    ):
        cells.setdefault(token_id, {})[bin] = (predicted, actual)
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
