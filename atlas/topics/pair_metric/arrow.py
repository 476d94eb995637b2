"""The rows of `pair_metric` as Arrow arrays."""

from __future__ import annotations

import pyarrow as pa

from atlas.topics.pair_metric.table import SIDES, Columns

NEURONS_EACH = 1024
"""Neurons whose rows are computed at a time: tens of megabytes."""


def metric_arrays(rows: Columns) -> dict[str, pa.Array]:
    """The rows of `metric_rows`, masked values as NULL."""
    side = pa.DictionaryArray.from_arrays(pa.array(rows["side"]), pa.array(SIDES, pa.string()))
    return {name: side if name == "side" else pa.array(values) for name, values in rows.items()}
