"""Levels of a score: the bins of an activation, strongest first, from one side.

'positive' scores a position by its activation, 'negative' by minus its activation. In a gated MLP the sign of the
activation is a gauge and each side is a detector of its own, so there a side's score is that of its firing alone:
positions at which the neuron does not fire on the side (activations in the zero bin and beyond it) are one last level,
and tie by definition. Were all positions ranked by the signed activation, the area under the ROC curve of 'negative'
would be one minus that of 'positive', and say nothing new. In other MLPs the score is the activation itself.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from atlas.bins import N_BINS, ZERO_BIN, bin_edges


@dataclass(frozen=True)
class Levels:
    """What the levels of a side are; arrays have one entry a level, the highest score first."""

    bins: np.ndarray
    """Bin of each level, int64; of a last level that ties, the zero bin."""
    edges: np.ndarray
    """The edge towards zero, float64: the activation from which on (for 'negative': below which) a position is in this
    level or a stronger one; infinite where that is every position."""
    score: np.ndarray
    """Score that stands for the level in a regression, float64: the middle of the bin, of an outermost bin its finite
    edge, 0 for the zero bin."""
    tied: bool
    """Whether the last level is one of exact ties."""

    def of(self, counts: np.ndarray) -> np.ndarray:
        """Counts by level, [row, level], of counts by bin, [row, N_BINS]."""
        levels = np.ascontiguousarray(counts[:, self.bins])
        if self.tied:
            levels[:, -1] = counts.sum(axis=1) - levels[:, :-1].sum(axis=1)
        return levels


def side_levels(side: str, *, gated: bool) -> Levels:
    """Levels of 'positive' or 'negative', the strongest first."""
    last = ZERO_BIN if gated else (0 if side == "positive" else N_BINS - 1)
    bins = np.arange(N_BINS - 1, last - 1, -1) if side == "positive" else np.arange(0, last + 1)
    lower, upper = np.array([bin_edges(bin) for bin in bins]).T
    sign = 1.0 if side == "positive" else -1.0
    middle = np.where(np.isinf(lower), upper, np.where(np.isinf(upper), lower, (lower + upper) / 2))
    edges = lower if side == "positive" else upper
    if gated:
        edges = np.append(edges[:-1], -sign * np.inf)
    return Levels(bins, edges, sign * middle, gated)
