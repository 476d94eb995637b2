"""Checks of a finished file before it gets its name."""

from __future__ import annotations

from pathlib import Path

import duckdb

from atlas.core.files import database
from ingest.activations.registry import DERIVED, STATISTICS
from ingest.activations.text_store import TextStore
from ingest.errors import OutputError

WEIGHT_TABLES = {
    "neuron_token": ("neuron_id", "direction", "rank"),
    "token_neuron": ("token_id", "direction", "rank"),
    "exclusive_pair": ("direction", "rank"),
    "neuron_input_token": ("neuron_id", "side", "direction", "rank"),
    "neuron_downstream": ("neuron_id", "side", "direction", "rank"),
    "neuron_upstream": ("neuron_id", "side", "direction", "rank"),
    "histogram_bin": ("bin",),
    "candidate_pair": ("neuron_id", "token_id"),
    "token_family": ("token_id",),
    "neuron_weight": ("neuron_id",),
    "token_weight": ("token_id",),
}
"""Tables from weights alone, with the sort key of each, which is unique."""

_ADDED_TABLES = {
    "attribution_check": ("neuron_id", "token_id", "text_id", "position"),
    "neuron_attribution": ("neuron_id",),
    "pair_attribution": ("neuron_id", "token_id"),
    "pair_effect": ("neuron_id", "token_id", "side"),
    "token_driver": ("token_id", "direction", "rank"),
    "study": ("name",),
    "study_edge": ("study", "source_neuron_id", "target_neuron_id"),
    "study_prompt": ("study", "prompt"),
    "study_prediction": ("study", "prompt", "side", "rank"),
    "study_step": ("study", "kind", "variant", "site", "layer", "position", "neuron_id"),
}
_COUNTED = (*STATISTICS, *DERIVED, TextStore)
KEYS = {"token": ("token_id",), "neuron": ("neuron_id",), **WEIGHT_TABLES, **_ADDED_TABLES} | {
    table: key for counted in _COUNTED for table, key in counted.tables.items()
}

# Each query counts violations.
_LAWS = {
    "neurons missing or out of range": """
        SELECT abs(count(*) - (SELECT n_layers * d_mlp FROM atlas)) FROM neuron
        WHERE neuron_id = layer * (SELECT d_mlp FROM atlas) + "index" """,
    "tokens missing or out of range": """
        SELECT abs(count(*) - (SELECT d_vocab FROM atlas)) FROM token
        WHERE token_id >= 0 AND token_id < (SELECT d_vocab FROM atlas)""",
    "exclusive pairs that are not candidates": """
        SELECT count(*) FROM exclusive_pair ANTI JOIN candidate_pair USING (neuron_id, token_id)""",
    "connections that do not go from a layer to a later one": """
        SELECT count(*) FROM atlas, (
            SELECT neuron_id AS earlier, other_neuron_id AS later FROM neuron_downstream
            UNION ALL SELECT other_neuron_id, neuron_id FROM neuron_upstream)
        WHERE later // d_mlp <= earlier // d_mlp""",
} | {law: query for counted in _COUNTED for law, query in counted.laws.items()}


def check_file(path: Path, expected_rows: dict[str, int]) -> None:
    """Reopen a finished file read-only and check row counts, keys and totals.

    Raises:
        OutputError: a check fails (the first is named), or the file cannot be read back.
    """
    try:
        _check(path, expected_rows)
    except duckdb.Error as error:
        raise OutputError(
            f"The file {str(path)!r} cannot be read back as it was written: {error}. It is not published."
        ) from error


def _check(path: Path, expected_rows: dict[str, int]) -> None:
    with duckdb.connect(database(path), read_only=True) as connection:
        for table, rows in expected_rows.items():
            (n_rows,) = connection.execute(f'SELECT count(*) FROM "{table}"').fetchone()
            if n_rows != rows:
                raise OutputError(f"Table {table!r} holds {n_rows} rows, expected {rows}. The file is not published.")
        for table, key in KEYS.items():
            _check_key(connection, table, key)
        for law, query in _LAWS.items():
            (broken,) = connection.execute(query).fetchone()
            if broken:
                raise OutputError(f"The file has {broken} {law}. It is not published.")


def _check_key(connection: duckdb.DuckDBPyConnection, table: str, key: tuple[str, ...]) -> None:
    """Each row's key is above that of the row before: sorted and unique, in one pass (a hash aggregate costs 6x).

    An empty OVER () takes rows as they are stored.
    """
    names = ", ".join(key)
    before = ", ".join(f"lag({name}) OVER () AS before_{number}" for number, name in enumerate(key))
    above = "FALSE"
    for number, name in reversed(list(enumerate(key))):
        equal = f"{name} IS NOT DISTINCT FROM before_{number}"
        above = f"({name} > before_{number} OR ({equal} AND {above}))"
    # The first row has none before it: "above" is NULL there.
    rows = f'SELECT {names}, {before} FROM "{table}"'
    unordered = connection.execute(f"SELECT {names} FROM ({rows}) WHERE NOT {above} LIMIT 1").fetchone()
    if unordered is None:
        return
    repeated = connection.execute(
        f'SELECT {names} FROM "{table}" GROUP BY {names} HAVING count(*) > 1 LIMIT 1'
    ).fetchone()
    if repeated is not None:
        raise OutputError(f"Table {table!r} has two rows of key {repeated}. The file is not published.")
    raise OutputError(f"Table {table!r} is not sorted by {names}: see row {unordered}. The file is not published.")


def bytes_per_table(path: Path) -> dict[str, int]:
    """Bytes of the file each table occupies, largest first (blocks shared by two tables count for both)."""
    with duckdb.connect(database(path), read_only=True) as connection:
        (block_size,) = connection.execute("SELECT block_size FROM pragma_database_size()").fetchone()
        sizes = {}
        for (table,) in connection.execute("SELECT table_name FROM duckdb_tables()").fetchall():
            (blocks,) = connection.execute(
                "SELECT count(DISTINCT block) FROM (SELECT block_id AS block FROM pragma_storage_info(?) "
                "UNION ALL SELECT unnest(additional_block_ids) FROM pragma_storage_info(?)) WHERE block >= 0",
                [table, table],
            ).fetchone()
            sizes[table] = blocks * block_size
    return dict(sorted(sizes.items(), key=lambda item: -item[1]))
