"""Candidate pairs and their curves: is the token predicted where the neuron fires?"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from atlas.core.statements import Statement
from atlas.db import Atlas
from atlas.queries.atlas import neuron_ref
from atlas.queries.neuron import finite_edges, histogram
from atlas.records import Candidate, Curve, CurvePoint, ExclusivePair, HistogramBar

# A pair's totals over all bins are the token's own: every counted position is in some bin of a neuron.
_CANDIDATES = """SELECT /*+n.name AS neuron, t."text" AS token, */c.congruence, c.source, t.n_predicted, t.n_actual,
       c.neuron_id, c.token_id/*+,
       m.auroc_predicted AS auroc, m.average_precision_predicted AS average_precision, e.probability_change AS ablated*/
FROM candidate_pair AS c
JOIN token AS t USING (token_id)/*+
JOIN neuron AS n USING (neuron_id)
LEFT JOIN pair_metric AS m ON m.neuron_id = c.neuron_id AND m.token_id = c.token_id
    AND m.side = CASE WHEN c.congruence < 0 AND (SELECT gated FROM atlas) THEN 'negative' ELSE 'positive' END
LEFT JOIN pair_effect AS e ON e.neuron_id = m.neuron_id AND e.token_id = m.token_id AND e.side = m.side*/
WHERE c.{unit} = ${unit}
ORDER BY c.congruence DESC, c.neuron_id, c.token_id"""

NEURON_CANDIDATES = Statement(_CANDIDATES.format(unit="neuron_id"))
TOKEN_CANDIDATES = Statement(_CANDIDATES.format(unit="token_id"))

CURVES = Statement("""SELECT neuron, token, lower, upper, n, n_predicted, n_actual, predicted_fraction, actual_fraction
FROM prediction_curve
WHERE neuron_id IN (SELECT unnest($neuron_ids)) AND token_id IN (SELECT unnest($token_ids))
  AND list_contains($pairs, [neuron_id, token_id])
ORDER BY list_position($pairs, [neuron_id, token_id]), bin""")
"""Curves of pairs [neuron_id, token_id], in their order; pages make them of histograms that they have read."""

_BEYOND = """SELECT sum(n) AS n, sum(n_predicted) AS n_predicted, sum(n_predicted) / sum(n) AS precision,
       sum(n_predicted) / (SELECT nullif(sum(n_predicted), 0) FROM prediction_histogram
                           WHERE neuron_id = $neuron_id AND token_id = $token_id) AS recall
FROM prediction_curve
WHERE neuron_id = $neuron_id AND token_id = $token_id AND {beyond}"""

BEYOND = {
    "above": Statement(_BEYOND.format(beyond="lower >= $edge")),
    "below": Statement(_BEYOND.format(beyond="upper <= $edge")),
}
"""What lies beyond an edge of a curve, by side; pages sum it over the curve that they have made."""


def curves_shown(pairs: Iterable[tuple[int, int]]) -> str:
    """The SQL of the curves of pairs (neuron_id, token_id), in their order."""
    pairs = [list(pair) for pair in pairs]
    neurons, tokens = ([*dict.fromkeys(pair[place] for pair in pairs)] for place in (0, 1))
    return CURVES.shown(neuron_ids=neurons, token_ids=tokens, pairs=pairs)


def neuron_candidates(atlas: Atlas, neuron_id: int) -> list[Candidate]:
    """The pairs of a neuron that were counted, highest congruence first, with their totals over all bins."""
    return [_candidate(atlas, row) for row in NEURON_CANDIDATES.rows(atlas, neuron_id=neuron_id)]


def token_candidates(atlas: Atlas, token_id: int) -> list[Candidate]:
    """The pairs of a token that were counted, highest congruence first, with their totals over all bins.

    Raises:
        TokenError: the id is out of range.
    """
    atlas.tokens[token_id]  # raises
    return [_candidate(atlas, row) for row in TOKEN_CANDIDATES.rows(atlas, token_id=token_id)]


def _candidate(atlas: Atlas, row: tuple) -> Candidate:
    congruence, source, predicted, actual, neuron_id, token_id = row
    sources = tuple(source.split(","))
    return Candidate(neuron_ref(atlas, neuron_id), atlas.tokens[token_id], congruence, sources, predicted, actual)


def curve_points(bars: Iterable[HistogramBar], cells: Mapping[int, tuple[int, int]]) -> tuple[CurvePoint, ...]:
    """A point for each bar of a neuron's histogram; `cells` are (n_predicted, n_actual) by bin."""
    points = []
    for bar in bars:
        predicted, actual = cells.get(bar.bin, (0, 0))
        points.append(
            CurvePoint(bar.bin, *finite_edges(bar.bin), bar.n, predicted, actual, predicted / bar.n, actual / bar.n)
        )
    return tuple(points)


def neuron_curves(
    atlas: Atlas, neuron_id: int, candidates: Iterable[Candidate], bars: Sequence[HistogramBar]
) -> list[Curve]:
    """Curves of some of a neuron's candidates, in their order, from one lookup; `bars` is the neuron's histogram."""
    cells: dict[int, dict[int, tuple[int, int]]] = {}
    sql = "SELECT token_id, bin, n_predicted, n_actual FROM prediction_histogram WHERE neuron_id = ?"
    for token_id, bin, predicted, actual in atlas.rows(sql, neuron_id):
        cells.setdefault(token_id, {})[bin] = (predicted, actual)
    return [Curve(item, curve_points(bars, cells.get(item.token.token_id, {}))) for item in candidates]


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
        points = curve_points(histogram(atlas, neuron_id), {bin: (p, a) for bin, p, a in cells})
        curves.append(Curve(candidate, points))
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
