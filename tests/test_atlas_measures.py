"""Intervals, thresholds, the illusion guard and likeness, against plain computations."""

from __future__ import annotations

import math
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atlas.core.bins import ZERO_BIN
from atlas.core.stats import wilson
from atlas.core.units import NeuronRef, Token
from atlas.topics.curve import Candidate, Curve, CurvePoint, finite_edges, histogram, neuron_candidates, neuron_curves
from atlas.topics.example import Example, family, group_alike, illusion_guard
from atlas.topics.threshold import thresholds


@given(st.integers(1, 10**7).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilsons_interval_solves_its_equation(pair):
    k, n = pair
    low, high = wilson(k, n)
    p = k / n
    assert 0 <= low <= p <= high <= 1
    for edge in (low, high):
        # The score test: |p - edge| is z standard errors of a proportion `edge`; or the edge is cut at 0 or 1.
        if 0 < edge < 1:
            z = abs(p - edge) / math.sqrt(edge * (1 - edge) / n)
            assert z == pytest.approx(1.959963984540054, rel=1e-5)
        else:
            assert (edge, k) in ((0.0, 0), (1.0, n))


def test_wilson_of_published_values():
    # Newcombe 1998, Statistics in Medicine 17:857, table I, method 3.
    published = {
        (81, 263): (0.2553, 0.3662),
        (15, 148): (0.0624, 0.1605),
        (0, 20): (0, 0.1611),
        (1, 29): (0.0061, 0.1718),
    }
    for (k, n), interval in published.items():
        assert wilson(k, n) == pytest.approx(interval, abs=5e-5)
    assert wilson(0, 0) == (0.0, 1.0)


def token(token_id: int, text: str | None) -> Token:
    return Token(token_id, text, None if text is None else text.encode(), False)


def made_curve(cells: list[tuple[int, int, int, int]]) -> Curve:
    candidate = Candidate(NeuronRef(7, 0, 7, "L0N7"), token(1, " an"), 1.0, ("user",), 0, 0)
    points = [CurvePoint(b, *finite_edges(b), n, p, a, p / n, a / n) for b, n, p, a in cells]
    return Curve(candidate, tuple(points))


cell = st.integers(1, 50).flatmap(lambda n: st.tuples(st.just(n), st.integers(0, n), st.integers(0, n)))
curves = st.dictionaries(st.integers(0, 2 * ZERO_BIN), cell, min_size=1).map(
    lambda cells: made_curve([(b, *cells[b]) for b in sorted(cells)])
)


@given(curves, st.sampled_from(["above", "below"]))
def test_thresholds_count_what_lies_beyond(curve, side):
    found = thresholds(curve, side)
    edges = [t.edge for t in found]
    assert edges == sorted(edges, reverse=side == "above")
    n_all = sum(point.n for point in curve.points)
    predicted_all = sum(point.n_predicted for point in curve.points)
    for threshold in found:
        beyond = [
            point
            for point in curve.points
            if (
                point.lower is not None and point.lower >= threshold.edge
                if side == "above"
                else point.upper is not None and point.upper <= threshold.edge
            )
        ]
        assert threshold.n == sum(point.n for point in beyond)
        hits = sum(point.n_predicted for point in beyond)
        assert threshold.n_predicted == hits
        assert Fraction(threshold.precision).limit_denominator(10**6) == Fraction(hits, threshold.n)
        assert threshold.actual_precision == sum(point.n_actual for point in beyond) / threshold.n
        if predicted_all:
            assert threshold.recall == hits / predicted_all
            assert threshold.lift == pytest.approx(hits * n_all / (threshold.n * predicted_all))
        else:
            assert (threshold.recall, threshold.lift) == (None, None)
    sign = 1 if side == "above" else -1
    outer = [p for p in curve.points if (p.lower if side == "above" else p.upper) is not None]
    assert len(found) == sum(sign * (p.lower if side == "above" else p.upper) > 0 for p in outer)


def made_example(kind: str, texts: list[str], peak: int, rank: int = 1, interval: int | None = None) -> Example:
    tokens = tuple(token(int.from_bytes(text.encode(), "big"), text) for text in texts)
    return Example(kind, interval, rank, rank, peak, 1.0, token(3, " then"), None, 0, len(texts), tokens, (0.0,) * 9)


def test_the_illusion_guard():
    maximum = [made_example("max", ["a", " An"], 1), made_example("max", ["a", "an"], 1, 2)]
    ordinary = [
        made_example("interval", ["x", " an"], 1, interval=4),
        made_example("interval", ["x", " the"], 1, interval=4),
        made_example("interval", ["x", " of"], 1, interval=2),
        made_example("interval", ["x", " to"], 1, interval=2),
    ]
    guard = illusion_guard(maximum, maximum + ordinary)
    assert (guard.n_maximum, guard.n_ordinary, guard.distinct_maximum, guard.distinct_ordinary) == (2, 4, 1, 4)
    assert guard.distance == pytest.approx(0.75)  # they share a quarter of the ordinary ones
    assert guard.predicted_distance == pytest.approx(0)
    assert [(share.interval, share.n, share.n_shared) for share in guard.shares] == [(4, 2, 1), (2, 2, 0)]
    assert illusion_guard([], ordinary) is None
    assert illusion_guard(maximum, maximum) is None
    assert family(token(9, " ")) == family(token(9, None)) == "#9"


def test_texts_alike_are_shown_once():
    one = made_example("max", list("abcdefghijk"), 10, 1)
    other_start = made_example("max", [*"zz", *"cdefghijk"], 10, 2)
    other_end = made_example("max", [*"abcdefghi", "x", "k"], 10, 3)
    eighth_before = made_example("max", [*"abz", *"defghijk"], 10, 4)
    groups = group_alike([one, other_start, other_end, eighth_before])
    assert [group.shown for group in groups] == [one, other_end, eighth_before]
    assert groups[0].alike == (other_start,)


def test_thresholds_of_an_atlas(both):
    atlas, connection = both
    for neuron_id in (5, 60, 100):
        bars = histogram(atlas, neuron_id)
        for curve in neuron_curves(atlas, neuron_id, neuron_candidates(atlas, neuron_id), bars):
            for threshold in thresholds(curve, "above"):
                n = connection.execute(
                    "SELECT sum(h.n) FROM activation_histogram h JOIN histogram_bin b USING (bin) "
                    "WHERE neuron_id = ? AND b.lower >= ?",
                    [neuron_id, threshold.edge],
                ).fetchone()[0]
                assert threshold.n == n
