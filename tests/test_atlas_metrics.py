"""Pair metrics against plain loops over raw activations, and within the bounds that bins leave."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import duckdb
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from atlas.core.errors import QueryError
from atlas.core.stats import wilson, wilson_interval
from atlas.core.units import Bound
from atlas.topics.pair_metric import table
from atlas.topics.pair_metric.measures import auroc, average_precision, harmonic_difference, pooled, top_share
from atlas.topics.pair_metric.ranked import (
    METRIC_SORTS,
    MetricFilter,
    PairMetric,
    neuron_metrics,
    ranked_metrics,
    token_metrics,
)
from atlas.topics.pair_metric.table import COLUMNS, MIN_SUPPORT, OUTCOMES, Cells, metric_rows, metric_sides
from tests import brute as bf

EDGES = bf.edges()
SMALL = 2.0**-6


@dataclass(frozen=True)
class Sample:
    """Raw activations of one neuron, and two outcomes, position by position."""

    activation: list[float]
    predicted: list[bool]
    actual: list[bool]


def score_of(activation: float, side: str, gated: bool) -> float:
    """What the schema says a position's score is."""
    if not gated:
        return activation
    if side == "positive":
        return activation if activation >= SMALL else 0.0
    return -activation if activation < -SMALL else 0.0


def exact_auroc(scores: list[float], outcome: list[bool]) -> float:
    """Share of pairs of a position with and one without in which the first scores higher, ties half."""
    hits = [score for score, hit in zip(scores, outcome, strict=True) if hit]
    misses = [score for score, hit in zip(scores, outcome, strict=True) if not hit]
    won = sum(1.0 if one > other else 0.5 if one == other else 0.0 for one in hits for other in misses)
    return won / (len(hits) * len(misses))


def exact_average_precision(scores: list[float], outcome: list[bool]) -> float:
    """Mean over positions with the outcome of the precision at their own score, those that tie with it included."""
    ranked = sorted(zip(scores, outcome, strict=True), reverse=True)
    precisions, above, hits_above = [], 0, 0
    for _, group in itertools.groupby(ranked, key=lambda position: position[0]):
        tied = [hit for _, hit in group]
        above, hits_above = above + len(tied), hits_above + sum(tied)
        precisions += [hits_above / above] * sum(tied)
    return math.fsum(precisions) / len(precisions)


def top_hits(scores: list[float], outcome: list[bool], k: int, hits_first: bool) -> float:
    """Proportion of the outcome among the k of highest score, ties for or against it."""
    order = sorted(range(len(scores)), key=lambda i: (-scores[i], outcome[i] != hits_first))
    return sum(outcome[i] for i in order[:k]) / k


def curve_levels(sample: Sample, outcome: list[bool], side: str, gated: bool) -> list[tuple[float, int, int]]:
    """(score standing for the level, positions, hits) by rising score; the silent level is one."""
    cells: dict[float, list[int]] = {}
    for activation, bin, hit in zip(sample.activation, bf.bins_of(np.array(sample.activation)), outcome, strict=True):
        lower, upper = EDGES[bin]
        middle = upper if math.isinf(lower) else lower if math.isinf(upper) else (lower + upper) / 2
        if gated and score_of(activation, side, gated) == 0:
            middle = 0.0
        cell = cells.setdefault(middle if side == "positive" else -middle, [0, 0])
        cell[0] += 1
        cell[1] += hit
    return [(score, n, hits) for score, (n, hits) in sorted(cells.items())]


def exact_information(levels: list[tuple[float, int, int]]) -> float:
    total, found = sum(n for _, n, _ in levels), sum(hits for *_, hits in levels)
    bits = 0.0
    for _, n, hits in levels:
        for part, of_all in ((hits, found), (n - hits, total - found)):
            if part:
                bits += part / total * math.log2(part * total / (n * of_all))
    return bits


def exact_slope(levels: list[tuple[float, int, int]]) -> float | None:
    points = [(score, float(i < hits)) for score, n, hits in levels for i in range(n)]
    mean_x, mean_y = (sum(values) / len(points) for values in zip(*points, strict=True))
    spread = sum((x - mean_x) ** 2 for x, _ in points)
    return sum((x - mean_x) * (y - mean_y) for x, y in points) / spread if len(levels) > 1 else None


def exact_monotonicity(levels: list[tuple[float, int, int]]) -> float | None:
    """Isotonic regression by its max-min formula."""
    total, found = sum(n for _, n, _ in levels), sum(hits for *_, hits in levels)

    positions, of_them = ([0, *itertools.accumulate(level[place] for level in levels)] for place in (1, 2))

    def mean(first: int, last: int) -> float:
        return (of_them[last + 1] - of_them[first]) / (positions[last + 1] - positions[first])

    between = rise = 0.0
    for i, (_, n, hits) in enumerate(levels):
        fitted = max(min(mean(a, b) for b in range(i, len(levels))) for a in range(i + 1))
        between += n * (hits / n - found / total) ** 2
        rise += n * (fitted - found / total) ** 2
    return rise / between if between > 1e-9 else None


def best_cut(sample: Sample, outcome: list[bool], side: str, gated: bool) -> tuple[float, float, float, float] | None:
    """(threshold, F1, precision, recall) of the best finite bin edge that parts the positions, the strongest of
    equals."""
    cuts = [lower for lower, _ in EDGES if math.isfinite(lower)]
    if gated:
        cuts = [cut for cut in cuts if (cut > 0 if side == "positive" else cut < 0)]
    best = None
    for cut in sorted(cuts, reverse=side == "positive"):
        said = [a >= cut if side == "positive" else a < cut for a in sample.activation]
        if 0 < sum(said) < len(said):
            right = sum(s and o for s, o in zip(said, outcome, strict=True))
            f1 = 2 * right / (sum(said) + sum(outcome))
            if best is None or f1 > best[1] + 1e-12:
                best = (cut, f1, right / sum(said), right / sum(outcome))
    return best


def check(row: dict[str, object], sample: Sample, side: str, gated: bool, outcome_name: str, least: int) -> bool:
    """Everything that a row says of one outcome; whether it said anything."""
    outcome = getattr(sample, outcome_name)
    total, found = len(outcome), sum(outcome)
    bins = bf.bins_of(np.array(sample.activation)).tolist()
    active = [i for i in bins if (i > 61 if side == "positive" else i < 61)]
    assert (row["n_positions"], row["n_active"], row[f"n_{outcome_name}"]) == (total, len(active), found)
    top = (max(active) if side == "positive" else min(active)) if active else None
    assert (row["top_bin"], row["top_bin_n"]) == ((top, active.count(top)) if active else (None, None))
    assert row[f"base_rate_{outcome_name}"] == pytest.approx(found / total, rel=1e-6)
    of_outcome = [name for name in COLUMNS if outcome_name in name and "base_rate" not in name]
    if min(found, total - found, len(active)) < least:
        assert all(row[name] is None for name in of_outcome)
        return False

    def said(name: str) -> float:
        return row[name.format(outcome_name)]

    def near(value: float | None, name: str) -> None:
        expected = None if value is None else pytest.approx(value, rel=1e-5, abs=1e-6)
        assert said(name) == expected, name

    def within(value: float, middle: str) -> None:
        low, high = said(f"{middle}_lower"), said(f"{middle}_upper")
        assert low - 1e-9 <= value <= high + 1e-9, (middle, low, value, high)
        assert low <= said(middle) <= high

    scores = [score_of(a, side, gated) for a in sample.activation]
    assert abs(exact_auroc(scores, outcome) - said("auroc_{}")) <= said("auroc_{}_error") + 1e-9
    within(exact_average_precision(scores, outcome), "average_precision_{}")
    k = math.ceil(total / 1000)
    for hits_first in (False, True):
        within(top_hits(scores, outcome, k, hits_first), "top_thousandth_{}")
    near(said("top_thousandth_{}") / (found / total), "lift_{}")
    cut = best_cut(sample, outcome, side, gated)
    names = ("best_threshold_{}", "best_f1_{}", "precision_{}", "recall_{}")
    for value, name in zip(cut or (None,) * 4, names, strict=True):
        near(value, name)
    if cut is not None:
        beyond = sum(a >= cut[0] if side == "positive" else a < cut[0] for a in sample.activation)
        for value, name in zip(wilson(round(cut[2] * beyond), beyond), ("low", "high"), strict=True):
            near(value, f"precision_{{}}_{name}")
    where = max(bins) if side == "positive" else min(bins)
    in_top = [o for o, i in zip(outcome, bins, strict=True) if i == where]
    near(sum(in_top) / len(in_top), "top_bin_{}")
    for value, name in zip(wilson(sum(in_top), len(in_top)), ("low", "high"), strict=True):
        near(value, f"top_bin_{{}}_{name}")
    levels = curve_levels(sample, outcome, side, gated)
    near(exact_information(levels), "mutual_information_{}")
    near(exact_slope(levels), "slope_{}")
    near(exact_monotonicity(levels), "monotonicity_{}")
    return True


def histogram_of(activation: list[float]) -> np.ndarray:
    return np.bincount(bf.bins_of(np.array(activation)), minlength=len(EDGES))


def counted(samples: list[list[Sample]], gated: bool) -> list[dict[str, object]]:
    """Rows of neurons 5, 6, ...; the samples of a neuron are those of its tokens 2, 4, ...: activations are shared."""
    cells, neurons, tokens = [], [], []
    for n, of_neuron in enumerate(samples):
        for t, sample in enumerate(of_neuron):
            neurons.append(5 + n)
            tokens.append(2 + 2 * t)
            found: dict[int, list[int]] = {}
            for i, *outcomes in zip(
                bf.bins_of(np.array(sample.activation)), sample.predicted, sample.actual, strict=True
            ):
                cell = found.setdefault(int(i), [0, 0])
                cell[0] += outcomes[0]
                cell[1] += outcomes[1]
            cells += [(5 + n, 2 + 2 * t, i, *cell) for i, cell in sorted(found.items()) if any(cell)]
    columns = Cells(*np.array(cells, dtype=np.int64).reshape(-1, 5).T)
    histogram = np.stack([histogram_of(of_neuron[0].activation) for of_neuron in samples])
    rows = metric_rows(np.array(neurons), np.array(tokens), columns, histogram, 5, gated=gated)
    listed = {name: values.tolist() for name, values in rows.items()}
    return [dict(zip(listed, row, strict=True)) for row in zip(*listed.values(), strict=True)]


NEAR = st.sampled_from([0.0, 0.01, -0.01, SMALL, -SMALL, 0.3, 0.31, 0.35, 1.0, -0.3, -0.31, -1.0, 600.0, -600.0])
ACTIVATION = NEAR | st.floats(-3, 3, width=32)
POSITION = st.tuples(ACTIVATION, st.booleans(), st.booleans())


@given(st.lists(POSITION, min_size=1, max_size=40), st.booleans())
def test_everything_of_any_activations(positions: list[tuple[float, bool, bool]], gated: bool) -> None:
    """With the least support there can be, so that small samples have metrics."""
    sample = Sample(*(list(values) for values in zip(*positions, strict=True)))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(table, "MIN_SUPPORT", 1)
        rows = counted([[sample]], gated)
    assert [table.SIDES[row["side"]] for row in rows] == list(metric_sides(gated=gated))
    for row, side in zip(rows, metric_sides(gated=gated), strict=True):
        for outcome in OUTCOMES:
            check(row, sample, side, gated, outcome, 1)


def planted(seed: int, n: int) -> Sample:
    """A neuron that fires for one outcome and, below zero, for the other."""
    rng = np.random.default_rng(seed)
    activation = (rng.normal(size=n) ** 3).astype(np.float32).astype(float)
    predicted = rng.random(n) < 1 / (1 + np.exp(3 - 2 * activation))
    actual = rng.random(n) < 1 / (1 + np.exp(3 + 2 * activation))
    return Sample(activation.tolist(), predicted.tolist(), actual.tolist())


@pytest.mark.parametrize("gated", [False, True])
def test_a_neuron_that_predicts(gated: bool) -> None:
    """1001 positions, so that the top 0.1% are two; each side finds its own outcome."""
    sample = planted(3, 1001)
    rows = dict(zip(metric_sides(gated=gated), counted([[sample]], gated), strict=True))
    assert all(check(row, sample, side, gated, o, MIN_SUPPORT) for side, row in rows.items() for o in OUTCOMES)
    assert rows["positive"]["auroc_predicted"] > 0.75
    assert rows["positive"]["auroc_actual"] < 0.5
    assert rows["positive"]["lift_predicted"] > 2
    assert rows["positive"]["monotonicity_predicted"] > 0.9
    if gated:
        assert rows["negative"]["auroc_actual"] > 0.65
        assert rows["negative"]["auroc_predicted"] < 0.5
        assert rows["negative"]["best_threshold_actual"] < 0 < rows["positive"]["best_threshold_predicted"]
        assert rows["negative"]["auroc_actual"] != pytest.approx(1 - rows["positive"]["auroc_actual"], abs=0.01)


def test_support() -> None:
    """Nine positions with the outcome, without it, or at which it fires, are too few."""

    def said(fires: int, hits: int, n: int = 40) -> dict[str, object]:
        activation = [1.0 + i / 10 for i in range(fires)] + [0.0] * (n - fires)
        outcome = [i < hits for i in range(n)]
        return counted([[Sample(activation, outcome, [False] * n)]], gated=True)[1]

    assert said(20, 10)["auroc_predicted"] is not None
    assert said(20, 30)["auroc_predicted"] is not None
    assert said(10, 10)["auroc_predicted"] is not None
    for row in (said(20, 9), said(20, 31), said(9, 10)):
        assert [name for name in COLUMNS if row[name] is not None] == ["base_rate_predicted", "base_rate_actual"]
    silent = said(0, 10)
    assert (silent["n_active"], silent["top_bin"], silent["top_bin_n"]) == (0, None, None)


def test_rows_do_not_depend_on_their_company(monkeypatch: pytest.MonkeyPatch) -> None:
    """Alone, together, or a few at a time: the same numbers, bit for bit; so a merge of counts is one run's."""
    samples = []
    for n in range(4):
        first = planted(n, 300)
        others = [planted(10 * n + t, 300) for t in range(1, 4)]
        samples.append([first, *(Sample(first.activation, other.predicted, other.actual) for other in others)])
    together = counted(samples, gated=True)
    monkeypatch.setattr(table, "_CHUNK", 3)
    assert counted(samples, gated=True) == together
    alone = [row for n, of_neuron in enumerate(samples) for row in counted([of_neuron], gated=True)]
    ids = ("neuron_id",)
    assert [{k: v for k, v in row.items() if k not in ids} for row in alone] == [
        {k: v for k, v in row.items() if k not in ids} for row in together
    ]


LEVELS = st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), min_size=1, max_size=6)


@given(LEVELS, st.booleans())
def test_bounds_are_reached(levels: list[tuple[int, int]], tied: bool) -> None:
    """By scores that a histogram cannot tell apart: bounds are as narrow as they can be."""
    hits, misses = np.array(levels, dtype=float).T
    if not hits.sum() or not misses.sum():
        return
    n = (hits + misses)[None]
    area, error = (float(values[0]) for values in auroc(n, hits[None], tied=tied))
    value, lower, upper = (float(values[0]) for values in average_precision(n, hits[None], tied=tied))
    best: list[tuple[float, bool]] = []
    worst: list[tuple[float, bool]] = []
    for level, (h, m) in enumerate(levels):
        of_ties = tied and level == len(levels) - 1
        best += [(-level + (0.0 if of_ties else 0.5), True)] * h + [(-level + 0.0, False)] * m
        # Hits below the misses, no two alike.
        worst += [(-level - (0.0 if of_ties else (i + 1) / 100), True) for i in range(h)] + [(-level + 0.0, False)] * m
    for found, bound in ((best, area + error), (worst, area - error)):
        assert exact_auroc(*map(list, zip(*found, strict=True))) == pytest.approx(bound, abs=1e-12)
    for found, bound in ((best, upper), (worst, lower)):
        assert exact_average_precision(*map(list, zip(*found, strict=True))) == pytest.approx(bound, abs=1e-12)
    assert lower <= value <= upper
    k = max(1, int(n.sum()) // 2)
    _, least, most = (float(values[0]) for values in top_share(n, hits[None], np.array([k])))
    if not tied:
        assert top_hits(*map(list, zip(*best, strict=True)), k, True) == pytest.approx(most, abs=1e-12)
        assert top_hits(*map(list, zip(*worst, strict=True)), k, False) == pytest.approx(least, abs=1e-12)


@pytest.mark.parametrize("start", [0, 1, 31, 32, 33, 1000, 10**6])
@pytest.mark.parametrize("steps", [0, 1, 5, 40, 1000])
def test_harmonic_differences(start: int, steps: int) -> None:
    exact = math.fsum(1 / i for i in range(start + 1, start + steps + 1))
    found = float(harmonic_difference(np.array([float(start)]), np.array([float(steps)]))[0])
    assert found == pytest.approx(exact, rel=1e-12, abs=0)


def test_the_lower_bound_keeps_its_digits_over_many_positions() -> None:
    """Two hits far down a million misses: nearly everything cancels."""
    n, hits = np.array([[1e6, 5.0]]), np.array([[2.0, 0.0]])
    _, lower, _ = average_precision(n, hits, tied=False)
    assert float(lower[0]) == pytest.approx((1 / 999_999 + 2 / 1_000_000) / 2, rel=1e-6)


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=1, max_size=8))
def test_pooled_blocks_never_fall_and_lose_nothing(levels: list[tuple[int, int]]) -> None:
    hits, misses = np.array(levels, dtype=float).T
    block_n, block_hits = pooled((hits + misses)[None], hits[None])
    assert (block_n.sum(), block_hits.sum()) == ((hits + misses).sum(), hits.sum())
    rates = [h / n for h, n in zip(block_hits[0], block_n[0], strict=True) if n]
    assert rates == sorted(rates)


@given(st.integers(1, 300).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_of_many_is_that_of_one(counts: tuple[int, int]) -> None:
    found = wilson_interval(*(np.array([float(value)]) for value in counts))
    assert [float(end[0]) for end in found] == pytest.approx(list(wilson(*counts)), abs=1e-15)


@pytest.mark.parametrize("name", ["llama", "gpt2"])
def test_the_table_of_a_run(request: pytest.FixtureRequest, name: str) -> None:
    """Rows here and there against loops over raw float64 activations; neurons of which float32 put some into another
    bin apart."""
    built = request.getfixturevalue(f"built_{name}")
    brute = bf.compute(built.model, built.dataset, built.context_length, built.overflow)
    activations, positions = brute.counted(), brute.positions()
    with duckdb.connect(str(built.atlas), read_only=True) as connection:
        found = connection.execute("SELECT * FROM pair_metric")
        names = [column[0] for column in found.description]
        rows = [dict(zip(names, row, strict=True)) for row in found.fetchall()]
        pairs = connection.execute("SELECT neuron_id, token_id FROM candidate_pair").fetchall()
        cells = connection.execute("SELECT neuron_id, bin, n FROM activation_histogram").fetchnumpy()
    sides = metric_sides(gated=brute.gated)
    assert [(row["neuron_id"], row["token_id"], row["side"]) for row in rows] == [(*p, s) for p in pairs for s in sides]
    stored = np.zeros((len(activations), len(EDGES)))
    stored[cells["neuron_id"], cells["bin"]] = cells["n"]
    same = [bool((histogram_of(raw.tolist()) == bins).all()) for raw, bins in zip(activations, stored, strict=True)]
    assert np.mean(same) > 0.8
    rows = [row for row in rows if same[row["neuron_id"]]]
    telling = [row for row in rows if row["auroc_predicted"] is not None or row["auroc_actual"] is not None]
    checked = dict.fromkeys(OUTCOMES, 0)
    for row in (*telling[:: len(telling) // 16], *rows[:: len(rows) // 8]):
        sample = Sample(
            activations[row["neuron_id"]].tolist(),
            [predicted == row["token_id"] for _, _, predicted, _ in positions],
            [actual == row["token_id"] for *_, actual in positions],
        )
        for outcome in OUTCOMES:
            checked[outcome] += check(row, sample, row["side"], brute.gated, outcome, MIN_SUPPORT)
    assert min(checked.values()) >= 5, checked


def test_queries_say_what_the_table_says(both) -> None:
    """Of a neuron, of a token, and ranked by anything."""
    atlas, connection = both
    names = ", ".join(f"m.{name}" for name in ("side", *METRIC_SORTS))
    every = connection.execute(
        f"SELECT m.neuron_id, m.token_id, c.congruence, c.source, {names} FROM pair_metric AS m "
        "JOIN candidate_pair AS c USING (neuron_id, token_id)"
    ).fetchall()

    def plain(record: PairMetric) -> tuple:
        whole = vars(record)
        values = (whole[name] for name in ("side", *METRIC_SORTS))
        return (record.neuron.neuron_id, record.token.token_id, record.congruence, ",".join(record.sources), *values)

    for place, listed in ((0, neuron_metrics), (1, token_metrics)):
        for identity in (every[0][place], every[-1][place]):
            expected = [row for row in every if row[place] == identity]
            expected.sort(key=lambda row: (-row[2], row[0], row[1], row[4] != "positive"))
            assert [plain(record) for record in listed(atlas, identity)] == expected

    for column, sort in enumerate(METRIC_SORTS, 5):
        known = sorted(
            (row for row in every if row[column] is not None), key=lambda row: (-row[column], *row[:2], row[4])
        )
        unknown = [row for row in every if row[column] is None]
        found = ranked_metrics(atlas, MetricFilter(every=True), sort=sort, limit=30, offset=20)
        assert [plain(record) for record in found.rows] == [*known, *unknown][20:50]
        assert found.total == len(every)


def test_filters_of_the_ranking(both) -> None:
    """Each filter against the same in SQL over the view."""
    atlas, connection = both
    middle = connection.execute("SELECT median(auroc_actual) FROM pair_metric").fetchone()[0]
    cases = {
        "side = 'positive'": MetricFilter(every=True, side="positive"),
        "NOT special AND token_id IN (SELECT token_id FROM token WHERE n_actual > 0)": MetricFilter(),
        "neuron LIKE 'L1N%'": MetricFilter(every=True, layer_min=1, layer_max=1),
        "contains(lower(token), 'an')": MetricFilter(every=True, token="AN"),
        "direction IS NOT NULL": MetricFilter(every=True, exclusive="any"),
        "direction IS NULL": MetricFilter(every=True, exclusive="none"),
        "direction = 'top'": MetricFilter(every=True, exclusive="top"),
        f"auroc_actual >= {middle!r}": MetricFilter(every=True, bounds=(Bound("auroc_actual", "gte", middle),)),
        "n_predicted BETWEEN 3 AND 9": MetricFilter(
            every=True, bounds=(Bound("n_predicted", "gte", 3), Bound("n_predicted", "lte", 9))
        ),
    }
    for condition, where in cases.items():
        expected = connection.execute(
            f"SELECT neuron, token_id, side FROM pair_prediction WHERE {condition} "
            "ORDER BY n_predicted, neuron_id, token_id, side LIMIT 40"
        ).fetchall()
        assert expected, condition
        found = ranked_metrics(atlas, where, sort="n_predicted", descending=False, limit=40)
        assert [(row.neuron.name, row.token.token_id, row.side) for row in found.rows] == expected, condition
    with pytest.raises(QueryError, match=r"Pair metrics have no column 'best'; expected one of n_positions, n_active"):
        ranked_metrics(atlas, sort="best")
    with pytest.raises(QueryError, match="no column 'score'"):
        ranked_metrics(atlas, MetricFilter(bounds=(Bound("score", "gte", 1),)))
    with pytest.raises(QueryError, match="Cannot select pairs by exclusive 'both'; expected one of top, bottom"):
        ranked_metrics(atlas, MetricFilter(exclusive="both"))


def test_ends_of_wilsons_interval_are_exact_at_none_and_all():
    n = np.arange(1.0, 3000.0)
    low, high = wilson_interval(np.zeros_like(n), n)
    assert not low.any()
    assert (high < 1).all()
    low, high = wilson_interval(n, n)
    assert (high == 1).all()
    assert (low > 0).all()
    # Of 10: none, half and all. z is 1.959964, z squared 3.841459; (5 + 1.920729) / 13.841459 is 0.5.
    low, high = wilson_interval(np.array([0.0, 5.0, 10.0]), np.full(3, 10.0))
    assert low == pytest.approx([0, 0.236593, 0.722467], abs=1e-6)
    assert high == pytest.approx([0.277533, 0.763407, 1], abs=1e-6)
