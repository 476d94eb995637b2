"""Which layers are looked into, and which neurons stand out."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

_LAYERS = 4
_LEAST_RECOVERY = 0.02
_LEAST_DEVIATIONS = 10.0


def best_layers(recovery: Float[np.ndarray, " layer"]) -> tuple[int, ...]:
    """The four layers whose MLP patch at the last position recovers most, ascending; the lower of equal ones."""
    return tuple(sorted(int(layer) for layer in np.argsort(-recovery, kind="stable")[:_LAYERS]))


def find_neurons(recovery: Float[np.ndarray, " neuron"], most: int) -> list[int]:
    """Places of the neurons that stand out, most recovering first, at most `most`; the lower of equal ones first.

    A neuron stands out when by itself it recovers 2% of the logit difference, and lies ten median absolute deviations
    above the median of all that were patched: the bulk of neurons does nothing, and what it does is the measure.
    """
    median = np.median(recovery)
    deviation = np.median(np.abs(recovery - median))
    out = (recovery >= _LEAST_RECOVERY) & (recovery >= median + _LEAST_DEVIATIONS * deviation)
    order = np.argsort(-recovery, kind="stable")
    return [int(neuron) for neuron in order[out[order]][:most]]
