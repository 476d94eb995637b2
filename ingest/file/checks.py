"""What must hold of a finished file before it gets its name."""

from __future__ import annotations

from pathlib import Path

import duckdb

from atlas.core.files import database
from ingest.errors import OutputError

_KEYS = {
    "token": ("token_id",),
    "neuron": ("neuron_id",),
    "neuron_token": ("neuron_id", "direction", "rank"),
    "token_neuron": ("token_id", "direction", "rank"),
    "exclusive_pair": ("direction", "rank"),
    "neuron_input_token": ("neuron_id", "side", "direction", "rank"),
    "histogram_bin": ("bin",),
    "activation_histogram": ("neuron_id", "bin"),
    "activation_sum": ("neuron_id",),
    "candidate_pair": ("neuron_id", "token_id"),
    "prediction_histogram": ("neuron_id", "token_id", "bin"),
    "pair_metric": ("neuron_id", "token_id", "side"),
    "token_family": ("token_id",),
    "family_histogram": ("neuron_id", "family_id", "bin"),
    "sign_case": ("neuron_id", "gate_positive", "in_positive"),
    "text": ("text_id",),
    "example": ("neuron_id", "kind", '"interval"', "rank"),
    "pair_effect": ("neuron_id", "token_id", "side"),
    "study": ("name",),
    "study_prompt": ("study", "prompt"),
    "study_prediction": ("study", "prompt", "side", "rank"),
    "study_step": ("study", "kind", "variant", "site", "layer", "position", "neuron_id"),
    "neuron_weight": ("neuron_id",),
    "token_weight": ("token_id",),
}
"""What each table is sorted by, no two rows alike."""

# Each query counts what must not be there.
_LAWS = {
    "activation histograms that do not sum to n_positions": """
        SELECT count(*) FROM (
            SELECT neuron_id FROM neuron LEFT JOIN activation_histogram USING (neuron_id)
            GROUP BY neuron_id HAVING coalesce(sum(n), 0) <> (SELECT n_positions FROM atlas))""",
    "neurons missing or out of range": """
        SELECT abs(count(*) - (SELECT n_layers * d_mlp FROM atlas)) FROM neuron
        WHERE neuron_id = layer * (SELECT d_mlp FROM atlas) + "index" """,
    "tokens missing or out of range": """
        SELECT abs(count(*) - (SELECT d_vocab FROM atlas)) FROM token
        WHERE token_id >= 0 AND token_id < (SELECT d_vocab FROM atlas)""",
    "input tokens that do not sum to n_positions": """
        SELECT abs(sum(n_input) - (SELECT n_positions FROM atlas)) FROM token""",
    "predicted tokens that do not sum to n_positions": """
        SELECT abs(sum(n_predicted) - (SELECT n_positions FROM atlas)) FROM token""",
    "prediction cells above the activation histogram": """
        SELECT count(*) FROM prediction_histogram AS p LEFT JOIN activation_histogram AS a USING (neuron_id, bin)
        WHERE a.n IS NULL OR p.n_predicted > a.n OR p.n_actual > a.n""",
    "prediction cells of pairs that are not candidates": """
        SELECT count(*) FROM prediction_histogram ANTI JOIN candidate_pair USING (neuron_id, token_id)""",
    "pair metrics missing or of pairs that are not candidates": """
        SELECT abs((SELECT count(*) FROM candidate_pair) * (SELECT CASE WHEN gated THEN 2 ELSE 1 END FROM atlas)
                   - count(*)) + count(*) - count(c.neuron_id)
        FROM pair_metric LEFT JOIN candidate_pair AS c USING (neuron_id, token_id)""",
    "pair metrics whose counts are not the token's": """
        SELECT count(*) FROM pair_metric AS m JOIN token AS t USING (token_id)
        WHERE m.n_predicted <> t.n_predicted OR m.n_actual <> t.n_actual
           OR m.n_positions <> (SELECT n_positions FROM atlas)""",
    "pair metrics outside their bounds": """
        SELECT count(*) FROM pair_metric
        WHERE average_precision_predicted NOT BETWEEN average_precision_predicted_lower
                                                  AND average_precision_predicted_upper
           OR average_precision_actual NOT BETWEEN average_precision_actual_lower AND average_precision_actual_upper
           OR top_thousandth_predicted NOT BETWEEN top_thousandth_predicted_lower AND top_thousandth_predicted_upper
           OR top_thousandth_actual NOT BETWEEN top_thousandth_actual_lower AND top_thousandth_actual_upper""",
    "family cells below those of the neuron's best token": """
        SELECT count(*) FROM prediction_histogram AS p
        JOIN neuron AS n ON n.neuron_id = p.neuron_id AND n.best_token_id = p.token_id
        JOIN token_family AS m ON m.token_id = p.token_id
        LEFT JOIN family_histogram AS f ON f.neuron_id = p.neuron_id AND f.family_id = m.family_id AND f.bin = p.bin
        WHERE (f.n_predicted IS NULL OR f.n_predicted < p.n_predicted OR f.n_actual < p.n_actual)
          AND EXISTS (FROM family_histogram)""",
    "exclusive pairs that are not candidates": """
        SELECT count(*) FROM exclusive_pair ANTI JOIN candidate_pair USING (neuron_id, token_id)""",
    "sign cases that do not sum to n_positions, or whose text is missing": """
        SELECT (SELECT count(*) FROM (SELECT sum(n) AS n FROM sign_case GROUP BY neuron_id)
                WHERE n <> (SELECT n_positions FROM atlas))
             + (SELECT count(*) FROM sign_case ANTI JOIN "text" USING (text_id))""",
    "examples whose text is missing": """
        SELECT count(*) FROM example ANTI JOIN "text" USING (text_id)""",
    "examples outside their text or window": """
        WITH lengths AS MATERIALIZED (SELECT text_id, len(token_ids) AS length FROM "text")
        SELECT count(*) FROM example JOIN lengths USING (text_id)
        WHERE position >= length OR position < window_start OR position >= window_start + len(window_activations)""",
    "neurons whose extreme example is not their extreme activation": """
        SELECT count(*) FROM example JOIN neuron USING (neuron_id)
        WHERE rank = 1 AND ((kind = 'max' AND activation <> activation_max)
                         OR (kind = 'min' AND activation <> activation_min))""",
}


def check_file(path: Path, expected_rows: dict[str, int]) -> None:
    """Reopen a finished file read-only and check row counts, keys and totals.

    Raises:
        OutputError: names the first thing that does not hold, or that the file cannot be read back whole.
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
            (found,) = connection.execute(f'SELECT count(*) FROM "{table}"').fetchone()
            if found != rows:
                raise OutputError(f"Table {table!r} holds {found} rows, expected {rows}. The file is not published.")
        for table, key in _KEYS.items():
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
