"""The reduction of one layer of one batch in plain torch: the definition, and the path of other devices.

`ingest.activations.reduction.cpu` does the same in one pass over the activations; a test compares both with float64
loops.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Float32, Int, Int64, UInt8
from torch import Tensor

from atlas.core.bins import BINS_PER_OCTAVE, MAX_EXPONENT, MIN_EXPONENT, N_BINS, ZERO_BIN, bin_interval
from ingest.activations.reduction.exact import add, few_bits
from ingest.process.device import to_device

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


ROW_TILE = 256  # Positions a tile: 256 x 1536 float32 stays in a core's cache while it is read several times.


@dataclass(frozen=True)
class Runs:
    """The places of a batch's counted positions in the flat rows [batch * pos], padding and BOS included.

    Text t's counted positions are the flat rows `first[t] : first[t] + length[t]` and the compacted rows
    `out[t] : out[t] + length[t]`. Every text has at least one. Tensors are int64, on the device; the two integers are
    the host's, so that nothing has to wait for the device.
    """

    first: Int[Tensor, " text"]
    length: Int[Tensor, " text"]
    out: Int[Tensor, " text"]
    n_rows: int
    longest: int

    @classmethod
    def of(
        cls, first: Int64[np.ndarray, " text"], length: Int64[np.ndarray, " text"], device: torch.device | str
    ) -> Runs:
        """From the host's first rows and lengths."""
        out = np.cumsum(length) - length
        here = (to_device(array, torch.device(device)) for array in (first, length, out))
        return cls(*here, n_rows=int(length.sum()), longest=int(length.max()))


@dataclass(frozen=True)
class LayerSums:
    """One layer's part of the accumulator, as views that are updated in place.

    `counts` has N_BINS cells a neuron; `powers` are the sums of the 1st to 4th powers
    (`ingest.activations.reduction.exact`)."""

    counts: Int64[Tensor, " cell"]
    powers: Int64[Tensor, "power limb d_mlp"]
    positive: Int64[Tensor, " d_mlp"]
    minimum: Float32[Tensor, " d_mlp"]
    maximum: Float32[Tensor, " d_mlp"]


def reduce_layer(
    x: Float[Tensor, "flat d_mlp"],
    runs: Runs,
    sums: LayerSums,
    bins: UInt8[Tensor, "row d_mlp"],
    highest: Float32[Tensor, "text d_mlp"],
    lowest: Float32[Tensor, "text d_mlp"],
) -> None:
    """Add the counted rows of `x` to `sums`.

    `x` is float32 or bfloat16, contiguous. `bins` receives the bin of each activation by compacted row, `highest` and
    `lowest` each text's extremes. An activation that is not finite (or is above about 2^20) makes its neuron's
    sums overflown.
    """
    text = torch.repeat_interleave(runs.length, output_size=runs.n_rows)
    row = torch.arange(runs.n_rows, device=x.device) + (runs.first - runs.out)[text]
    highest.fill_(-torch.inf)
    lowest.fill_(torch.inf)
    offset = torch.arange(x.shape[1], device=x.device) * N_BINS
    one = torch.ones((), dtype=torch.int64, device=x.device)
    for start in range(0, runs.n_rows, ROW_TILE):
        part = slice(start, start + ROW_TILE)
        tile = x[row[part]].to(torch.float32)
        bin = bin_of(tile)
        bins[part] = bin
        cells = (bin + offset).view(-1)
        sums.counts.scatter_add_(0, cells, one.expand(len(cells)))  # bincount would wait for the device.
        add_tile(sums.powers, tile)
        sums.positive.add_((tile > 0).sum(0))
        owner = text[part, None].expand_as(tile)
        highest.scatter_reduce_(0, owner, tile, "amax")
        lowest.scatter_reduce_(0, owner, tile, "amin")
    torch.maximum(sums.maximum, highest.amax(0), out=sums.maximum)
    torch.minimum(sums.minimum, lowest.amin(0), out=sums.minimum)


def add_tile(powers: Int64[Tensor, "power limb d_mlp"], tile: Float32[Tensor, "row d_mlp"]) -> None:
    """Add one tile's powers: in float32 about a shift near the tile's own mean, where nothing cancels."""
    shift = few_bits(tile.mean(0))
    part = tile - shift
    square = part * part
    sums = torch.stack([part.sum(0), square.sum(0), (square * part).sum(0), square.square_().sum(0)])
    add(powers, len(tile), shift, sums.to(torch.float64))
