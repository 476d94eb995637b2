"""Congruence of every neuron with every token, kept as running top-k lists: [neuron, d_vocab] never exists whole.

A tile of neurons x tokens is one float32 GEMM. What it adds to the lists is found by its chunk maxima: only chunks
that could beat a neuron's or a token's k-th best so far are looked into. Tokens are visited in order of decreasing
readout norm, and layers likewise, so that thresholds are tight early.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from ingest import kernels, keys
from ingest.topk import TopLists, candidates_in

NEURON_TILE = 1024
CPU_NEURON_TILE = 768  # A tile of 768 x 4096 float32 is 12 MB: what the kernels re-read stays in the cache.
TOKEN_TILE = 4096
CHUNK = 16
DIRECTIONS = {"top": 1.0, "bottom": -1.0}


@dataclass(frozen=True)
class RankedList:
    """Ids and values of ranked lists, best first: top descending, bottom ascending. Id -1 marks an empty place."""

    ids: Int[Tensor, "row k"]
    values: Float[Tensor, "row k"]

    def first(self, k: int) -> RankedList:
        """The first `k` places."""
        return RankedList(self.ids[:, :k], self.values[:, :k])


@dataclass(frozen=True)
class Congruence:
    """Ranked tokens of neurons, ranked neurons of tokens (each by direction), and sums of powers over tokens."""

    neuron_token: dict[str, RankedList]
    token_neuron: dict[str, RankedList]
    third: Float[Tensor, " neuron"]
    """Sum over tokens of (congruence - its mean)^3, float64."""
    fourth: Float[Tensor, " neuron"]
    """Sum over tokens of (congruence - its mean)^4, float64."""


def _tiles(d_vocab: int) -> Iterator[tuple[int, int, int]]:
    """(start, stop, chunk width) of token tiles; a ragged tail gets chunks of one."""
    even = d_vocab // CHUNK * CHUNK
    for start in range(0, even, TOKEN_TILE):
        yield start, min(start + TOKEN_TILE, even), CHUNK
    if even < d_vocab:
        yield even, d_vocab, 1


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


class CongruenceSearch:
    """Feeds blocks of neurons through the token tiles. Pure but for its own state; `result` may be read any time.

    This is the plain torch version, which runs on any device and is the reference; `CpuSearch` is the same search with
    compiled kernels.

    Args:
        readout: [d_vocab, d_model] float32, the readout's columns as rows.
        n_neurons: neurons of the whole model.
        k_tokens: tokens kept per neuron and direction.
        k_neurons: neurons kept per token and direction; 0 keeps none (for input weights).
    """

    def __init__(
        self, readout: Float[Tensor, "d_vocab d_model"], n_neurons: int, k_tokens: int, k_neurons: int
    ) -> None:
        d_vocab = len(readout)
        self.device = readout.device
        # Strongest tokens first: thresholds are tight after the first tile.
        self.order = torch.argsort(readout.norm(dim=1), descending=True, stable=True)
        self.readout = readout[self.order]
        self.mean = readout.to(torch.float64).mean(0)
        self.k_tokens, self.k_neurons = min(k_tokens, d_vocab), min(k_neurons, n_neurons)
        empty = torch.full((n_neurons, self.k_tokens), keys.EMPTY, dtype=torch.int64, device=self.device)
        self.neuron_keys = {direction: empty.clone() for direction in DIRECTIONS}
        self.token_lists = {d: TopLists(d_vocab, self.k_neurons, self.device) for d in DIRECTIONS if k_neurons}
        nothing_enters = -torch.inf if k_neurons else torch.inf
        self.token_threshold = {d: torch.full((d_vocab,), nothing_enters, device=self.device) for d in DIRECTIONS}
        self._waiting: dict[str, list[tuple[Tensor, Tensor]]] = {d: [] for d in DIRECTIONS}
        self._blocks, self._flush_at = 0, 1
        self.third = torch.zeros(n_neurons, dtype=torch.float64, device=self.device)
        self.fourth = torch.zeros_like(self.third)

    def update(self, first_neuron: int, w_out: Float[Tensor, "neuron d_model"]) -> None:
        """Add neurons `first_neuron`, `first_neuron + 1`, ...; each neuron must be added exactly once."""
        for start in range(0, len(w_out), NEURON_TILE):
            rows = w_out[start : start + NEURON_TILE].to(self.device, torch.float32)
            row_mean = (rows.to(torch.float64) @ self.mean).to(torch.float32)
            self._block(first_neuron + start, rows, row_mean)

    def _block(self, first: int, rows: Float[Tensor, "row d_model"], row_mean: Float[Tensor, " row"]) -> None:
        n = len(rows)
        ids = torch.arange(first, first + n, device=self.device)
        bound = {d: _RowBound(n, self.k_tokens, self.device) for d in DIRECTIONS}
        found: dict[str, list[tuple[Tensor, Tensor]]] = {d: [] for d in DIRECTIONS}
        for start, stop, width in _tiles(len(self.readout)):
            tile = rows @ self.readout[start:stop].T
            self._add_powers(first, tile - row_mean[:, None])
            for direction, sign in DIRECTIONS.items():
                signed = tile * sign
                chunk_max = signed.view(n, -1, width).amax(2)
                bound[direction].update(chunk_max)
                token_threshold = self.token_threshold[direction][start:stop]
                if self.k_neurons and self._blocks == 0:
                    token_threshold = _column_bound(signed, self.k_neurons)
                row, column, value = candidates_in(signed, chunk_max, bound[direction].value, token_threshold)
                in_row = value >= bound[direction].value[row]
                tokens = self.order[start + column[in_row]]
                found[direction].append((row[in_row], keys.encode(value[in_row], tokens)))
                if self.k_neurons:
                    in_column = value >= token_threshold[column]
                    key = keys.encode(value[in_column], ids[row[in_column]])
                    self._waiting[direction].append((start + column[in_column], key))
        for direction in DIRECTIONS:
            lists = TopLists(n, self.k_tokens, self.device)
            lists.update(*(torch.cat(part) for part in zip(*found[direction], strict=True)))
            self.neuron_keys[direction][first : first + n] = lists.keys
        self._blocks += 1
        if self._blocks >= self._flush_at:
            self._flush()
            # Token lists are merged after 1, 2, 3, 4, 6, 9, ... blocks: stale thresholds cost little by then.
            self._flush_at = self._blocks + max(1, self._blocks // 2)

    def _add_powers(self, first: int, centred: Float[Tensor, "row column"]) -> None:
        square = centred * centred
        rows = slice(first, first + len(centred))
        self.third[rows] += (square * centred).sum(1).to(torch.float64)
        self.fourth[rows] += square.square_().sum(1).to(torch.float64)

    def _flush(self) -> None:
        for direction, waiting in self._waiting.items():
            if waiting:
                lists = self.token_lists[direction]
                lists.update(*(torch.cat(part) for part in zip(*waiting, strict=True)))
                self.token_threshold[direction] = lists.thresholds()
                waiting.clear()

    def result(self) -> Congruence:
        """The lists so far, tokens back in vocabulary order."""
        self._flush()
        back = torch.argsort(self.order)
        by_neuron = {d: _ranked(self.neuron_keys[d], sign) for d, sign in DIRECTIONS.items()}
        by_token = {d: _ranked(lists.keys[back], DIRECTIONS[d]) for d, lists in self.token_lists.items()}
        return Congruence(by_neuron, by_token, self.third, self.fourth)


class CpuSearch(CongruenceSearch):
    """The same search with compiled kernels: lists are heaps, looked at once a tile while it is in the cache."""

    def __init__(
        self, readout: Float[Tensor, "d_vocab d_model"], n_neurons: int, k_tokens: int, k_neurons: int
    ) -> None:
        super().__init__(readout, n_neurons, k_tokens, k_neurons)
        self._tokens = self.order.to(torch.int32).numpy()
        self._tile = torch.empty(CPU_NEURON_TILE * TOKEN_TILE)
        self._neuron_threshold = {d: np.full(n_neurons, -np.inf, dtype=np.float32) for d in DIRECTIONS}

    def _block(self, first: int, rows: Float[Tensor, "row d_model"], row_mean: Float[Tensor, " row"]) -> None:
        for start in range(0, len(rows), CPU_NEURON_TILE):
            part = slice(start, start + CPU_NEURON_TILE)
            self._cpu_block(first + start, rows[part], row_mean[part].numpy())

    def _cpu_block(self, first: int, rows: Float[Tensor, "row d_model"], row_mean: Float[np.ndarray, " row"]) -> None:
        n = len(rows)
        here = slice(first, first + n)
        heaps = [self.neuron_keys[d][here].numpy() for d in DIRECTIONS]
        thresholds = [self._neuron_threshold[d][here] for d in DIRECTIONS]
        powers = [self.third[here].numpy(), self.fourth[here].numpy()]
        for start in range(0, len(self.readout), TOKEN_TILE):
            columns = slice(start, min(start + TOKEN_TILE, len(self.readout)))
            width = columns.stop - start
            out = self._tile[: n * width].view(n, width)
            tile = torch.mm(rows, self.readout[columns].T, out=out).numpy()
            extremes = np.empty((2, -(-width // kernels.CHUNK), n), dtype=np.float32)
            kernels.scan_rows(tile, row_mean, self._tokens[columns], *heaps, *thresholds, *extremes, *powers)
            if self.k_neurons:
                token_heaps = [self.token_lists[d].keys[columns].numpy() for d in DIRECTIONS]
                token_thresholds = [self.token_threshold[d][columns].numpy() for d in DIRECTIONS]
                kernels.scan_columns(tile, first, *token_heaps, *token_thresholds, *extremes)

    def result(self) -> Congruence:
        for lists in self.neuron_keys.values():
            lists.copy_(lists.sort(dim=1, descending=True).values)
        for lists in self.token_lists.values():
            lists.keys.copy_(lists.keys.sort(dim=1, descending=True).values)
        return super().result()


def _column_bound(signed: Float[Tensor, "row column"], k: int) -> Float[Tensor, " column"]:
    """A lower bound on each column's k-th best within a tile, from maxima over groups of rows."""
    rows, columns = signed.shape
    for group in (4, 2, 1):
        if rows // group >= k:
            whole = signed[: rows // group * group].view(-1, group, columns)
            return whole.amax(1).topk(k, dim=0).values[-1]
    return signed.new_full((columns,), -torch.inf)


def _ranked(lists: Int[Tensor, "row k"], sign: float) -> RankedList:
    return RankedList(keys.decode_ids(lists), keys.decode_values(lists) * sign)


def search(
    layers: Callable[[int], Float[Tensor, "d_mlp d_model"]],
    layer_order: list[int],
    readout: Float[Tensor, "d_vocab d_model"],
    *,
    d_mlp: int,
    k_tokens: int,
    k_neurons: int,
    progress: Callable[[int], None] = lambda neurons: None,
) -> Congruence:
    """Run a whole model through a search, layers in the given order (strongest first is fastest)."""
    kind = CpuSearch if readout.device.type == "cpu" else CongruenceSearch
    state = kind(readout, len(layer_order) * d_mlp, k_tokens, k_neurons)
    for layer in layer_order:
        weights = layers(layer)
        for start in range(0, d_mlp, NEURON_TILE):
            block = weights[start : start + NEURON_TILE]
            state.update(layer * d_mlp + start, block)
            progress(len(block))
    return state.result()
