"""Levels of a score: the bins of an activation, strongest first, from one side.

'positive' scores a position by its activation, 'negative' by minus its activation. In a gated MLP the sign of the
activation is a gauge and each side is a detector of its own, so there a side's score is that of its firing alone:
positions at which the neuron does not fire on the side (activations in the zero bin and beyond it) are one last level,
and tie by definition. If all positions were ranked by the signed activation, the area under the ROC curve of 'negative'
would be one minus that of 'positive' and add nothing. In other MLPs the score is the activation itself.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from atlas.core.bins import N_BINS, ZERO_BIN, bin_edges
from atlas.core.stats import wilson_interval
from atlas.topics.pair_metric.measures import (
    auroc,
    average_precision,
    best_threshold,
    monotonicity,
    mutual_information,
    slope,
    top_share,
)


@dataclass(frozen=True)
class Levels:
    """Levels of a side; arrays have one entry for each level, the highest score first."""

    bins: np.ndarray
    """Bin of each level, int64; of a last level that ties, the zero bin."""
    edges: np.ndarray
    """The edge towards zero, float64: the activation from which on (for 'negative': below which) a position is in this
    level or a stronger one; infinite where that is every position."""
    score: np.ndarray
    """Score that stands for the level in a regression, float64: the middle of the bin, of an outermost bin its finite
    edge, 0 for the zero bin."""
    tied: bool
    """Whether the last level is one of exact ties."""

    def of(self, counts: np.ndarray) -> np.ndarray:
        """Counts by level, [row, level], of counts by bin, [row, N_BINS]."""
        levels = np.ascontiguousarray(counts[:, self.bins])
        if self.tied:
            levels[:, -1] = counts.sum(axis=1) - levels[:, :-1].sum(axis=1)
        return levels


def side_levels(side: str, *, gated: bool) -> Levels:
    """Levels of 'positive' or 'negative', the strongest first."""
    last = ZERO_BIN if gated else (0 if side == "positive" else N_BINS - 1)
    bins = np.arange(N_BINS - 1, last - 1, -1) if side == "positive" else np.arange(0, last + 1)
    lower, upper = np.array([bin_edges(bin) for bin in bins.tolist()]).T
    sign = 1.0 if side == "positive" else -1.0
    middle = np.where(np.isinf(lower), upper, np.where(np.isinf(upper), lower, (lower + upper) / 2))
    edges = lower if side == "positive" else upper
    if gated:
        edges = np.append(edges[:-1], -sign * np.inf)
    return Levels(bins, edges, sign * middle, gated)


SIDES = ("negative", "positive")
"""In the order of the table's sort; 'negative' of gated MLPs only."""
OUTCOMES = ("predicted", "actual")
MIN_SUPPORT = 10
"""Fewest positions with the outcome, without it, and at which the neuron fires on the side; below, metrics are NULL."""

SUPPORT = ("n_positions", "n_active", "n_predicted", "n_actual", "top_bin", "top_bin_n")
"""Columns of a pair's support; the last two describe the side's outermost bin."""

_METRICS = (
    "auroc_{}",
    "auroc_{}_error",
    "average_precision_{}",
    "average_precision_{}_lower",
    "average_precision_{}_upper",
    "best_threshold_{}",
    "best_f1_{}",
    "precision_{}",
    "precision_{}_low",
    "precision_{}_high",
    "recall_{}",
    "top_bin_{}",
    "top_bin_{}_low",
    "top_bin_{}_high",
    "top_thousandth_{}",
    "top_thousandth_{}_lower",
    "top_thousandth_{}_upper",
    "lift_{}",
    "mutual_information_{}",
    "slope_{}",
    "monotonicity_{}",
)
COLUMNS = tuple(name.format(outcome) for outcome in OUTCOMES for name in ("base_rate_{}", *_METRICS))
"""The table's columns of metrics of an outcome, float32; all but base rates may be NULL."""
_DOWN = frozenset(name for name in _METRICS if name.endswith(("_lower", "_low")))
_UP = frozenset(name for name in _METRICS if name.endswith(("_upper", "_high", "_error")))

_CHUNK = 4096  # Rows whose levels are in memory at a time: some 30 arrays of 4 MB at most.

Columns = dict[str, np.ndarray]


@dataclass(frozen=True)
class Cells:
    """Rows of `prediction_histogram`, in its order: int arrays of one length."""

    neuron: np.ndarray
    token: np.ndarray
    bin: np.ndarray
    n_predicted: np.ndarray
    n_actual: np.ndarray

    def part(self, rows: slice) -> Cells:
        """A subset of the rows."""
        return Cells(*(column[rows] for column in (self.neuron, self.token, self.bin, self.n_predicted, self.n_actual)))


def metric_sides(*, gated: bool) -> tuple[str, ...]:
    """The sides that have rows, in the table's order."""
    return SIDES if gated else SIDES[1:]


def metric_rows(
    neuron: np.ndarray, token: np.ndarray, cells: Cells, histogram: np.ndarray, first: int, *, gated: bool
) -> Columns:
    """Rows for some candidate pairs: one for each pair and side, ordered by neuron, token, side. A pair's rows do not
    depend on the other pairs.

    Args:
        neuron: Neuron of each pair, ordered by neuron, token.
        token: Token of each pair.
        cells: The rows of `prediction_histogram` that are of these pairs, all of them.
        histogram: Positions by neuron and bin, int [neuron, N_BINS], of neurons from `first` on.
        first: Neuron of the first row of `histogram`.
        gated: Whether the MLP is gated, and activations signed.

    Returns:
        The table's columns. `side` is a place in SIDES, int8; NULLs are masked.
    """
    sides = metric_sides(gated=gated)
    row = neuron.astype(np.int64) - first
    cell_pair = np.searchsorted(_key(neuron, token), _key(cells.neuron, cells.token))
    totals = {
        outcome: np.bincount(cell_pair, getattr(cells, f"n_{outcome}"), len(neuron)).astype(np.int64)
        for outcome in OUTCOMES
    }
    total = histogram.sum(axis=1)
    parts = []
    for side in sides:
        levels = side_levels(side, gated=gated)
        columns = _counts(row, totals, total, histogram, side)
        for outcome in OUTCOMES:
            supported = _supported(columns, outcome)
            values = {name: np.full(len(neuron), np.nan) for name in _METRICS}
            for pairs in _chunks(np.flatnonzero(supported)):
                n = levels.of(histogram[row[pairs]]).astype(np.float64)
                hits = levels.of(_dense(pairs, cell_pair, cells.bin, getattr(cells, f"n_{outcome}")))
                for name, metric in zip(_METRICS, _metrics(n, hits, levels), strict=True):
                    values[name][pairs] = metric
            for name, metric in values.items():
                columns[name.format(outcome)] = np.ma.masked_invalid(_single(name, metric))
        parts.append({name: columns[name] for name in (*SUPPORT, *COLUMNS)})
    return {
        "neuron_id": np.repeat(neuron, len(sides)).astype(np.int32),
        "token_id": np.repeat(token, len(sides)).astype(np.int32),
        "side": np.tile(np.array([SIDES.index(side) for side in sides], np.int8), len(neuron)),
        **{name: np.ma.stack([part[name] for part in parts], axis=1).ravel() for name in parts[0]},
    }


def _key(neuron: np.ndarray, token: np.ndarray) -> np.ndarray:
    return (neuron.astype(np.int64) << 32) + token


def _counts(row: np.ndarray, totals: Columns, total: np.ndarray, histogram: np.ndarray, side: str) -> Columns:
    """A pair's support, and the side's outermost non-empty bin."""
    positive = side == "positive"
    firing = histogram[:, :ZERO_BIN:-1] if positive else histogram[:, :ZERO_BIN]  # The strongest bin first.
    place = (firing > 0).argmax(axis=1)
    top_n = np.ma.masked_equal(firing[np.arange(len(firing)), place], 0)
    top_bin = (N_BINS - 1 - place if positive else place).astype(np.int16)
    columns = {
        "n_positions": total[row],
        "n_active": firing.sum(axis=1)[row],
        "top_bin": np.ma.array(top_bin, mask=np.ma.getmaskarray(top_n))[row],
        "top_bin_n": top_n[row],
    }
    for outcome, n in totals.items():
        columns[f"n_{outcome}"] = n
        columns[f"base_rate_{outcome}"] = (n / np.maximum(total[row], 1)).astype(np.float32)
    return columns


def _supported(columns: Columns, outcome: str) -> np.ndarray:
    hits = columns[f"n_{outcome}"]
    rarest = np.minimum(np.minimum(hits, columns["n_positions"] - hits), columns["n_active"])
    return rarest >= MIN_SUPPORT


def _chunks(pairs: np.ndarray) -> Iterator[np.ndarray]:
    for start in range(0, len(pairs), _CHUNK):
        yield pairs[start : start + _CHUNK]


def _dense(pairs: np.ndarray, cell_pair: np.ndarray, bin: np.ndarray, n: np.ndarray) -> np.ndarray:
    """Counts of some pairs (in order) by bin, float64 [pair, N_BINS]."""
    start, stop = np.searchsorted(cell_pair, [pairs[0], pairs[-1] + 1])
    places = np.searchsorted(pairs, cell_pair[start:stop])
    of_these = pairs[places] == cell_pair[start:stop]
    dense = np.zeros((len(pairs), N_BINS))
    dense[places[of_these], bin[start:stop][of_these]] = n[start:stop][of_these]
    return dense


def _metrics(n: np.ndarray, hits: np.ndarray, levels: Levels) -> tuple[np.ndarray, ...]:
    """Every metric of supported pairs, in the order of _METRICS, each float64 [row]."""
    total, n_hits = n.sum(axis=1), hits.sum(axis=1)
    row, top = np.arange(len(n)), (n > 0).argmax(axis=1)
    top_n, top_hits = n[row, top], hits[row, top]
    area, error = auroc(n, hits, tied=levels.tied)
    share = top_share(n, hits, np.ceil(total / 1000))
    level, above, hits_above, f1 = best_threshold(n, hits)
    return (
        area,
        error + np.abs(area - area.astype(np.float32)),  # The bound is on the stored float32 area.
        *average_precision(n, hits, tied=levels.tied),
        np.where(level < 0, np.nan, levels.edges[level]),
        f1,
        hits_above / above,
        *wilson_interval(hits_above, above),
        hits_above / n_hits,
        top_hits / top_n,
        *wilson_interval(top_hits, top_n),
        *share,
        share[0] * total / n_hits,
        mutual_information(n, hits),
        slope(n, hits, levels.score),
        monotonicity(n, hits),
    )


def _single(name: str, values: np.ndarray) -> np.ndarray:
    """Columns as float32; a bound is rounded outwards, so that it still holds."""
    single = values.astype(np.float32)
    if name in _DOWN:
        return np.where(single > values, np.nextafter(single, np.float32(-1)), single)
    if name in _UP:
        return np.where(single < values, np.nextafter(single, np.float32(2)), single)
    return single
