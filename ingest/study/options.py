"""The options of a study, and its choice of neurons."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from ingest.errors import StudyError


@dataclass(frozen=True)
class StudyOptions:
    """Choices of a study.

    Raises:
        StudyError: a number is out of range.
    """

    patched: int = 200
    """Neurons of the model that are patched one by one: those of greatest |attribution| (on the mean of a suite's
    pairs)."""
    layers: tuple[int, ...] = ()
    """Layers whose neurons are patched too, all of them."""
    found: int = 10
    """At most this many neurons that stand out are ablated."""
    batch_size: int | None = None
    """Forward passes run together. None: as many as make two thousand tokens on a CPU, sixteen thousand on a GPU."""
    bootstrap: int = 2000
    """Resamples behind each interval of a suite."""
    seed: int = 0
    """Seed of those resamples."""

    def __post_init__(self) -> None:
        for name, least in (("patched", 1), ("found", 0), ("batch_size", 1), ("bootstrap", 1), ("seed", 0)):
            value = getattr(self, name)
            if value is not None and value < least:
                raise StudyError(f"{name.replace('_', ' ')} is {value}, expected at least {least}.")

    def chosen(self, attribution: Float[np.ndarray, " neuron"], d_mlp: int) -> Int[np.ndarray, " item"]:
        """The neurons to patch, ascending. Equal attributions: the lower neuron first."""
        strongest = np.argsort(-np.abs(attribution), kind="stable")[: self.patched]
        whole = [np.arange(layer * d_mlp, (layer + 1) * d_mlp) for layer in self.layers]
        return np.unique(np.concatenate([strongest, *whole]))


_LEAST_RECOVERY = 0.02
_LEAST_DEVIATIONS = 10.0


def find_neurons(recovery: Float[np.ndarray, " neuron"], patched: Bool[np.ndarray, " neuron"], most: int) -> list[int]:
    """The patched neurons that stand out, at most `most` by |recovery|, most recovering first; the lower of equal ones
    first.

    A neuron stands out when by itself it recovers 2% of the logit difference or takes as much away, and lies ten median
    absolute deviations from the median of all neurons: most neurons do nothing, and their spread is the measure.

    Args:
        recovery: of every neuron of the model; estimated where it was not patched.
    """
    median = np.median(recovery)
    deviation = np.median(np.abs(recovery - median))
    far = np.abs(recovery - median) >= _LEAST_DEVIATIONS * deviation
    out = patched & (np.abs(recovery) >= _LEAST_RECOVERY) & far
    order = np.argsort(-np.abs(recovery), kind="stable")
    return sorted((int(neuron) for neuron in order[out[order]][:most]), key=lambda neuron: -recovery[neuron])
