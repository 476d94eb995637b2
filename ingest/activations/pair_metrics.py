"""Table `pair_metric`: from the histograms of some neurons and of their candidate pairs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import numpy as np
from jaxtyping import Int

from atlas.topics.pair_metric.arrow import NEURONS_EACH, metric_arrays
from atlas.topics.pair_metric.table import metric_rows
from ingest.activations.predictions import PredictionHistogram
from ingest.activations.statistic import Rows, Statistic
from ingest.activations.statistics import ActivationStatistics


class PairMetrics:
    """Computed from the activation histogram and the prediction histogram."""

    tables: ClassVar = {"pair_metric": ("neuron_id", "token_id", "side")}
    laws: ClassVar = {
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
    }

    @staticmethod
    def rows(
        statistics: Mapping[str, Statistic],
        neuron: Int[np.ndarray, " pair"],
        token: Int[np.ndarray, " pair"],
        *,
        gated: bool,
    ) -> Rows:
        """The rows of those pairs, ordered by neuron, token, side; pairs are ordered by neuron, token."""
        activations: ActivationStatistics = statistics[ActivationStatistics.name]
        predictions: PredictionHistogram = statistics[PredictionHistogram.name]
        histogram, cells, first = activations.histogram, predictions.result(), activations.first_neuron
        for low in range(0, len(histogram), NEURONS_EACH):
            part = histogram[low : low + NEURONS_EACH]
            ids = [first + low, first + low + len(part)]
            of_pairs, of_cells = (slice(*np.searchsorted(of, ids)) for of in (neuron, cells.neuron))
            rows = metric_rows(neuron[of_pairs], token[of_pairs], cells.part(of_cells), part, ids[0], gated=gated)
            yield "pair_metric", metric_arrays(rows)
