"""Which neurons of later layers read what a neuron writes: a congruence search with the writers in place of tokens."""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from ingest.congruence.cpu import CpuSearch
from ingest.congruence.reference import CongruenceSearch
from ingest.congruence.result import Congruence, SearchState

CONNECTIONS = 20
"""Neurons kept for a neuron, side and direction."""


def connect(
    reads: Callable[[int], Float[Tensor, "d_mlp d_model"]],
    w_out: Float[Tensor, "neuron d_model"],
    layer_order: list[int],
    *,
    d_mlp: int,
    k: int = CONNECTIONS,
    tile_bytes: int | None = None,
    state: dict[str, Tensor] | None = None,
    on_layer: Callable[[int, Callable[[], dict[str, Tensor]]], None] | None = None,
    progress: Callable[[int], None] = lambda neurons: None,
) -> Congruence:
    """Search the neurons of all earlier layers for each of the given layers, on the device of `w_out`.

    Args:
        reads: weights with which a layer's neurons read, a row a neuron.
        w_out: output weights of every neuron of the model, by id.
        layer_order: the readers' layers, each once; some of the model's, where workers share them.
        tile_bytes, state, on_layer, progress: as for `ingest.congruence.search.search`.

    Returns:
        In `neuron_token` the earlier neurons that each neuron reads most, in `token_neuron` the later neurons that read
        each neuron most, both ways; the values are inner products.

    Raises:
        CheckpointError: `state` is of another search.
    """
    lists = SearchState(w_out, len(w_out), k, k, moments=False, by_norm=False)
    done: list[int] = []
    if state is not None:
        lists.load_state_dict(state)
        done = state["layers"].tolist()
        progress(d_mlp * len(set(done) & set(layer_order)))
    for layer in layer_order:
        if layer in done:
            continue
        if layer:
            _add_layer(lists, layer, reads(layer), w_out[: layer * d_mlp], tile_bytes)
        done.append(layer)
        progress(d_mlp)
        if on_layer is not None:
            on_layer(
                sum(layer in done for layer in layer_order),
                lambda: {**lists.state_dict(), "layers": torch.tensor(done, dtype=torch.int64)},
            )
    return lists.result()


def _add_layer(
    lists: SearchState,
    layer: int,
    reads: Float[Tensor, "d_mlp d_model"],
    before: Float[Tensor, "earlier d_model"],
    tile_bytes: int | None,
) -> None:
    kind = CpuSearch if before.device.type == "cpu" else CongruenceSearch
    k, first = lists.k_neurons, layer * len(reads)
    search = kind(before, lists.neuron_keys.shape[1], k, k, moments=False, tile_bytes=tile_bytes)
    # With the lists so far, only what is above their last places is looked at.
    search.load_state_dict({**search.state_dict(), "token_keys": lists.token_keys[:, : len(before)]})
    search.update(first, reads)
    merged, rows = search.state_dict(), slice(first, first + len(reads))
    lists.token_keys[:, : len(before)] = merged["token_keys"]
    lists.neuron_keys[:, rows, : search.k_tokens] = merged["neuron_keys"][:, rows]
