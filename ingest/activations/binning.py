"""The bin of an activation, by one integer shift of its own bits (see `atlas.core.bins`)."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor

from atlas.core.bins import BINS_PER_OCTAVE, MAX_EXPONENT, MIN_EXPONENT, N_BINS, ZERO_BIN, bin_interval

# A float32's bits above the two top mantissa bits: exponent (biased by 127) and quarter of the octave.
_SHIFT = 21
_FIRST = (MIN_EXPONENT + 127) * BINS_PER_OCTAVE
_LAST = (MAX_EXPONENT + 127) * BINS_PER_OCTAVE
_INT_MIN = torch.iinfo(torch.int32).min


def bin_of(activation: Float[Tensor, "*shape"]) -> Int[Tensor, "*shape"]:
    """Bin of each activation, int32, 0 to N_BINS - 1, with lower <= activation < upper. NaN goes to an end bin."""
    bits = activation.to(torch.float32).contiguous().view(torch.int32)
    # Sign and magnitude made one ordered integer: then a floor shift gives half-open bins on both sides of zero.
    step = torch.where(bits < 0, _INT_MIN - bits, bits) >> _SHIFT
    return step.clamp(_FIRST - 1, _LAST).add_(step.clamp(-_LAST - 1, -_FIRST)).add_(ZERO_BIN + 1)


def interval_table(device: torch.device | str = "cpu") -> Int[Tensor, " bin"]:
    """Octave of each bin (see `atlas.core.bins.bin_interval`), int64."""
    return torch.tensor([bin_interval(bin) for bin in range(N_BINS)], device=device)
