"""`reduce_layer` on a CPU: one pass over the activations, compiled.

A thread takes 64 neurons at a time (a cache line of bins) and walks the texts down them in tiles of 64 positions that
stay in the first-level cache, with the 64 histograms beside them. A neuron's result depends on its own column only, so
it does not depend on the number of threads.
"""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float, Float32, UInt8
from numba import njit, prange
from torch import Tensor

from atlas.core.bins import BINS_PER_OCTAVE, MAX_EXPONENT, MIN_EXPONENT, N_BINS, ZERO_BIN
from ingest.activations.reduction.exact import CUTS, LIMB_BITS, LIMBS, LIMIT, OVERFLOWN, SHIFT_MASK, UNITS
from ingest.activations.reduction.reference import LayerSums, Runs
from ingest.process.numba_compiler import compiled

WIDTH = 64
_ROWS = 64
_CELLS = 128  # Cells of a neuron's histogram in the cache; N_BINS of them are used.
_FIRST = np.int32((MIN_EXPONENT + 127) * BINS_PER_OCTAVE)
_LAST = np.int32((MAX_EXPONENT + 127) * BINS_PER_OCTAVE)
_CENTRE = np.int32(ZERO_BIN + 1)
_INT_MIN = np.int32(-(2**31))
_SHIFT = np.int32(21)
_ZERO = np.float32(0.0)
_ONE = np.float32(1.0)
_SHIFT_MASK = np.int32(SHIFT_MASK)
_UNITS = np.array(UNITS)
_CUT0, _CUT1, _CUT2, _CUT3 = CUTS
_TOO_LARGE = 2.0**52 * UNITS[-1]
_TEXTS = 1 << 15  # A limb's multiples of so many texts are less than 2^52 of its units.

assert N_BINS <= _CELLS


def reduce_layer(
    x: Float[Tensor, "flat d_mlp"],
    runs: Runs,
    sums: LayerSums,
    bins: UInt8[Tensor, "row d_mlp"],
    highest: Float32[Tensor, "text d_mlp"],
    lowest: Float32[Tensor, "text d_mlp"],
) -> None:
    """The contract of `ingest.activations.reduction.reference.reduce_layer`, for tensors on the CPU."""
    bits, shift = float_bits(x)
    _reduce(
        bits,
        shift,
        runs.first.numpy(),
        runs.length.numpy(),
        runs.out.numpy(),
        sums.counts.view(-1, N_BINS).numpy(),
        sums.powers.numpy(),
        sums.positive.numpy(),
        sums.minimum.numpy(),
        sums.maximum.numpy(),
        bins.numpy(),
        highest.numpy(),
        lowest.numpy(),
    )


def float_bits(x: Float[Tensor, "flat d_mlp"]) -> tuple[np.ndarray, np.int32]:
    """The bits of float32 or bfloat16 as integers, and the left shift that makes them a float32's."""
    if x.dtype == torch.bfloat16:
        return x.view(torch.int16).numpy(), np.int32(16)
    return x.view(torch.int32).numpy(), np.int32(0)


@compiled(parallel=True, nogil=True)
def _reduce(x, shift, first, length, out, counts, powers, positive, minimum, maximum, bins, highest, lowest):
    """x [flat, d_mlp] int32 or int16 bits; first, length, out [text] int64; counts [d_mlp, bin], positive [d_mlp]
    int64; powers [4, LIMBS, d_mlp] int64; minimum, maximum [d_mlp] float32 (all updated); bins [row, d_mlp] uint8,
    highest, lowest [text, d_mlp] float32 (out)."""
    d_mlp = x.shape[1]
    for block in prange((d_mlp + WIDTH - 1) // WIDTH):
        start = block * WIDTH
        width = min(WIDTH, d_mlp - start)
        tile_bits = np.empty(_ROWS * WIDTH, dtype=np.int32)
        tile = tile_bits.view(np.float32)
        cells = np.zeros(WIDTH * _CELLS, dtype=np.int32)
        sums = np.empty(6 * WIDTH, dtype=np.float32)  # Of a tile: values, positive, powers 1 to 4 about the shift.
        near_bits = np.empty(WIDTH, dtype=np.int32)
        near = near_bits.view(np.float32)
        shift_of, whole = np.empty(WIDTH, dtype=np.float64), np.empty(4 * WIDTH, dtype=np.float64)
        extremes = np.empty(2 * WIDTH, dtype=np.float32)
        cut = np.zeros(4 * LIMBS * WIDTH, dtype=np.float64)
        for text in range(first.shape[0]):
            extremes[:WIDTH] = -np.inf
            extremes[WIDTH:] = np.inf
            whole[:] = 0.0
            for begin in range(0, length[text], _ROWS):
                n = min(_ROWS, length[text] - begin)
                _copy(x, shift, first[text] + begin, start, n, width, tile_bits)
                _count(tile_bits, start, n, width, bins, out[text] + begin, cells)
                _sum(tile, n, width, sums, extremes)
                if begin == 0:
                    _choose_shift(sums, n, width, near, near_bits, shift_of)
                _powers(tile, n, width, near, sums)
                for j in range(4 * WIDTH):
                    whole[j] += sums[2 * WIDTH + j]
                for j in range(width):
                    positive[start + j] += np.int64(sums[WIDTH + j])
            _take(cut, shift_of, whole, length[text], width)
            if text % _TEXTS == _TEXTS - 1:
                _carry(cut, powers, start, width)
                cut[:] = 0.0
            for j in range(width):
                highest[text, start + j] = extremes[j]
                lowest[text, start + j] = extremes[WIDTH + j]
                maximum[start + j] = max(maximum[start + j], extremes[j])
                minimum[start + j] = min(minimum[start + j], extremes[WIDTH + j])
        _carry(cut, powers, start, width)
        for j in range(width):
            for bin in range(N_BINS):
                counts[start + j, bin] += cells[j * _CELLS + bin]


@njit
def _copy(x, shift, row, start, n, width, tile_bits):
    """Copy n rows of the block as float32 bits: nothing else, so that many cache misses are under way at once."""
    for i in range(n):
        line, to = x[row + i, start : start + width], tile_bits[i * WIDTH : i * WIDTH + width]
        for j in range(width):
            to[j] = np.int32(line[j]) << shift


@njit
def _count(tile_bits, start, n, width, bins, out, cells):
    """Bin n rows and count them."""
    for i in range(n):
        line, bin_line = tile_bits[i * WIDTH : i * WIDTH + width], bins[out + i, start : start + width]
        for j in range(width):
            bits = line[j]
            ordered = _INT_MIN - bits if bits < np.int32(0) else bits
            step = ordered >> _SHIFT
            above = min(max(step, _FIRST - np.int32(1)), _LAST)
            below = min(max(step, -_LAST - np.int32(1)), -_FIRST)
            bin_line[j] = np.uint8(above + below + _CENTRE)
        for j in range(width):
            cells[j * _CELLS + bin_line[j]] += np.int32(1)


@njit(fastmath={"contract"})
def _sum(tile, n, width, sums, extremes):
    """The tile's sum and count of positives, and the text's extremes so far."""
    sums[:] = _ZERO
    whole = n - n % 4
    for i in range(0, whole, 4):
        at = i * WIDTH
        for j in range(width):
            a, b = tile[at + j], tile[at + WIDTH + j]
            c, d = tile[at + 2 * WIDTH + j], tile[at + 3 * WIDTH + j]
            sums[j] += (a + b) + (c + d)
            sums[WIDTH + j] += (_sign(a) + _sign(b)) + (_sign(c) + _sign(d))
            extremes[j] = _max(extremes[j], _max(_max(a, b), _max(c, d)))
            extremes[WIDTH + j] = _min(extremes[WIDTH + j], _min(_min(a, b), _min(c, d)))
    for i in range(whole, n):
        for j in range(width):
            a = tile[i * WIDTH + j]
            sums[j] += a
            sums[WIDTH + j] += _sign(a)
            extremes[j] = _max(extremes[j], a)
            extremes[WIDTH + j] = _min(extremes[WIDTH + j], a)


@njit(inline="always")
def _sign(value):
    return _ONE if value > _ZERO else _ZERO


@njit(inline="always")
def _max(a, b):
    return b if b > a else a


@njit(inline="always")
def _min(a, b):
    return b if b < a else a


@njit(fastmath={"contract"})
def _choose_shift(sums, n, width, near, near_bits, shift):
    """A number of few bits near the mean of a text's first tile."""
    scale = _ONE / np.float32(n)
    for j in range(width):
        near[j] = sums[j] * scale
    for j in range(width):
        near_bits[j] &= _SHIFT_MASK
    for j in range(width):
        shift[j] = near[j]


@njit(fastmath={"contract"})
def _powers(tile, n, width, near, sums):
    """Sum the powers of the differences from the shift."""
    whole = n - n % 4
    for i in range(0, whole, 4):
        at = i * WIDTH
        for j in range(width):
            a, b = tile[at + j] - near[j], tile[at + WIDTH + j] - near[j]
            c, d = tile[at + 2 * WIDTH + j] - near[j], tile[at + 3 * WIDTH + j] - near[j]
            a2, b2, c2, d2 = a * a, b * b, c * c, d * d
            sums[2 * WIDTH + j] += (a + b) + (c + d)
            sums[3 * WIDTH + j] += (a2 + b2) + (c2 + d2)
            sums[4 * WIDTH + j] += (a2 * a + b2 * b) + (c2 * c + d2 * d)
            sums[5 * WIDTH + j] += (a2 * a2 + b2 * b2) + (c2 * c2 + d2 * d2)
    for i in range(whole, n):
        for j in range(width):
            a = tile[i * WIDTH + j] - near[j]
            a2 = a * a
            sums[2 * WIDTH + j] += a
            sums[3 * WIDTH + j] += a2
            sums[4 * WIDTH + j] += a2 * a
            sums[5 * WIDTH + j] += a2 * a2


@njit
def _take(cut, shift, sums, n, width):
    """`ingest.activations.reduction.exact.add` without the carries: cut a text's sums into the limbs' multiples."""
    rows = np.float64(n)
    for j in range(width):
        _cut(cut, 0, j, rows * shift[j], sums[j])
    for j in range(width):
        s = shift[j]
        _cut(cut, 4 * WIDTH, j, rows * (s * s), 2 * s * sums[j] + sums[WIDTH + j])
    for j in range(width):
        s = shift[j]
        s2 = s * s
        rest = 3 * s2 * sums[j] + 3 * s * sums[WIDTH + j] + sums[2 * WIDTH + j]
        _cut(cut, 8 * WIDTH, j, rows * (s2 * s), rest)
    for j in range(width):
        s = shift[j]
        s2 = s * s
        rest = 4 * s2 * s * sums[j] + 6 * s2 * sums[WIDTH + j] + 4 * s * sums[2 * WIDTH + j] + sums[3 * WIDTH + j]
        _cut(cut, 12 * WIDTH, j, rows * (s2 * s2), rest)


@njit(inline="always")
def _cut(cut, power, j, one, other):
    """No `fastmath` here: every step is exact as it stands."""
    a, b = (one + _CUT3) - _CUT3, (other + _CUT3) - _CUT3
    one, other = one - a, other - b
    cut[power + 3 * WIDTH + j] += a + b
    a, b = (one + _CUT2) - _CUT2, (other + _CUT2) - _CUT2
    one, other = one - a, other - b
    cut[power + 2 * WIDTH + j] += a + b
    a, b = (one + _CUT1) - _CUT1, (other + _CUT1) - _CUT1
    one, other = one - a, other - b
    cut[power + WIDTH + j] += a + b
    cut[power + j] += ((one + _CUT0) - _CUT0) + ((other + _CUT0) - _CUT0)


@njit
def _carry(cut, powers, start, width):
    """Add the cut multiples to the sums, and propagate the carries."""
    for power in range(4):
        for j in range(width):
            top = cut[(power * LIMBS + 3) * WIDTH + j]
            highest = powers[power, 3, start + j]
            if not abs(top) < _TOO_LARGE or highest >= LIMIT or highest <= -LIMIT:
                powers[power, :, start + j] = 0
                powers[power, 3, start + j] = OVERFLOWN
                continue
            carry = np.int64(0)
            for limb in range(LIMBS - 1):
                value = (
                    powers[power, limb, start + j]
                    + np.int64(cut[(power * LIMBS + limb) * WIDTH + j] / _UNITS[limb])
                    + carry
                )
                carry = value >> LIMB_BITS
                powers[power, limb, start + j] = value - (carry << LIMB_BITS)
            powers[power, 3, start + j] = highest + np.int64(top / _UNITS[3]) + carry
