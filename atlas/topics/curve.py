"""Activation histograms, prediction curves of candidate pairs, and thresholds on them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache

from atlas.core.bins import bin_edges
from atlas.core.call import OF_NEURON, OF_TOKEN, call
from atlas.core.db import Atlas
from atlas.core.display import show_range
from atlas.core.errors import PairError
from atlas.core.parameter import NeuronId, TokenId
from atlas.core.statements import Statement
from atlas.core.term import BEST_PAIR, POST, Term
from atlas.core.units import NeuronRef, Token, neuron_ref
from atlas.topics.neuron import HISTOGRAM
from atlas.topics.pair import ExclusivePair


@dataclass(frozen=True)
class HistogramBar:
    """Counted positions `n` at which lower <= activation < upper; None is an open end."""

    TABLE = "activation_histogram"

    bin: int
    lower: float | None
    upper: float | None
    n: int

    @property
    def range(self) -> str:
        """The bar's range in words."""
        return show_range(self.lower, self.upper)


@dataclass(frozen=True)
class CurvePoint:
    """One bin of a curve: of its `n` positions, how many predict the token and how many are followed by it."""

    TABLE = "prediction_curve"

    bin: int
    lower: float | None
    upper: float | None
    n: int
    n_predicted: int
    n_actual: int
    predicted_fraction: float
    actual_fraction: float

    @property
    def range(self) -> str:
        """The bin's range in words."""
        return show_range(self.lower, self.upper)


@dataclass(frozen=True)
class Candidate:
    """A pair whose predictions were counted, and the reason: 'neuron_top', 'token_bottom', 'exclusive', 'user', ..."""

    TABLE = "candidate_pair"

    neuron: NeuronRef
    token: Token
    congruence: float
    sources: tuple[str, ...]
    n_predicted: int
    n_actual: int


@dataclass(frozen=True)
class Curve:
    """Proportion predicted and actual against activation for one candidate pair, bins in order of activation."""

    candidate: Candidate
    points: tuple[CurvePoint, ...]


_CANDIDATES = """SELECT /*+n.name AS neuron, t."text" AS token, */c.congruence, c.source, /*+t.n_predicted, t.n_actual,
       */c.neuron_id, c.token_id/*+,
       m.auroc_predicted AS auroc, m.average_precision_predicted AS average_precision, e.probability_change AS ablated*/
FROM candidate_pair AS c/*+
JOIN neuron AS n USING (neuron_id)
JOIN token AS t USING (token_id)
LEFT JOIN pair_metric AS m ON m.neuron_id = c.neuron_id AND m.token_id = c.token_id
    AND m.side = CASE WHEN c.congruence < 0 AND (SELECT gated FROM atlas) THEN 'negative' ELSE 'positive' END
LEFT JOIN pair_effect AS e ON e.neuron_id = m.neuron_id AND e.token_id = m.token_id AND e.side = m.side*/
WHERE c.{unit} = ${unit}/*+
ORDER BY c.congruence DESC, c.neuron_id, c.token_id*/"""

NEURON_CANDIDATES = Statement(_CANDIDATES.format(unit="neuron_id"), each="c.neuron_id")
TOKEN_CANDIDATES = Statement(_CANDIDATES.format(unit="token_id"), each="c.token_id")

CURVES = Statement("""SELECT neuron, token, lower, upper, n, n_predicted, n_actual, predicted_fraction, actual_fraction
FROM prediction_curve
WHERE neuron_id IN (SELECT unnest($neuron_ids)) AND token_id IN (SELECT unnest($token_ids))
  AND list_contains($pairs, [neuron_id, token_id])
ORDER BY list_position($pairs, [neuron_id, token_id]), bin""")
"""Curves of pairs [neuron_id, token_id], in their order; pages use point lookups instead, which cost less."""


def of_pairs(candidates: Iterable[Candidate]) -> dict[str, list]:
    """The parameters of CURVES for some pairs."""
    pairs = [[candidate.neuron.neuron_id, candidate.token.token_id] for candidate in candidates]
    neurons, tokens = ([*dict.fromkeys(pair[place] for pair in pairs)] for place in (0, 1))
    return {"neuron_ids": neurons, "token_ids": tokens, "pairs": pairs}


@call(OF_NEURON + "/candidates", python='demo.neuron("{neuron}").candidates()', title="counted pairs")
def neuron_candidates(atlas: Atlas, neuron_id: NeuronId) -> list[Candidate]:
    """The pairs of a neuron whose predictions were counted, the most congruent first."""
    return _candidates(atlas, NEURON_CANDIDATES.rows(atlas, neuron_id=neuron_id))


@call(OF_TOKEN + "/candidates", python="demo.token({token}).candidates()", title="counted pairs")
def token_candidates(atlas: Atlas, token_id: TokenId) -> list[Candidate]:
    """The pairs of a token whose predictions were counted, the most congruent first.

    Raises:
        TokenError: the id is out of range.
    """
    atlas.tokens[token_id]  # raises
    return _candidates(atlas, TOKEN_CANDIDATES.rows(atlas, token_id=token_id))


def _candidates(atlas: Atlas, rows: Iterable[tuple]) -> list[Candidate]:
    # A pair's totals over all bins are the token's own: every counted position is in some bin of a neuron.
    sql = "SELECT n_predicted, n_actual FROM token ORDER BY token_id"
    totals = atlas.shared("counts of tokens", lambda: atlas.arrays(sql).items())
    return [
        Candidate(
            neuron_ref(atlas, neuron_id),
            atlas.tokens[token_id],
            congruence,
            tuple(source.split(",")),
            int(totals["n_predicted"][token_id]),
            int(totals["n_actual"][token_id]),
        )
        for congruence, source, neuron_id, token_id in sorted(rows, key=lambda row: (-row[0], *row[2:]))
    ]


def curve_point(bin: int, n: int, n_predicted: int, n_actual: int) -> CurvePoint:
    """A point of a curve from the counts of a bin."""
    return CurvePoint(bin, *finite_edges(bin), n, n_predicted, n_actual, n_predicted / n, n_actual / n)


def _curve(candidate: Candidate, bars: Iterable[HistogramBar], cells: Mapping[int, Sequence[int]]) -> Curve:
    return Curve(candidate, tuple(curve_point(bar.bin, bar.n, *cells.get(bar.bin, (0, 0))) for bar in bars))


_CELLS = Statement(
    "SELECT token_id, bin, n_predicted, n_actual FROM prediction_histogram WHERE neuron_id = $neuron_id",
    each="neuron_id",
)


def neuron_curves(
    atlas: Atlas, neuron_id: int, candidates: Iterable[Candidate], bars: Sequence[HistogramBar]
) -> list[Curve]:
    """Curves of some of a neuron's candidates, in their order, from one lookup; `bars` is the neuron's histogram."""
    cells: dict[int, dict[int, tuple[int, int]]] = {}
    for token_id, bin, predicted, actual in _CELLS.rows(atlas, neuron_id=neuron_id):
        cells.setdefault(token_id, {})[bin] = (predicted, actual)
    return [_curve(candidate, bars, cells.get(candidate.token.token_id, {})) for candidate in candidates]


@call(OF_NEURON + "/curves/{token}", name="curve", python='demo.neuron("{neuron}").curve({token})')
def neuron_curve(atlas: Atlas, neuron_id: NeuronId, token_id: TokenId) -> Curve:
    """How many positions in each bin of a neuron's activation predict a token, and how many are followed by it.

    Raises:
        TokenError: the id is out of range.
        PairError: the pair was not counted.
    """
    token = atlas.tokens[token_id]
    for candidate in neuron_candidates(atlas, neuron_id):
        if candidate.token == token:
            return neuron_curves(atlas, neuron_id, [candidate], histogram(atlas, neuron_id))[0]
    raise PairError(
        f"The pair of {neuron_ref(atlas, neuron_id).name} and token {token_id} was not counted, so it has no curve; "
        "expected one of the neuron's candidates."
    )


_CELLS_OF = Statement("""SELECT neuron_id, token_id, bin, n_predicted, n_actual
FROM prediction_histogram
WHERE neuron_id IN (SELECT unnest($neuron_ids)) AND token_id IN (SELECT unnest($token_ids))""")

_BARS_OF = Statement("""SELECT neuron_id, bin, n
FROM activation_histogram
WHERE neuron_id IN (SELECT unnest($neuron_ids))
ORDER BY neuron_id, bin""")


def token_curves(atlas: Atlas, candidates: Iterable[Candidate]) -> list[Curve]:
    """Curves of some candidates, in their order, from two lookups."""
    candidates = list(candidates)
    ids = of_pairs(candidates)
    cells: dict[tuple[int, int], dict[int, Sequence[int]]] = {}
    rows = _CELLS_OF.rows(atlas, neuron_ids=ids["neuron_ids"], token_ids=ids["token_ids"]) if candidates else ()
    for neuron_id, token_id, bin, *counts in rows:
        cells.setdefault((neuron_id, token_id), {})[bin] = counts
    bars: dict[int, list[HistogramBar]] = {}
    for neuron_id, bin, n in _BARS_OF.rows(atlas, neuron_ids=ids["neuron_ids"]) if candidates else ():
        bars.setdefault(neuron_id, []).append(HistogramBar(bin, *finite_edges(bin), n))
    return [
        _curve(candidate, bars.get(neuron_id, []), cells.get((neuron_id, candidate.token.token_id), {}))
        for candidate in candidates
        for neuron_id in (candidate.neuron.neuron_id,)
    ]


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


@cache
def finite_edges(bin: int) -> tuple[float | None, float | None]:
    """Edges of a bin with None for an open end."""
    lower, upper = bin_edges(bin)
    return (None if math.isinf(lower) else lower), (None if math.isinf(upper) else upper)


@call(OF_NEURON + "/histogram", python='demo.neuron("{neuron}").histogram()', title="activation")
def histogram(atlas: Atlas, neuron_id: NeuronId) -> list[HistogramBar]:
    """Distribution of a neuron's activation: the non-empty bins, in order of activation."""
    bars = [HistogramBar(bin, *finite_edges(bin), n) for n, bin in HISTOGRAM.rows(atlas, neuron_id=neuron_id)]
    return sorted(bars, key=lambda bar: bar.bin)


BEST_CURVE = (
    BEST_PAIR.rstrip()
    + """, curve AS (
    SELECT b.bin, b.lower, b.upper, h.n, coalesce(p.n_predicted, 0) AS n_predicted, coalesce(p.n_actual, 0) AS n_actual
    FROM best
    JOIN activation_histogram AS h USING (neuron_id)
    JOIN histogram_bin AS b USING (bin)
    LEFT JOIN prediction_histogram AS p
        ON p.neuron_id = best.neuron_id AND p.token_id = best.token_id AND p.bin = h.bin
)
"""
)


TERMS = (
    Term(
        "Activation histogram",
        "histogram",
        "How often a neuron's activation falls in each bin. Bins are the same for all neurons, four an octave, from a "
        "float's own bits: one bin for magnitudes below 1/64, the outermost (512 and more) open.",
        BEST_PAIR + "SELECT b.lower, b.upper, h.n\n"
        "FROM activation_histogram AS h JOIN histogram_bin AS b USING (bin)\n"
        "WHERE h.neuron_id = (SELECT neuron_id FROM best) ORDER BY b.bin DESC LIMIT 3",
    ),
    Term(
        "Candidate pair",
        "candidate",
        "A neuron and a token whose predictions were counted: each neuron's K best tokens, each token's K best "
        "neurons (in gated models the worst too), all exclusive pairs, and those the user asked for. Pairs that are "
        "not candidates have no curve.",
        "SELECT count(*) AS candidates, any_value(pair_candidates) AS k FROM candidate_pair, atlas",
    ),
    Term(
        "Prediction curve",
        "prediction-curve",
        "For a candidate pair: in each bin of the neuron's activation, the fraction of positions at which the token is "
        "predicted, and after which it comes next. If firing goes with the prediction, the curve rises.",
        BEST_CURVE + "SELECT lower, upper, n, n_predicted / n AS predicted_fraction, n_actual / n AS actual_fraction\n"
        "FROM curve ORDER BY bin DESC LIMIT 3",
        POST,
    ),
)
