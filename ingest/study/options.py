"""The options of a study, and its choice of layers and neurons."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float

from ingest.errors import StudyError


@dataclass(frozen=True)
class StudyOptions:
    """Choices of a study.

    Raises:
        StudyError: a number is out of range.
    """

    layers: tuple[int, ...] | Literal["all"] | None = None
    """Layers whose neurons are patched one by one. None: the four whose MLP patch at the last position recovers most
    (on the mean of a suite's pairs)."""
    found: int = 5
    """At most this many neurons that stand out are ablated."""
    batch_size: int | None = None
    """Forward passes run together. None: as many as make two thousand tokens on a CPU, sixteen thousand on a GPU."""
    bootstrap: int = 2000
    """Resamples behind each interval of a suite."""
    seed: int = 0
    """Seed of those resamples."""

    def __post_init__(self) -> None:
        for name, least in (("found", 0), ("batch_size", 1), ("bootstrap", 1), ("seed", 0)):
            value = getattr(self, name)
            if value is not None and value < least:
                raise StudyError(f"{name.replace('_', ' ')} is {value}, expected at least {least}.")

    def chosen(self, n_layers: int) -> tuple[int, ...] | None:
        """The requested layers, ascending; None: still to be chosen.

        Raises:
            StudyError: the model has no such layer.
        """
        if self.layers is None:
            return None
        if self.layers == "all":
            return tuple(range(n_layers))
        for layer in self.layers:
            if not 0 <= layer < n_layers:
                raise StudyError(f"There is no layer {layer}: the model's {n_layers} layers are 0 to {n_layers - 1}.")
        if not self.layers:
            raise StudyError("No layers were named: name some, as in 3,7, or leave the choice to the study.")
        return tuple(sorted(set(self.layers)))


_LAYERS = 4
_LEAST_RECOVERY = 0.02
_LEAST_DEVIATIONS = 10.0


def best_layers(recovery: Float[np.ndarray, " layer"]) -> tuple[int, ...]:
    """The four layers whose MLP patch at the last position recovers most, ascending; the lower of equal ones."""
    return tuple(sorted(int(layer) for layer in np.argsort(-recovery, kind="stable")[:_LAYERS]))


def find_neurons(recovery: Float[np.ndarray, " neuron"], most: int) -> list[int]:
    """Places of the neurons that stand out, most recovering first, at most `most`; the lower of equal ones first.

    A neuron stands out when by itself it recovers 2% of the logit difference, and lies ten median absolute deviations
    above the median of all patched neurons: most neurons do nothing, and their spread is the measure.
    """
    median = np.median(recovery)
    deviation = np.median(np.abs(recovery - median))
    out = (recovery >= _LEAST_RECOVERY) & (recovery >= median + _LEAST_DEVIATIONS * deviation)
    order = np.argsort(-recovery, kind="stable")
    return [int(neuron) for neuron in order[out[order]][:most]]
