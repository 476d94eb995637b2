"""What each table becomes: counts are added, what follows from weights is the first part's."""

from __future__ import annotations

from collections.abc import Iterator

from atlas.topics.pair_metric.arrow import NEURONS_EACH, PAIRS_SQL, metrics_of
from ingest.activations.statistics import statistics_of
from ingest.file import tables
from ingest.file.writer import Columns, nullable
from ingest.merge.moments import sums_of
from ingest.merge.sources import Sources, columns

WEIGHT_TABLES = {
    "neuron_token": "neuron_id",
    "token_neuron": "token_id",
    "neuron_input_token": "neuron_id",
    "candidate_pair": "neuron_id",
    "token_family": "token_id",
    "neuron_weight": "neuron_id",
    "token_weight": "token_id",
    "exclusive_pair": None,
    "histogram_bin": None,
}
"""Tables that follow from the weights, and the column they are read by ranges of; None: small, read whole."""

_STATISTICS = ("activation_mean", "activation_std", "activation_skewness", "activation_kurtosis")

_TOKEN = """
    SELECT t.* REPLACE (s.n_input AS n_input, s.n_actual AS n_actual, s.n_predicted AS n_predicted)
    FROM p0.token AS t
    JOIN (SELECT token_id, sum(n_input)::BIGINT AS n_input, sum(n_actual)::BIGINT AS n_actual,
                 sum(n_predicted)::BIGINT AS n_predicted
          FROM every_token WHERE token_id >= $low AND token_id < $high GROUP BY token_id) AS s USING (token_id)
    WHERE token_id >= $low AND token_id < $high
    ORDER BY token_id"""

# A fraction of n_positions is a whole number of them, which a DOUBLE holds; so the whole's fraction is exact.
_NEURON = """
    SELECT n.* REPLACE (s.minimum AS activation_min, s.maximum AS activation_max,
                        s.positive / s.n_positions AS positive_fraction, s.dead AS dead)
    FROM p0.neuron AS n
    JOIN (SELECT neuron_id, min(activation_min) AS minimum, max(activation_max) AS maximum, bool_and(dead) AS dead,
                 sum(round(positive_fraction * n_positions)) AS positive, sum(n_positions)::DOUBLE AS n_positions
          FROM every_neuron WHERE neuron_id >= $low AND neuron_id < $high GROUP BY neuron_id) AS s USING (neuron_id)
    WHERE neuron_id >= $low AND neuron_id < $high
    ORDER BY neuron_id"""

_ACTIVATION_HISTOGRAM = """
    SELECT neuron_id, bin, sum(n)::BIGINT AS n
    FROM every_activation_histogram WHERE neuron_id >= $low AND neuron_id < $high
    GROUP BY neuron_id, bin ORDER BY neuron_id, bin"""

_PREDICTION_HISTOGRAM = """
    SELECT neuron_id, token_id, bin, sum(n_predicted)::BIGINT AS n_predicted, sum(n_actual)::BIGINT AS n_actual
    FROM every_prediction_histogram WHERE neuron_id >= $low AND neuron_id < $high
    GROUP BY neuron_id, token_id, bin ORDER BY neuron_id, token_id, bin"""

_FAMILY_HISTOGRAM = """
    SELECT neuron_id, family_id, bin, sum(n_predicted)::BIGINT AS n_predicted, sum(n_actual)::BIGINT AS n_actual
    FROM every_family_histogram WHERE neuron_id >= $low AND neuron_id < $high
    GROUP BY neuron_id, family_id, bin ORDER BY neuron_id, family_id, bin"""


def token_rows(sources: Sources) -> Iterator[Columns]:
    """Table `token`: counts added."""
    return sources.read_by_range(_TOKEN, sources.parts[0].info.d_vocab)


def histogram_rows(sources: Sources) -> Iterator[Columns]:
    """Table `activation_histogram`: counts added."""
    return sources.read_by_range(_ACTIVATION_HISTOGRAM, sources.parts[0].info.n_neurons)


def prediction_rows(sources: Sources) -> Iterator[Columns]:
    """Table `prediction_histogram`: counts added."""
    return sources.read_by_range(_PREDICTION_HISTOGRAM, sources.parts[0].info.n_neurons)


def family_rows(sources: Sources) -> Iterator[Columns]:
    """Table `family_histogram`: counts added."""
    return sources.read_by_range(_FAMILY_HISTOGRAM, sources.parts[0].info.n_neurons)


def pair_metric_rows(sources: Sources) -> Iterator[Columns]:
    """Table `pair_metric`: computed from the added counts."""
    info = sources.parts[0].info
    queries = (PAIRS_SQL.format(tables="p0."), _ACTIVATION_HISTOGRAM, _PREDICTION_HISTOGRAM)
    for low in range(0, info.n_neurons, NEURONS_EACH):
        high = min(low + NEURONS_EACH, info.n_neurons)
        counted = (sources.read(query, low=low, high=high) for query in queries)
        yield metrics_of(*counted, low, high, gated=info.gated)


def neuron_rows(sources: Sources) -> Iterator[Columns]:
    """Table `neuron`: statistics of activations over all parts, the rest as in the first."""
    for low, high in sources.spans(sources.parts[0].info.n_neurons):
        rows = columns(sources.read(_NEURON, low=low, high=high))
        n_positions = sum(part.info.n_positions for part in sources.parts)
        statistics = statistics_of(n_positions, sums_of(sources, low, high))
        for name, values in zip(_STATISTICS, statistics.numpy(), strict=True):
            rows[name] = nullable(values, values.dtype)
        yield rows


def sum_rows(sources: Sources) -> Iterator[Columns]:
    """Table `activation_sum`: added without rounding."""
    for low, high in sources.spans(sources.parts[0].info.n_neurons):
        yield tables.sum_rows(sums_of(sources, low, high).numpy(), low)


def weight_rows(sources: Sources, table: str) -> Iterator[Columns]:
    """A table of WEIGHT_TABLES, as in the first part, in its order."""
    key, info = WEIGHT_TABLES[table], sources.parts[0].info
    if key is None:
        yield columns(sources.read(f'SELECT * FROM p0."{table}"'))
        return
    query = f"SELECT * FROM p0.{table} WHERE {key} >= $low AND {key} < $high"
    end = info.n_neurons if key == "neuron_id" else info.d_vocab
    row_bytes = 12 * info.d_model if table.endswith("_weight") else 0
    yield from sources.read_by_range(query, end, from_every=False, row_bytes=row_bytes)
