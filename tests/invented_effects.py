"""A copy of an atlas with invented rows of `pair_effect`: of pairs whose neurons were never ablated."""

from __future__ import annotations

import random
from pathlib import Path

import duckdb
import pyarrow as pa


def with_effects(atlas: Path, out: Path, n: int = 12) -> Path:
    """Write the copy: effects of the first candidate pairs that have a metric, and of some that have none."""
    from ingest.file.append import extend_atlas

    with duckdb.connect(str(atlas), read_only=True) as connection:
        pairs = connection.execute(
            "SELECT neuron_id, token_id, side FROM pair_metric "
            f"ORDER BY auroc_predicted IS NULL, hash(neuron_id, token_id, side) LIMIT {n}"
        ).fetchall()
    rng = random.Random(0)
    rows = []
    for place, (neuron_id, token_id, side) in enumerate(sorted(pairs)):
        change = {name: rng.uniform(-0.4, 0.1) for name in ("probability_change", "rank_change", "logit_change")}
        ends = {
            f"{name}_{end}": None if place == 0 else value + (0.05 if end == "high" else -0.05)
            for name, value in change.items()
            for end in ("low", "high")
        }
        rows.append(
            {
                "neuron_id": neuron_id,
                "token_id": token_id,
                "side": side,
                "chosen_by": "exclusive,metric",
                "n_positions": 1 if place == 0 else 40,
                "activation_mean": 2.5,
                "probability": rng.random(),
                "rank_median": 3.0,
                "direct_effect": rng.random(),
                **change,
                **ends,
            }
        )
    schema = pa.schema(
        [
            (
                name,
                {
                    "neuron_id": pa.int32(),
                    "token_id": pa.int32(),
                    "n_positions": pa.int32(),
                    "side": pa.string(),
                    "chosen_by": pa.string(),
                }.get(name, pa.float64()),
            )
            for name in rows[0]
        ]
    )
    extend_atlas(atlas, {"pair_effect": pa.Table.from_pylist(rows, schema=schema)}, out=out)
    return out
