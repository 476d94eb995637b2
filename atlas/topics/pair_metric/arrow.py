"""The rows of `pair_metric` as Arrow arrays, from tables as DuckDB gives them."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from atlas.core.bins import N_BINS
from atlas.topics.pair_metric.table import SIDES, Cells, Columns, metric_rows

NEURONS_EACH = 1024
"""Neurons whose rows are computed at a time: tens of megabytes."""

PAIRS_SQL = """
    SELECT neuron_id, token_id FROM {tables}candidate_pair
    WHERE neuron_id >= $low AND neuron_id < $high ORDER BY neuron_id, token_id"""
HISTOGRAM_SQL = """
    SELECT neuron_id, bin, n FROM {tables}activation_histogram WHERE neuron_id >= $low AND neuron_id < $high"""
CELLS_SQL = """
    SELECT neuron_id, token_id, bin, n_predicted, n_actual FROM {tables}prediction_histogram
    WHERE neuron_id >= $low AND neuron_id < $high ORDER BY neuron_id, token_id, bin"""


def metric_arrays(rows: Columns) -> dict[str, pa.Array]:
    """The rows of `metric_rows`, masked values as NULL."""
    side = pa.DictionaryArray.from_arrays(pa.array(rows["side"]), pa.array(SIDES, pa.string()))
    return {name: side if name == "side" else pa.array(values) for name, values in rows.items()}


def metrics_of(
    pairs: pa.Table, histogram: pa.Table, cells: pa.Table, low: int, high: int, *, gated: bool
) -> dict[str, pa.Array]:
    """Rows of `pair_metric` of the neurons from `low` up to but not including `high`.

    Args:
        pairs: `neuron_id`, `token_id` of their candidate pairs, in order.
        histogram: Their rows of `activation_histogram`.
        cells: Their rows of `prediction_histogram`, in order.
        low: First neuron.
        high: One more than the last.
        gated: Whether the MLP is gated.
    """
    neuron, bin, n = (histogram[name].to_numpy() for name in ("neuron_id", "bin", "n"))
    dense = np.zeros((high - low, N_BINS), dtype=np.int64)
    dense[neuron - low, bin] = n
    counted = (cells[name].to_numpy() for name in ("neuron_id", "token_id", "bin", "n_predicted", "n_actual"))
    rows = metric_rows(
        pairs["neuron_id"].to_numpy(), pairs["token_id"].to_numpy(), Cells(*counted), dense, low, gated=gated
    )
    return metric_arrays(rows)
