"""Moments of activations over all parts, from the exact sums of powers that every part holds."""

from __future__ import annotations

from functools import reduce

import numpy as np
import torch
from jaxtyping import Int64
from torch import Tensor

from ingest.activations.reduction.exact import LIMBS, added
from ingest.merge.sources import Sources

_LIMBS = """
    SELECT limbs FROM p{}.activation_sum WHERE neuron_id >= $low AND neuron_id < $high ORDER BY neuron_id"""


def sums_of(sources: Sources, low: int, high: int) -> Int64[Tensor, "power limb neuron"]:
    """The sums over all parts of neurons from `low` to `high`: the same bits as one run's."""
    return reduce(added, (_of_part(sources, part, low, high) for part in range(len(sources.parts))))


def _of_part(sources: Sources, part: int, low: int, high: int) -> Int64[Tensor, "power limb neuron"]:
    limbs = sources.read(_LIMBS.format(part), low=low, high=high)["limbs"].combine_chunks().flatten().to_numpy()
    return torch.from_numpy(np.ascontiguousarray(limbs.reshape(-1, 4, LIMBS).transpose(1, 2, 0)))
