"""`reduce_layer` on a CPU: one pass over the activations, compiled.

A thread takes 64 neurons at a time (a cache line of bins) and walks the texts down them in tiles of 64 positions that
stay in the first-level cache, with the 64 histograms beside them. What a neuron gets depends on its own column only,
so the result owes nothing to the number of threads.
"""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float, Float32, UInt8
from numba import njit, prange
from torch import Tensor

from atlas.bins import BINS_PER_OCTAVE, MAX_EXPONENT, MIN_EXPONENT, N_BINS, ZERO_BIN
from ingest.compiled import compiled
from ingest.reduction.reference import LayerSums, Runs

WIDTH = 64
_ROWS = 64
_CELLS = 128  # Of a neuron's histogram in the cache; N_BINS of them are used.
_FIRST = np.int32((MIN_EXPONENT + 127) * BINS_PER_OCTAVE)
_LAST = np.int32((MAX_EXPONENT + 127) * BINS_PER_OCTAVE)
_CENTRE = np.int32(ZERO_BIN + 1)
_INT_MIN = np.int32(-(2**31))
_SHIFT = np.int32(21)
_ZERO = np.float32(0.0)
_ONE = np.float32(1.0)

assert N_BINS <= _CELLS


def reduce_layer(
    x: Float[Tensor, "flat d_mlp"],
    runs: Runs,
    n_before: int,
    sums: LayerSums,
    bins: UInt8[Tensor, "row d_mlp"],
    highest: Float32[Tensor, "text d_mlp"],
    lowest: Float32[Tensor, "text d_mlp"],
) -> None:
    """The contract of `ingest.reduction.reference.reduce_layer`, for tensors on the CPU."""
    bits, shift = float_bits(x)
    _reduce(
        bits, shift, runs.first.numpy(), runs.length.numpy(), runs.out.numpy(), n_before,
        sums.counts.view(-1, N_BINS).numpy(), sums.moments.numpy(), sums.positive.numpy(), sums.minimum.numpy(),
        sums.maximum.numpy(), bins.numpy(), highest.numpy(), lowest.numpy(),
    )  # fmt: skip


def float_bits(x: Float[Tensor, "flat d_mlp"]) -> tuple[np.ndarray, np.int32]:
    """The bits of float32 or bfloat16 as integers, and by how much to shift them left to have a float32's."""
    if x.dtype == torch.bfloat16:
        return x.view(torch.int16).numpy(), np.int32(16)
    return x.view(torch.int32).numpy(), np.int32(0)


@compiled(parallel=True, nogil=True)
def _reduce(x, shift, first, length, out, n_before, counts, moments, positive, minimum, maximum, bins, highest, lowest):
    """x [flat, d_mlp] int32 or int16 bits; first, length, out [text] int64; counts [d_mlp, bin], positive [d_mlp]
    int64; moments [4, d_mlp] float64; minimum, maximum [d_mlp] float32 (all updated); bins [row, d_mlp] uint8,
    highest, lowest [text, d_mlp] float32 (out)."""
    d_mlp = x.shape[1]
    for block in prange((d_mlp + WIDTH - 1) // WIDTH):
        start = block * WIDTH
        width = min(WIDTH, d_mlp - start)
        tile_bits = np.empty(_ROWS * WIDTH, dtype=np.int32)
        tile = tile_bits.view(np.float32)
        cells = np.zeros(WIDTH * _CELLS, dtype=np.int32)
        sums = np.empty(6 * WIDTH, dtype=np.float32)  # Mean, positive, powers 1 to 4.
        extremes = np.empty(2 * WIDTH, dtype=np.float32)
        mine = np.empty((4, WIDTH), dtype=np.float64)
        mine[:, :width] = moments[:, start : start + width]
        n_seen = n_before
        for text in range(first.shape[0]):
            extremes[:WIDTH] = -np.inf
            extremes[WIDTH:] = np.inf
            for begin in range(0, length[text], _ROWS):
                n = min(_ROWS, length[text] - begin)
                _copy(x, shift, first[text] + begin, start, n, width, tile_bits)
                _count(tile_bits, start, n, width, bins, out[text] + begin, cells)
                _sum(tile, n, width, sums, extremes)
                _powers(tile, n, width, sums)
                _merge(mine, n_seen, sums, n, width)
                n_seen += n
                for j in range(width):
                    positive[start + j] += np.int64(sums[WIDTH + j])
            for j in range(width):
                highest[text, start + j] = extremes[j]
                lowest[text, start + j] = extremes[WIDTH + j]
                maximum[start + j] = max(maximum[start + j], extremes[j])
                minimum[start + j] = min(minimum[start + j], extremes[WIDTH + j])
        moments[:, start : start + width] = mine[:, :width]
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
def _powers(tile, n, width, sums):
    """Make the sum a mean, and sum the powers of what differs from it."""
    scale = _ONE / np.float32(n)
    for j in range(width):
        sums[j] *= scale
    whole = n - n % 4
    for i in range(0, whole, 4):
        at = i * WIDTH
        for j in range(width):
            a, b = tile[at + j] - sums[j], tile[at + WIDTH + j] - sums[j]
            c, d = tile[at + 2 * WIDTH + j] - sums[j], tile[at + 3 * WIDTH + j] - sums[j]
            a2, b2, c2, d2 = a * a, b * b, c * c, d * d
            sums[2 * WIDTH + j] += (a + b) + (c + d)
            sums[3 * WIDTH + j] += (a2 + b2) + (c2 + d2)
            sums[4 * WIDTH + j] += (a2 * a + b2 * b) + (c2 * c + d2 * d)
            sums[5 * WIDTH + j] += (a2 * a2 + b2 * b2) + (c2 * c2 + d2 * d2)
    for i in range(whole, n):
        for j in range(width):
            a = tile[i * WIDTH + j] - sums[j]
            a2 = a * a
            sums[2 * WIDTH + j] += a
            sums[3 * WIDTH + j] += a2
            sums[4 * WIDTH + j] += a2 * a
            sums[5 * WIDTH + j] += a2 * a2


@njit
def _merge(mine, n_a, sums, n_b, width):
    """Merge the tile's moments into the block's (Pébay 2008, equations 2.1 and 3.1), in float64."""
    a, b = float(n_a), float(n_b)
    n = a + b
    share, both = b / n, a * b / n
    third, fourth = both * (a - b) / n, both * (a * a - a * b + b * b) / (n * n)
    for j in range(width):
        # e1 is the rounding of the tile's mean; take it out of the other powers.
        e1, e2 = sums[2 * WIDTH + j] / b, sums[3 * WIDTH + j] / b
        e3, e4 = sums[4 * WIDTH + j] / b, sums[5 * WIDTH + j] / b
        b2 = b * (e2 - e1 * e1)
        b3 = b * (e3 - 3 * e1 * e2 + 2 * e1 * e1 * e1)
        b4 = b * (e4 - 4 * e1 * e3 + 6 * e1 * e1 * e2 - 3 * e1 * e1 * e1 * e1)
        d = sums[j] + e1 - mine[0, j]
        a2, a3, a4 = mine[1, j], mine[2, j], mine[3, j]
        d2 = d * d
        mine[0, j] += d * share
        mine[1, j] = a2 + b2 + d2 * both
        mine[2, j] = a3 + b3 + d2 * d * third + 3 * d * (a * b2 - b * a2) / n
        mine[3, j] = (
            a4 + b4 + d2 * d2 * fourth + 6 * d2 * (a * a * b2 + b * b * a2) / (n * n) + 4 * d * (a * b3 - b * a3) / n
        )
