"""A copy of an atlas with invented attributions: what no model did, but rows as `atlas attribute` writes them."""

from __future__ import annotations

import random
from pathlib import Path

import duckdb
import pyarrow as pa

N_DRIVERS = 20
"""Drivers of each direction and token."""


def with_attribution(atlas: Path, out: Path) -> Path:
    """Write the copy: drivers of the three ordinary tokens predicted most, a mean of every candidate pair whose token
    is predicted, checks that agree from layer 1 on."""
    from ingest.file.append import extend_atlas

    with duckdb.connect(str(atlas), read_only=True) as connection:

        def ask(sql: str) -> list[tuple]:
            return connection.execute(sql).fetchall()

        neurons = [row[0] for row in ask("SELECT neuron_id FROM neuron ORDER BY neuron_id")]
        d_mlp = ask("SELECT d_mlp FROM atlas")[0][0]
        pairs = ask(
            "SELECT neuron_id, token_id, least(n_predicted, 60) FROM candidate_pair JOIN token USING (token_id) "
            "WHERE n_predicted > 0 ORDER BY neuron_id, token_id"
        )
        tokens = ask(
            "SELECT token_id, n_predicted FROM token WHERE NOT special AND n_actual > 0 "
            "ORDER BY n_predicted DESC, token_id LIMIT 3"
        )
    rng = random.Random(0)
    of_neurons = [(n, 400, *(rng.gauss(0, 0.1) for _ in range(4))) for n in neurons]
    of_neurons = [(n, k, a, abs(b), c, abs(d)) for n, k, a, b, c, d in of_neurons]
    of_pairs = [
        (neuron, token, n, rng.gauss(0, 1), rng.gauss(0, 2), rng.uniform(0.05, 0.6) if n > 1 else None)
        for neuron, token, n in pairs
    ]
    drivers = []
    for token, n in tokens:
        chosen = rng.sample(neurons, 2 * N_DRIVERS)
        for sign, direction, some in ((1, "top", chosen[:N_DRIVERS]), (-1, "bottom", chosen[N_DRIVERS:])):
            sizes = sorted((rng.expovariate(1) + 0.01 for _ in some), reverse=True)
            drivers += [
                (token, direction, rank, neuron, max(10, n), sign * size, sign * size * rng.uniform(0.05, 1.2), 0.1)
                for rank, (neuron, size) in enumerate(zip(some, sizes, strict=True), 1)
            ]
    checks = []
    for place in range(60):
        neuron = rng.choice(neurons)
        exact = rng.gauss(0, 1)
        estimate = exact + rng.gauss(0, 0.01) if neuron >= d_mlp else rng.gauss(0, 2)
        checks.append((neuron, tokens[0][0], place, 1, estimate, exact, exact))
    rows = {
        "neuron_attribution": of_neurons,
        "pair_attribution": of_pairs,
        "token_driver": sorted(drivers),
        "attribution_check": sorted(checks),
    }
    extend_atlas(atlas, {name: _table(name, some) for name, some in rows.items()}, out=out)
    return out


_COLUMNS = {
    "neuron_attribution": "neuron_id n_positions attribution_mean attribution_abs_mean direct_mean direct_abs_mean",
    "pair_attribution": "neuron_id token_id n attribution direct standard_error",
    "token_driver": "token_id direction rank neuron_id n attribution direct standard_error",
    "attribution_check": "neuron_id token_id text_id position estimate exact exact_full",
}


def _table(name: str, rows: list[tuple]) -> pa.Table:
    return pa.table(dict(zip(_COLUMNS[name].split(), zip(*rows, strict=True), strict=True)))
