"""One layer's reduction on CUDA in three Triton kernels: each activation is read from memory once.

They must agree with `ingest.activations.reduction.reference`; `ingest.activations.reduction.choice` checks this on the
device at start-up. The host never waits, and no sum uses atomics: the same batch gives the same bits.

1. `_reduce_runs`: a program takes some texts and a block of neurons; it writes the bins (where requested, and
   once more neuron by neuron for the second kernel), each text's extremes, and the moments of its rows.
2. `_count_bins`: a program takes one neuron's bins and adds their histogram to its counts.
3. `_fold_moments`: a program takes a block of neurons and adds the moments of the first kernel to the exact sums.
"""

from __future__ import annotations

import contextlib

import torch
import triton
import triton.language as tl
from jaxtyping import Float, UInt8
from torch import Tensor

from atlas.core.bins import BINS_PER_OCTAVE, MAX_EXPONENT, MIN_EXPONENT, N_BINS, ZERO_BIN
from ingest.activations.reduction.exact import CUTS, LIMB_BITS, LIMIT, OVERFLOWN, UNITS
from ingest.activations.reduction.reference import LayerSums, Runs

ROWS, NEURONS, STAGES = 16, 64, 3  # A tile, and how many are on their way: 64 bfloat16 are a line of memory.
SLAB = 1024  # Most rows of one program: its float32 sums have SLAB / ROWS terms, and long texts are split.
COUNT_ROWS = 2048  # Bins a step of `_count_bins`.
FOLD_NEURONS = 32

# Of a program's moments: rows, mean, sums of (activation - mean)^2, ^3, ^4, positive activations.
_PARTS = tl.constexpr(6)
_BINS = tl.constexpr(N_BINS)
_PLACES = tl.constexpr(128)  # `tl.histogram` wants a power of two; rows past the end go to the last place, no bin.
_ZERO_BIN = tl.constexpr(ZERO_BIN)
# As in `ingest.activations.reduction.reference`: steps are a float32's bits above the two top mantissa bits.
_SHIFT = tl.constexpr(21)
_FIRST = tl.constexpr((MIN_EXPONENT + 127) * BINS_PER_OCTAVE)
_LAST = tl.constexpr((MAX_EXPONENT + 127) * BINS_PER_OCTAVE)
# As in `ingest.activations.reduction.exact`; the mask leaves 10 bits of a float64.
_SHIFT_MASK = tl.constexpr(~((1 << 43) - 1))
_CUT0, _CUT1, _CUT2, _CUT3 = (tl.constexpr(cut) for cut in CUTS)
_UNIT0, _UNIT1, _UNIT2, _UNIT3 = (tl.constexpr(unit) for unit in UNITS)
_TOO_LARGE = tl.constexpr(2.0**52 * UNITS[-1])
_LIMB_BITS, _LIMIT, _OVERFLOWN = (tl.constexpr(value) for value in (LIMB_BITS, LIMIT, OVERFLOWN))
_UNSPECIALISED = ["n_texts", "texts_each", "n_parts", "n_rows"]
"""Sizes that differ from batch to batch: no variant is compiled for one that happens to be 1 or a multiple of 16."""

assert _PLACES.value > N_BINS


def reduce_layer(
    x: Float[Tensor, "flat d_mlp"],
    runs: Runs,
    sums: LayerSums,
    bins: UInt8[Tensor, "row d_mlp"],
    highest: Float[Tensor, "text d_mlp"],
    lowest: Float[Tensor, "text d_mlp"],
) -> None:
    """`ingest.activations.reduction.reference.reduce_layer` on a CUDA device (or, under TRITON_INTERPRET=1, on the
    CPU).

    Moments differ from the reference's by rounding only: powers are summed in float32 about the mean of a program's
    first rows, and made central in float64. Everything else is the same bit for bit.
    """
    d_mlp, n_texts = x.shape[1], len(runs.first)
    texts_each = max(1, SLAB // runs.longest)
    n_shares, n_slabs = triton.cdiv(n_texts, texts_each), triton.cdiv(runs.longest, SLAB)
    stride = triton.cdiv(runs.n_rows, 16) * 16  # A neuron's bins start where they can be read 16 at a time.
    by_neuron = torch.empty(d_mlp, stride, dtype=torch.uint8, device=x.device)
    parts = torch.empty(n_slabs * n_shares, _PARTS.value, d_mlp, dtype=torch.float64, device=x.device)
    high, low = (highest, lowest) if n_slabs == 1 else highest.new_empty(2, n_slabs, n_texts, d_mlp)
    with torch.cuda.device(x.device) if x.is_cuda else contextlib.nullcontext():
        _reduce_runs[(triton.cdiv(d_mlp, NEURONS), n_shares, n_slabs)](
            x,
            runs.first,
            runs.length,
            runs.out,
            n_texts,
            texts_each,
            d_mlp,
            bins,
            by_neuron,
            stride,
            high,
            low,
            parts,
            SLAB=SLAB,
            ROWS=ROWS,
            NEURONS=NEURONS,
            STAGES=STAGES,
            enable_fp_fusion=True,
        )
        _count_bins[(d_mlp,)](by_neuron, stride, runs.n_rows, sums.counts, ROWS=COUNT_ROWS, enable_fp_fusion=True)
        _fold_moments[(triton.cdiv(d_mlp, FOLD_NEURONS),)](
            parts,
            n_slabs * n_shares,
            sums.powers,
            sums.positive,
            d_mlp,
            NEURONS=FOLD_NEURONS,
            num_warps=1,
            enable_fp_fusion=False,
        )
    if n_slabs > 1:
        torch.amax(high, 0, out=highest)
        torch.amin(low, 0, out=lowest)
    torch.maximum(sums.maximum, highest.amax(0), out=sums.maximum)
    torch.minimum(sums.minimum, lowest.amin(0), out=sums.minimum)


@triton.jit(do_not_specialize=_UNSPECIALISED)
def _reduce_runs(
    x,
    first,
    length,
    out,
    n_texts,
    texts_each,
    d_mlp,
    bins,
    by_neuron,
    stride,
    high,
    low,
    parts,
    SLAB: tl.constexpr,
    ROWS: tl.constexpr,
    NEURONS: tl.constexpr,
    STAGES: tl.constexpr,
):
    """x [flat, d_mlp] bfloat16 or float32; first, length, out [text] int64; bins [row, d_mlp] and by_neuron
    [d_mlp, stride] uint8 (out); high, low [slab, text, d_mlp] float32 (out); parts [slab * share, 6, d_mlp] float64
    (out). Program (block of neurons, share of the texts, slab of their rows)."""
    share, slab = tl.program_id(1), tl.program_id(2)
    neuron = tl.program_id(0) * NEURONS + tl.arange(0, NEURONS)
    real = neuron < d_mlp
    step = tl.arange(0, ROWS)
    begin = slab * SLAB
    first_text = share * texts_each

    # Powers are taken about the mean of the first rows: near enough to the others for float32 to lose nothing.
    few = tl.minimum(tl.load(length + first_text), ROWS).to(tl.int32)
    at = (tl.load(first + first_text) + step)[:, None] * d_mlp + neuron[None, :]
    look = tl.load(x + at, mask=(step < few)[:, None] & real[None, :], other=0.0).to(tl.float32)
    shift = tl.sum(look, 0) / few.to(tl.float32)

    rows = tl.zeros([], tl.int32)
    above = tl.zeros([ROWS, NEURONS], tl.int32)
    sum1, sum2 = tl.zeros([ROWS, NEURONS], tl.float32), tl.zeros([ROWS, NEURONS], tl.float32)
    sum3, sum4 = tl.zeros([ROWS, NEURONS], tl.float32), tl.zeros([ROWS, NEURONS], tl.float32)
    for text in range(first_text, tl.minimum(first_text + texts_each, n_texts)):
        end = tl.minimum(tl.load(length + text), begin + SLAB).to(tl.int32)
        x_row, out_row = tl.load(first + text), tl.load(out + text)
        highest = tl.full([ROWS, NEURONS], -float("inf"), tl.float32)
        lowest = tl.full([ROWS, NEURONS], float("inf"), tl.float32)
        for row in tl.range(begin, end, ROWS, num_stages=STAGES):
            mask = (row + step < end)[:, None] & real[None, :]
            at = (x_row + row + step)[:, None] * d_mlp + neuron[None, :]
            value = tl.load(x + at, mask=mask, other=0.0).to(tl.float32)
            bin = _bin(value).to(tl.uint8)
            to = out_row + row + step
            tl.store(bins + to[:, None] * d_mlp + neuron[None, :], bin, mask=mask)
            tl.store(by_neuron + neuron[:, None].to(tl.int64) * stride + to[None, :], tl.trans(bin), tl.trans(mask))
            highest = tl.maximum(highest, tl.where(mask, value, -float("inf")))
            lowest = tl.minimum(lowest, tl.where(mask, value, float("inf")))
            above += (value > 0).to(tl.int32)
            apart = tl.where(mask, value - shift[None, :], 0.0)
            square = apart * apart
            sum1 += apart
            sum2 += square
            sum3 += square * apart
            sum4 += square * square
        to = (slab * n_texts + text).to(tl.int64) * d_mlp + neuron
        tl.store(high + to, tl.max(highest, 0), mask=real)
        tl.store(low + to, tl.min(lowest, 0), mask=real)
        rows += tl.maximum(end - begin, 0)

    n = tl.maximum(rows, 1).to(tl.float64)
    e1, e2 = tl.sum(sum1, 0).to(tl.float64) / n, tl.sum(sum2, 0).to(tl.float64) / n
    e3, e4 = tl.sum(sum3, 0).to(tl.float64) / n, tl.sum(sum4, 0).to(tl.float64) / n
    part = parts + (slab * tl.num_programs(1) + share).to(tl.int64) * (_PARTS * d_mlp) + neuron
    tl.store(part, tl.zeros([NEURONS], tl.float64) + rows.to(tl.float64), mask=real)
    tl.store(part + d_mlp, shift.to(tl.float64) + e1, mask=real)
    tl.store(part + 2 * d_mlp, n * (e2 - e1 * e1), mask=real)
    tl.store(part + 3 * d_mlp, n * (e3 - 3 * e1 * e2 + 2 * e1 * e1 * e1), mask=real)
    tl.store(part + 4 * d_mlp, n * (e4 - 4 * e1 * e3 + 6 * e1 * e1 * e2 - 3 * e1 * e1 * e1 * e1), mask=real)
    tl.store(part + 5 * d_mlp, tl.sum(above, 0).to(tl.float64), mask=real)


@triton.jit
def _bin(value):
    """Bins of float32 values: `ingest.activations.reduction.reference.bin_of`."""
    bits = value.to(tl.int32, bitcast=True)
    step = tl.where(bits < 0, -(bits & 0x7FFFFFFF), bits) >> _SHIFT
    up = tl.minimum(tl.maximum(step, _FIRST - 1), _LAST)
    down = tl.minimum(tl.maximum(step, -_LAST - 1), -_FIRST)
    return up + down + (_ZERO_BIN + 1)


@triton.jit(do_not_specialize=_UNSPECIALISED)
def _count_bins(by_neuron, stride, n_rows, counts, ROWS: tl.constexpr):
    """by_neuron [d_mlp, stride] uint8, of which n_rows count; counts [d_mlp * N_BINS] int64 (added to)."""
    neuron = tl.program_id(0).to(tl.int64)
    step = tl.arange(0, ROWS)
    total = tl.zeros([_PLACES], tl.int32)
    for row in range(0, n_rows, ROWS):
        # `stride` is a multiple of 16 and `n_rows` is not: this mask lets 16 bins be loaded at once.
        bin = tl.load(by_neuron + neuron * stride + row + step, mask=row + step < stride, other=0).to(tl.int32)
        total += tl.histogram(tl.where(row + step < n_rows, bin, _PLACES - 1), _PLACES)
    place = tl.arange(0, _PLACES)
    cell = counts + neuron * _BINS + place
    before = tl.load(cell, mask=place < _BINS, other=0)
    tl.store(cell, before + total.to(tl.int64), mask=place < _BINS)


@triton.jit(do_not_specialize=_UNSPECIALISED)
def _fold_moments(parts, n_parts, powers, positive, d_mlp, NEURONS: tl.constexpr):
    """parts [n_parts, 6, d_mlp] float64; powers [4, 4, d_mlp] int64 and positive [d_mlp] int64 (both updated): what
    `ingest.activations.reduction.exact.add` does, with a program's mean cut to a shift of few bits."""
    neuron = tl.program_id(0) * NEURONS + tl.arange(0, NEURONS)
    real = neuron < d_mlp
    above = tl.zeros([NEURONS], tl.float64)
    part = parts + neuron
    for _ in range(n_parts):
        n = tl.load(part, mask=real, other=0.0)
        mean = tl.load(part + d_mlp, mask=real, other=0.0)
        k2 = tl.load(part + 2 * d_mlp, mask=real, other=0.0)
        k3 = tl.load(part + 3 * d_mlp, mask=real, other=0.0)
        k4 = tl.load(part + 4 * d_mlp, mask=real, other=0.0)
        above += tl.load(part + 5 * d_mlp, mask=real, other=0.0)
        s = (mean.to(tl.int64, bitcast=True) & _SHIFT_MASK).to(tl.float64, bitcast=True)
        d = mean - s
        a1, a2 = n * d, k2 + n * d * d
        a3, a4 = k3 + 3 * d * k2 + n * d * d * d, k4 + 4 * d * k3 + 6 * d * d * k2 + n * d * d * d * d
        s2 = s * s
        _add(powers, d_mlp, neuron, real, n * s, a1)
        _add(powers + 4 * d_mlp, d_mlp, neuron, real, n * s2, 2 * s * a1 + a2)
        _add(powers + 8 * d_mlp, d_mlp, neuron, real, n * (s2 * s), 3 * s2 * a1 + 3 * s * a2 + a3)
        _add(powers + 12 * d_mlp, d_mlp, neuron, real, n * (s2 * s2), 4 * s2 * s * a1 + 6 * s2 * a2 + 4 * s * a3 + a4)
        part += _PARTS * d_mlp
    before = tl.load(positive + neuron, mask=real, other=0)
    tl.store(positive + neuron, before + above.to(tl.int64), mask=real)


@triton.jit
def _add(limbs, d_mlp, neuron, real, one, other):
    """Add two float64 numbers to a sum of four limbs, [4, d_mlp] int64, with carries. Nothing here may be fused."""
    at = limbs + neuron
    a, b = (one + _CUT3) - _CUT3, (other + _CUT3) - _CUT3
    one, other, top = one - a, other - b, a + b
    a, b = (one + _CUT2) - _CUT2, (other + _CUT2) - _CUT2
    one, other, third = one - a, other - b, a + b
    a, b = (one + _CUT1) - _CUT1, (other + _CUT1) - _CUT1
    one, other, second = one - a, other - b, a + b
    first = ((one + _CUT0) - _CUT0) + ((other + _CUT0) - _CUT0)
    highest = tl.load(at + 3 * d_mlp, mask=real, other=0)
    fits = (tl.abs(top) < _TOO_LARGE) & (highest < _LIMIT) & (highest > -_LIMIT)
    value = tl.load(at, mask=real, other=0) + tl.where(fits, first / _UNIT0, 0.0).to(tl.int64)
    carry = value >> _LIMB_BITS
    tl.store(at, tl.where(fits, value - (carry << _LIMB_BITS), 0), mask=real)
    value = tl.load(at + d_mlp, mask=real, other=0) + tl.where(fits, second / _UNIT1, 0.0).to(tl.int64) + carry
    carry = value >> _LIMB_BITS
    tl.store(at + d_mlp, tl.where(fits, value - (carry << _LIMB_BITS), 0), mask=real)
    value = tl.load(at + 2 * d_mlp, mask=real, other=0) + tl.where(fits, third / _UNIT2, 0.0).to(tl.int64) + carry
    carry = value >> _LIMB_BITS
    tl.store(at + 2 * d_mlp, tl.where(fits, value - (carry << _LIMB_BITS), 0), mask=real)
    value = highest + tl.where(fits, top / _UNIT3, 0.0).to(tl.int64) + carry
    tl.store(at + 3 * d_mlp, tl.where(fits, value, _OVERFLOWN), mask=real)
