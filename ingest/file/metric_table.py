"""Table `pair_metric` of a run: from the accumulators' results, some neurons at a time."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from atlas.topics.pair_metric.arrow import NEURONS_EACH, metric_arrays
from atlas.topics.pair_metric.table import Cells, metric_rows
from ingest.activations.predictions import PredictionResult
from ingest.activations.statistics import ActivationResult
from ingest.congruence.pairs import CandidatePairs
from ingest.file.writer import Columns


def pair_metric_rows(
    pairs: CandidatePairs, statistics: ActivationResult, predictions: PredictionResult, *, gated: bool
) -> Iterator[Columns]:
    """Table `pair_metric`, ordered by neuron, token, side."""
    cells = Cells(
        predictions.neuron.numpy(), predictions.token.numpy(), predictions.bin.numpy(),
        predictions.n_predicted.numpy(), predictions.n_actual.numpy(),
    )  # fmt: skip
    for low in range(0, len(statistics.histogram), NEURONS_EACH):
        high = low + NEURONS_EACH
        of_pairs, of_cells = (slice(*np.searchsorted(ids, [low, high])) for ids in (pairs.neuron, cells.neuron))
        histogram = statistics.histogram[low:high].numpy()
        rows = metric_rows(
            pairs.neuron[of_pairs], pairs.token[of_pairs], cells.part(of_cells), histogram, low, gated=gated
        )
        yield metric_arrays(rows)
