"""Sums of powers of activations in fixed point: the same bits in any order of addition, on any number of processes.

A sum is 144 bits wide, with 2^-72 as its unit: four limbs of 36 bits, each in an int64. The contribution of a run of
rows is first computed as a few float64 numbers from those rows alone; each is cut into multiples of the limbs' units,
and these add up without rounding. Sums over all positions, and so mean, variance, skewness and kurtosis, then depend on
the activations alone. The idea: Collange et al., "Numerical reproducibility for the parallel reduction on multi- and
many-core architectures" (2015).

Powers of large numbers would drown a small spread, so a run's are taken about a shift near its mean that has few bits:
then `n * shift^4` is exact, and the rest is small.
"""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float32, Float64, Int64
from torch import Tensor

LIMBS, LIMB_BITS, LOWEST = 4, 36, -72
"""Limbs of a sum, bits of each, and the exponent of the lowest one's unit."""
UNITS = tuple(2.0 ** (LOWEST + LIMB_BITS * limb) for limb in range(LIMBS))
CUTS = tuple(1.5 * 2.0**52 * unit for unit in UNITS)
"""Adding one of these and taking it off again leaves a float64 number's multiple of the limb's unit."""
SHIFT_MASK = ~0x3FFF
"""Leaves a float32 number's sign, exponent and 10 leading bits."""
OVERFLOWN = -3 << 61
"""Highest limb of a sum with a term that is not finite or is too large."""
LIMIT = 1 << 62


def few_bits(mean: Float32[Tensor, "*row d_mlp"]) -> Float32[Tensor, "*row d_mlp"]:
    """A number of few bits near another: a shift."""
    return (mean.view(torch.int32) & SHIFT_MASK).view(torch.float32)


def add(
    powers: Int64[Tensor, "power limb d_mlp"],
    n: int,
    shift: Float32[Tensor, " d_mlp"],
    sums: Float64[Tensor, "power d_mlp"],
) -> None:
    """Add a run of n rows: `sums` are those of the 1st to 4th powers of the differences from `shift`."""
    s, (a1, a2, a3, a4) = shift.to(torch.float64), sums
    s2 = s * s
    whole = n * torch.stack([s, s2, s2 * s, s2 * s2])
    rest = torch.stack(
        [a1, 2 * s * a1 + a2, 3 * s2 * a1 + 3 * s * a2 + a3, 4 * s2 * s * a1 + 6 * s2 * a2 + 4 * s * a3 + a4]
    )
    cut = torch.zeros(powers.shape, dtype=torch.float64, device=powers.device)
    for value in (whole, rest):
        for limb in reversed(range(LIMBS)):
            multiple = (value + CUTS[limb]) - CUTS[limb]
            cut[:, limb] += multiple
            value = value - multiple
    units = torch.tensor(UNITS, dtype=torch.float64, device=powers.device)[:, None]
    fits = cut[:, -1].abs() < 2.0**52 * UNITS[-1]  # False for NaN too.
    limbs = torch.where(fits[:, None], cut / units, torch.zeros_like(cut)).to(torch.int64)
    limbs[:, -1].masked_fill_(~fits, OVERFLOWN)
    powers.copy_(added(powers, limbs))


def added(
    a: Int64[Tensor, "*layer power limb d_mlp"], b: Int64[Tensor, "*layer power limb d_mlp"]
) -> Int64[Tensor, "*layer power limb d_mlp"]:
    """The sum of two sums, with carries propagated, so that equal sums have equal bits."""
    bad = (overflown(a) | overflown(b)).unsqueeze(-2)
    limbs = torch.where(bad, torch.zeros_like(a), a + b)
    for limb in range(LIMBS - 1):
        carry = limbs.select(-2, limb) >> LIMB_BITS
        limbs.select(-2, limb).sub_(carry << LIMB_BITS)
        limbs.select(-2, limb + 1).add_(carry)
    limbs.select(-2, LIMBS - 1).masked_fill_(bad.squeeze(-2), OVERFLOWN)
    return limbs


def overflown(powers: Int64[Tensor, "*layer power limb d_mlp"]) -> Tensor:
    """Whether a term of a sum is not finite or is too large (about 2^20 for the fourth powers)."""
    highest = powers.select(-2, LIMBS - 1)
    return (highest >= LIMIT) | (highest <= -LIMIT)


def central_moments(n: int, powers: Int64[np.ndarray, "power limb neuron"]) -> Float64[np.ndarray, "moment neuron"]:
    """Mean and central moments (variance, third, fourth) of n activations, each rounded once; NaN where overflown."""
    one = [[int(limb) for limb in row] for row in powers.transpose(0, 2, 1).reshape(-1, LIMBS)]
    whole = [sum(limb << (LIMB_BITS * place) for place, limb in enumerate(limbs)) for limbs in one]
    s1, s2, s3, s4 = np.array(whole, dtype=object).reshape(4, -1)
    unit, n = 1 << -LOWEST, max(n, 1)
    # In whole numbers: of moment k the denominator is (n * unit)^k.
    m2 = n * unit * s2 - s1 * s1
    m3 = (n * unit) ** 2 * s3 - 3 * n * unit * s1 * s2 + 2 * s1**3
    m4 = (n * unit) ** 3 * s4 - 4 * (n * unit) ** 2 * s1 * s3 + 6 * n * unit * s1 * s1 * s2 - 3 * s1**4
    moments = np.stack([m / (n * unit) ** power for power, m in enumerate((s1, m2, m3, m4), 1)]).astype(np.float64)
    bad = (np.abs(powers[:, -1]) >= LIMIT).any(0)
    return np.where(bad, np.nan, moments)
