"""What a live study needs of an atlas."""

from __future__ import annotations

import numpy as np

from atlas.db import Atlas


def activation_means(atlas: Atlas) -> np.ndarray:
    """Mean activation of every neuron over the atlas's data, float32, by id."""
    return np.asarray(
        atlas.arrays("SELECT activation_mean FROM neuron ORDER BY neuron_id")["activation_mean"], np.float32
    )
