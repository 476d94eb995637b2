"""The search in plain torch for any device: CUDA uses it, and it is the reference for the compiled kernels.

A tile of neurons x tokens is one true float32 GEMM. Its chunk maxima locate the candidates for the lists: only chunks
that could beat a neuron's or a token's k-th best so far are searched. Values are the GEMM's.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from jaxtyping import Float
from torch import Tensor

from ingest.congruence.result import DIRECTIONS, SearchState
from ingest.congruence.topk import TopLists, candidates_in
from ingest.process import sort_keys as keys
from ingest.process.product import true_float32

CHUNK = 16
TILE_BYTES = {"cpu": 1 << 24, "cuda": 1 << 28}
"""Usual bytes of a tile. The host waits a few times for each: on a GPU few large tiles are better."""
_SHAPE = 4  # A tile has this many times more tokens than neurons.


class _RowBound:
    """A lower bound on each row's k-th best from chunk maxima alone, tightened as tiles pass.

    Every chunk maximum is one of the row's entries, so the k-th greatest of them is at most the k-th greatest entry.
    """

    def __init__(self, rows: int, k: int, device: torch.device) -> None:
        self.k = k
        self.maxima: list[Tensor] = []
        self.value: Float[Tensor, " row"] = torch.full((rows,), -torch.inf, device=device)
        self._seen, self._next = 0, 1

    def update(self, chunk_max: Float[Tensor, "row chunk"]) -> None:
        self.maxima.append(chunk_max)
        self._seen += 1
        if self._seen < self._next:  # Tightened after 1, 2, 4, 8 ... tiles: later ones change little.
            return
        self._next *= 2
        every = torch.cat(self.maxima, dim=1)
        if every.shape[1] >= self.k:
            best = every.topk(self.k, dim=1).values
            self.maxima, self.value = [best], best[:, -1]


class CongruenceSearch(SearchState):
    """Feeds blocks of neurons through the token tiles; arguments as for `SearchState`.

    Args:
        tile_bytes: memory for a tile of products (about five times that is in use); None: 16 MB, on CUDA 256 MB.
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
    ) -> None:
        super().__init__(readout, n_neurons, k_tokens, k_neurons, moments)
        self.readout = readout[self.order]
        entries = (tile_bytes or TILE_BYTES[self.device.type]) // 4
        self.block = max(16, int((entries / _SHAPE) ** 0.5))
        """Neurons of a tile."""
        self._tile_tokens = max(1, entries // self.block // CHUNK) * CHUNK
        self._lists = [TopLists(len(readout), self.k_neurons, self.device) for _ in DIRECTIONS if self.k_neurons]
        for lists, own in zip(self._lists, self.token_keys, strict=False):
            lists.keys = own
        nothing_enters = -torch.inf if self.k_neurons else torch.inf
        self._thresholds = [torch.full((len(readout),), nothing_enters, device=self.device) for _ in DIRECTIONS]
        self._waiting: list[list[tuple[Tensor, Tensor]]] = [[] for _ in DIRECTIONS]
        self._blocks, self._flush_at = 0, 1

    def update(self, first_neuron: int, w_out: Float[Tensor, "neuron d_model"]) -> None:
        """Add neurons `first_neuron`, `first_neuron + 1`, ...; each neuron must be added exactly once."""
        with true_float32():
            for start in range(0, len(w_out), self.block):
                rows = w_out[start : start + self.block].to(self.device, torch.float32)
                self._block(first_neuron + start, rows)

    def _tiles(self) -> Iterator[tuple[int, int, int]]:
        """(start, stop, chunk width) of token tiles; a ragged tail gets chunks of one."""
        d_vocab = len(self.readout)
        even = d_vocab // CHUNK * CHUNK
        for start in range(0, even, self._tile_tokens):
            yield start, min(start + self._tile_tokens, even), CHUNK
        if even < d_vocab:
            yield even, d_vocab, 1

    def _block(self, first: int, rows: Float[Tensor, "row d_model"]) -> None:
        n = len(rows)
        ids = torch.arange(first, first + n, device=self.device)
        mean = (rows.to(torch.float64) @ self.mean).to(torch.float32)
        bounds = [_RowBound(n, self.k_tokens, self.device) for _ in DIRECTIONS]
        candidates: list[list[tuple[Tensor, Tensor]]] = [[] for _ in DIRECTIONS]
        for start, stop, width in self._tiles():
            tile = rows @ self.readout[start:stop].T
            if self.moments:
                self._add_powers(first, tile - mean[:, None])
            for side, sign in enumerate(DIRECTIONS.values()):
                signed = tile * sign
                chunk_max = signed.view(n, -1, width).amax(2)
                bounds[side].update(chunk_max)
                threshold = self._thresholds[side][start:stop]
                if self.k_neurons and self._blocks == 0:
                    threshold = torch.maximum(threshold, _column_bound(signed, self.k_neurons))
                row, column, value = candidates_in(signed, chunk_max, bounds[side].value, threshold)
                in_row = value >= bounds[side].value[row]
                tokens = self.order[start + column[in_row]]
                candidates[side].append((row[in_row], keys.encode(value[in_row], tokens)))
                if self.k_neurons:
                    in_column = value >= threshold[column]
                    key = keys.encode(value[in_column], ids[row[in_column]])
                    self._waiting[side].append((start + column[in_column], key))
        for side, parts in enumerate(candidates):
            lists = TopLists(n, self.k_tokens, self.device)
            lists.update(*(torch.cat(part) for part in zip(*parts, strict=True)))
            self.neuron_keys[side, first : first + n] = lists.keys
        self._blocks += 1
        if self._blocks >= self._flush_at:
            self.flush()
            # Token lists are merged after 1, 2, 3, 4, 6, 9, ... blocks: stale thresholds cost little by then.
            self._flush_at = self._blocks + max(1, self._blocks // 2)

    def _add_powers(self, first: int, centred: Float[Tensor, "row column"]) -> None:
        square = centred * centred
        rows = slice(first, first + len(centred))
        self.powers[0, rows] += (square * centred).sum(1).to(torch.float64)
        self.powers[1, rows] += square.square_().sum(1).to(torch.float64)

    def flush(self) -> None:
        for side, lists in enumerate(self._lists):
            if self._waiting[side]:
                lists.update(*(torch.cat(part) for part in zip(*self._waiting[side], strict=True)))
                self._thresholds[side] = lists.thresholds()
                self._waiting[side].clear()

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        super().load_state_dict(state)
        self._thresholds = [lists.thresholds() for lists in self._lists] or self._thresholds


def _column_bound(signed: Float[Tensor, "row column"], k: int) -> Float[Tensor, " column"]:
    """A lower bound on each column's k-th best within a tile, from maxima over groups of rows."""
    rows, columns = signed.shape
    for group in (4, 2, 1):
        if rows // group >= k:
            whole = signed[: rows // group * group].view(-1, group, columns)
            return whole.amax(1).topk(k, dim=0).values[-1]
    return signed.new_full((columns,), -torch.inf)
