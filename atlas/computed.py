"""Tables that follow from others: how they are filled in a file whose schema version had none."""

from __future__ import annotations

from collections.abc import Iterator

import duckdb
import numpy as np
import pyarrow as pa

from atlas.families import family_ids
from atlas.metrics.arrow import CELLS_SQL, HISTOGRAM_SQL, NEURONS_EACH, PAIRS_SQL, metrics_of


def pair_metrics(connection: duckdb.DuckDBPyConnection) -> Iterator[dict[str, pa.Array]]:
    """Columns of `pair_metric` from the current database's histograms, some neurons at a time, in order."""
    ((gated, n_neurons),) = connection.execute("SELECT gated, n_layers * d_mlp FROM atlas").fetchall()
    for low in range(0, n_neurons, NEURONS_EACH):
        span = {"low": low, "high": min(low + NEURONS_EACH, n_neurons)}
        pairs, histogram, cells = (
            connection.sql(query.format(tables=""), params=span).to_arrow_table()
            for query in (PAIRS_SQL, HISTOGRAM_SQL, CELLS_SQL)
        )
        yield metrics_of(pairs, histogram, cells, **span, gated=gated)


def fill_pair_metric(connection: duckdb.DuckDBPyConnection) -> None:
    """Table `pair_metric` of the current database, from its histograms."""
    for columns in pair_metrics(connection):
        _insert(connection, "pair_metric", columns)


def fill_token_family(connection: duckdb.DuckDBPyConnection) -> None:
    """Table `token_family` of the current database, from its tokens."""
    texts, special = zip(
        *connection.execute('SELECT "text", special FROM token ORDER BY token_id').fetchall(), strict=True
    )
    family = family_ids(texts, special)
    token = np.flatnonzero(np.bincount(family, minlength=len(family))[family] > 1)
    columns = {"token_id": token.astype(np.int32), "family_id": family[token].astype(np.int32)}
    _insert(connection, "token_family", {name: pa.array(values) for name, values in columns.items()})


def _insert(connection: duckdb.DuckDBPyConnection, table: str, columns: dict[str, pa.Array]) -> None:
    connection.register("batch", pa.table(columns))
    connection.execute(f"INSERT INTO {table} BY NAME SELECT * FROM batch")
    connection.unregister("batch")


COMPUTED = {"pair_metric": fill_pair_metric, "token_family": fill_token_family}
"""By table: what fills it."""
