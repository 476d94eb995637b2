"""The search on a CPU: a block of neurons is multiplied with the vocabulary tile by tile; each product is read once.

A tile's candidates for tokens' lists are inserted while the tile is in the cache; neurons' lists are selected when
their block is done. With moments, the products of a float32 GEMM are the values. Without, products only exclude
candidates by the bound of `ingest.process.error_bound`, so they may be cheap: bfloat16, where the machine is faster
with it. The remaining candidates are multiplied again exactly: values are inner products rounded once, for any tiles,
threads and dtype.
"""

from __future__ import annotations

from dataclasses import dataclass

import numba
import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from ingest.congruence.kernels.columns import offer_columns, seed_columns
from ingest.congruence.kernels.rows import mark_rows, rank_rows, value_rows
from ingest.congruence.kernels.tiles import scan_tile
from ingest.congruence.kernels.vectors import LANES, WIDTH
from ingest.congruence.result import SearchState
from ingest.process import sort_keys as keys
from ingest.process.error_bound import LARGEST, ROUNDING, bfloat16_pays, column_bound, row_bound
from ingest.process.product import linear, multiply, true_float32

CPU = torch.device("cpu")
NEURON_TILE = 512
LEAST_NEURONS = 16
TOKEN_TILE = 4096
TILE_BYTES = 1 << 28
SEEDED = {True: 4, False: 1}
"""Number of first blocks in which a token's limit comes from the block too, not only from its list: more where values
are costly."""


@dataclass(frozen=True)
class _Block:
    """Neurons `first`, `first + 1`, ... and their working arrays: see the kernels."""

    first: int
    weights: Float[np.ndarray, "row d_padded"]
    approximate: Float[Tensor, "row d_padded"]
    bound: Float[np.ndarray, "2 row"]
    best: Float[np.ndarray, "2 row chunk"]

    def __len__(self) -> int:
        return len(self.weights)


class CpuSearch(SearchState):
    """Feeds blocks of neurons through the vocabulary; arguments as for `SearchState`.

    Args:
        tile_bytes: memory for a block's products, at least those of 16 neurons; None: 256 MB.
        dtype: of the GEMMs; None: the fastest that is right. Results are the same. Moments need float32.
    """

    def __init__(
        self,
        readout: Float[Tensor, "d_vocab d_model"],
        n_neurons: int,
        k_tokens: int,
        k_neurons: int,
        *,
        moments: bool = True,
        tile_bytes: int | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        self._exact = not moments
        super().__init__(readout, n_neurons, k_tokens, k_neurons, moments, by_norm=self._exact)
        d_vocab = len(readout)
        n_columns = -(-d_vocab // WIDTH) * WIDTH  # A last whole chunk: the last token again and again.
        n_chunks = n_columns // WIDTH
        self._readout = _padded(readout[self.order]) if self._exact else readout.contiguous()
        self.dtype = dtype or self._best_dtype()
        self._rounding = np.float32(ROUNDING[self.dtype])
        self._approximate = self._readout.to(self.dtype)
        self._bound = np.zeros((2, n_chunks), dtype=np.float32)  # No error when the products are the values.
        if self._exact:
            self._bound = column_bound(self._readout, self._approximate, WIDTH).numpy()
        size = (self.dtype.itemsize + 32 / WIDTH) * n_columns  # With the working arrays of chunks.
        self.block = max(LEAST_NEURONS, min(NEURON_TILE, int((tile_bytes or TILE_BYTES) / size)))
        """Neurons whose products are held at a time."""
        n = min(self.block, n_neurons)
        self._products = _empty(n * n_columns, self.dtype)
        self._marked, self._slot = np.empty(2 * n_chunks * n, np.uint64), np.empty(2 * n_chunks * n, np.int32)
        chunks = min(TOKEN_TILE // WIDTH, n_chunks) if k_neurons else 0
        self._reached = np.empty(2 * chunks * n, dtype=np.uint64)
        self._thresholds = np.full((2, d_vocab if k_neurons else 0), -np.inf, dtype=np.float32)
        self._seen = 0

    def _best_dtype(self) -> torch.dtype:
        small = self._exact and bool(self._readout.abs().amax() < LARGEST)
        return torch.bfloat16 if small and bfloat16_pays(CPU) else torch.float32

    def update(self, first_neuron: int, w_out: Float[Tensor, "neuron d_model"]) -> None:
        """Add neurons `first_neuron`, `first_neuron + 1`, ...; each neuron must be added exactly once."""
        threads = torch.get_num_threads()
        numba.set_num_threads(min(threads, numba.config.NUMBA_NUM_THREADS))
        torch.set_num_threads(threads)  # Both use OpenMP: the first start of numba's threads changes torch's number.
        with true_float32():
            self._update(first_neuron, w_out)

    def _update(self, first_neuron: int, w_out: Float[Tensor, "neuron d_model"]) -> None:
        for start in range(0, len(w_out), self.block):
            rows = w_out[start : start + self.block].to(torch.float32)
            mean = (rows.to(torch.float64) @ self.mean).to(torch.float32).numpy()
            block = self._prepared(first_neuron + start, rows)
            for first in range(0, len(self.order), TOKEN_TILE):
                self._tile(block, first, mean)
            self._pick(block)
            self._seen += len(rows)

    def _prepared(self, first: int, rows: Float[Tensor, "row d_model"]) -> _Block:
        weights = _padded(rows) if self._exact else rows.contiguous()
        approximate = weights.to(self.dtype)
        bound = row_bound(weights, approximate).numpy() if self._exact else np.zeros((2, len(rows)), dtype=np.float32)
        best = np.empty((2, len(rows), self._bound.shape[1]), dtype=np.float32)
        return _Block(first, weights.numpy(), approximate, bound, best)

    def _tile(self, block: _Block, first: int, mean: Float[np.ndarray, " row"]) -> None:
        """Multiply a block with the tokens from place `first` of the order, and scan the products."""
        n, columns = len(block), slice(first, min(first + TOKEN_TILE, len(self.order)))
        real, chunks = columns.stop - first, slice(first // WIDTH, -(-columns.stop // WIDTH))
        width = (chunks.stop - chunks.start) * WIDTH
        products = self._products[n * first : n * (first + width)].view(n, width)
        if real == width:
            products.copy_(multiply(block.approximate, self._approximate[columns], products))
        else:
            products[:, :real] = linear(block.approximate, self._approximate[columns])
            products[:, real:] = products[:, real - 1 : real]
        tile, bound = _array(products), self._bound[:, chunks]
        limits = self._limits(block, tile, bound, columns)
        reached = self._reached[: 2 * n * (chunks.stop - chunks.start) * bool(self.k_neurons)].reshape(2, -1, n)
        powers = self.powers[:, block.first : block.first + n].numpy()
        scan_tile(tile, block.bound, bound, limits, chunks.start, block.best, reached, mean, real, powers)
        if self.k_neurons:
            offer_columns(
                reached,
                tile,
                self._exact,
                block.weights,
                self._readout.numpy(),
                block.first,
                first,
                self.token_keys.numpy(),
                self._thresholds,
            )

    def _limits(
        self, block: _Block, tile: np.ndarray, bound: Float[np.ndarray, "2 chunk"], columns: slice
    ) -> Float[np.ndarray, "2 column"]:
        """The limits beyond which products of a tile may enter their tokens' lists: at least, and at most."""
        limits = np.full((2, tile.shape[1]), np.inf, dtype=np.float32)  # Nothing reaches the repeated token.
        if self.k_neurons:
            limits[:, : columns.stop - columns.start] = self._thresholds[:, columns]
            if self._seen <= (SEEDED[self._exact] - 1) * self.block:
                seed_columns(tile, block.bound, bound, self._rounding, columns.start, self.token_keys.numpy(), limits)
        finite = np.isfinite(limits)
        limits[finite] -= np.abs(limits[finite]) * self._rounding
        limits[1] *= -1
        return limits

    def _pick(self, block: _Block) -> None:
        """Select the lists of a block's neurons from its products."""
        n, n_chunks, products = len(block), self._bound.shape[1], _array(self._products)
        marked = self._marked[: 2 * n_chunks * n].reshape(2, n_chunks, n)
        slot, count = self._slot[: 2 * n_chunks * n].reshape(2, n_chunks, n), np.empty((2, n), dtype=np.int64)
        marked.fill(0)
        mark_rows(
            products,
            block.best,
            block.bound,
            self._bound,
            self._rounding,
            TOKEN_TILE,
            len(self.order),
            self.k_tokens,
            marked,
            slot,
            count,
        )
        offset = (count.cumsum() - count.ravel()).reshape(count.shape)
        entry_keys = np.empty(int(count.sum()), dtype=np.int64)
        value_rows(
            marked,
            slot,
            offset,
            products,
            self._exact,
            TOKEN_TILE,
            block.weights,
            self._readout.numpy(),
            self.order.numpy(),
            entry_keys,
        )
        rank_rows(entry_keys, offset, count, block.first, self.neuron_keys.numpy())

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        super().load_state_dict(state)
        self._seen = int((self.neuron_keys[0, :, 0] != keys.EMPTY).sum())
        if self.k_neurons:
            self._thresholds[:] = keys.decode_values(self.token_keys[:, :, -1]).numpy()


def _padded(rows: Float[Tensor, "row d"]) -> Float[Tensor, "row d_padded"]:
    """Rows padded with zeros to a multiple of the length that `dot` reads at a time."""
    missing = -rows.shape[1] % LANES
    return torch.nn.functional.pad(rows, (0, missing)) if missing else rows.contiguous()


def _empty(size: int, dtype: torch.dtype) -> Float[Tensor, " entry"]:
    """Memory from numpy, which asks the system for large pages: a tile's columns lie far apart."""
    if dtype == torch.bfloat16:
        return torch.from_numpy(np.empty(size, dtype=np.uint16)).view(dtype)
    return torch.from_numpy(np.empty(size, dtype=np.float32))


def _array(products: Float[Tensor, "*shape"]) -> np.ndarray:
    """The same memory as numpy sees it: bfloat16 as uint16."""
    return (products.view(torch.uint16) if products.dtype == torch.bfloat16 else products).numpy()
