"""What one layer of one batch adds to the statistics, in plain torch: the definition, and the path of other devices.

`ingest.reduction.cpu` does the same in one pass over the activations; a test holds both to float64 loops.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Float32, Float64, Int, Int64, UInt8
from torch import Tensor

from atlas.bins import N_BINS
from ingest.binning import bin_of
from ingest.device import to_device

ROW_TILE = 256  # Positions a tile: 256 x 1536 float32 stays in a core's cache while it is read several times.


@dataclass(frozen=True)
class Runs:
    """Where a batch's counted positions lie in the flat rows [batch * pos], padding and BOS included.

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

    `counts` has N_BINS cells a neuron; `moments` are the mean and the sums of the 2nd to 4th powers of what differs
    from it.
    """

    counts: Int64[Tensor, " cell"]
    moments: Float64[Tensor, "moment d_mlp"]
    positive: Int64[Tensor, " d_mlp"]
    minimum: Float32[Tensor, " d_mlp"]
    maximum: Float32[Tensor, " d_mlp"]


def reduce_layer(
    x: Float[Tensor, "flat d_mlp"],
    runs: Runs,
    n_before: int,
    sums: LayerSums,
    bins: UInt8[Tensor, "row d_mlp"],
    highest: Float32[Tensor, "text d_mlp"],
    lowest: Float32[Tensor, "text d_mlp"],
) -> None:
    """Add the counted rows of `x` to `sums`, over `n_before` positions counted before.

    `x` is float32 or bfloat16, contiguous. `bins` receives the bin of each activation by compacted row, `highest` and
    `lowest` each text's extremes. An activation that is not finite makes its neuron's fourth moment not finite.
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
        sums.moments.copy_(merged(n_before + start, sums.moments, len(tile), tile_moments(tile)))
        sums.positive.add_((tile > 0).sum(0))
        owner = text[part, None].expand_as(tile)
        highest.scatter_reduce_(0, owner, tile, "amax")
        lowest.scatter_reduce_(0, owner, tile, "amin")
    torch.maximum(sums.maximum, highest.amax(0), out=sums.maximum)
    torch.minimum(sums.minimum, lowest.amin(0), out=sums.minimum)


def tile_moments(tile: Float32[Tensor, "row d_mlp"]) -> Float64[Tensor, "moment d_mlp"]:
    """Mean and central sums of one tile: powers in float32 about the tile's own mean, where nothing cancels."""
    n = len(tile)
    shift = tile.mean(0)
    part = tile - shift
    square = part * part
    sums = torch.stack([part.sum(0), square.sum(0), (square * part).sum(0), square.square_().sum(0)])
    e1, e2, e3, e4 = sums.to(torch.float64) / n
    # e1 is the rounding of `shift`; take it out of the other powers.
    m2, m3, m4 = e2 - e1**2, e3 - 3 * e1 * e2 + 2 * e1**3, e4 - 4 * e1 * e3 + 6 * e1**2 * e2 - 3 * e1**4
    return torch.stack([shift + e1, n * m2, n * m3, n * m4])


def merged(
    n_a: int, a: Float64[Tensor, "moment d_mlp"], n_b: int, b: Float64[Tensor, "moment d_mlp"]
) -> Float64[Tensor, "moment d_mlp"]:
    """Moments of two samples together (Pébay 2008, equations 2.1 and 3.1)."""
    n = n_a + n_b
    if n_a == 0 or n_b == 0:
        return b.clone() if n_a == 0 else a.clone()
    mean_a, a2, a3, a4 = a
    mean_b, b2, b3, b4 = b
    d = mean_b - mean_a
    m2 = a2 + b2 + d**2 * (n_a * n_b / n)
    m3 = a3 + b3 + d**3 * (n_a * n_b * (n_a - n_b) / n**2) + 3 * d * (n_a * b2 - n_b * a2) / n
    m4 = (
        a4 + b4 + d**4 * (n_a * n_b * (n_a**2 - n_a * n_b + n_b**2) / n**3)
        + 6 * d**2 * (n_a**2 * b2 + n_b**2 * a2) / n**2 + 4 * d * (n_a * b3 - n_b * a3) / n
    )  # fmt: skip
    return torch.stack([mean_a + d * (n_b / n), m2, m3, m4])
