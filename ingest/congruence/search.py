"""One search over a model's layers: resumable between layers, and over some of the layers only."""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from ingest.congruence.cpu import CpuSearch
from ingest.congruence.ranked import Congruence
from ingest.congruence.reference import CongruenceSearch


def search(
    layers: Callable[[int], Float[Tensor, "d_mlp d_model"]],
    layer_order: list[int],
    readout: Float[Tensor, "d_vocab d_model"],
    *,
    d_mlp: int,
    k_tokens: int,
    k_neurons: int,
    n_layers: int | None = None,
    moments: bool = True,
    tile_bytes: int | None = None,
    state: dict[str, Tensor] | None = None,
    on_layer: Callable[[int, Callable[[], dict[str, Tensor]]], None] | None = None,
    progress: Callable[[int], None] = lambda neurons: None,
) -> Congruence:
    """Run layers through a search, in the given order (strongest first is fastest), where the readout is.

    Args:
        layers: weights of a layer, float32, a row a neuron; neuron i of layer l has the id l * d_mlp + i.
        layer_order: the layers to search, each once; some of the model's, where workers share them.
        n_layers: layers of the whole model; without it, as many as `layer_order` has.
        moments: sum third and fourth powers; without them float32 products are not needed, and a CPU may use less.
        tile_bytes: what the products held at a time may take; None: the search's own choice. Lists do not depend on it.
        state: what `on_layer` was given: goes on after the layers it has, whichever these are.
        on_layer: called after each layer with the number of layers of `layer_order` that are done, and a function that
            gives the state: that of `SearchState.state_dict`, and 'layers', the layers done. What it raises is raised.
        progress: told how many neurons have been searched since the last call, those of `state` included.

    Raises:
        CheckpointError: `state` is of another search.
    """
    kind = CpuSearch if readout.device.type == "cpu" else CongruenceSearch
    n_neurons = (len(layer_order) if n_layers is None else n_layers) * d_mlp
    found = kind(readout, n_neurons, k_tokens, k_neurons, moments=moments, tile_bytes=tile_bytes)
    step = -(-d_mlp // -(-d_mlp // found.block))  # Blocks of a layer, alike in size.
    done: list[int] = []
    if state is not None:
        found.load_state_dict(state)
        done = state["layers"].tolist()
        progress(d_mlp * len(set(done) & set(layer_order)))
    for layer in layer_order:
        if layer in done:
            continue
        weights = layers(layer)
        for start in range(0, d_mlp, step):
            block = weights[start : start + step]
            found.update(layer * d_mlp + start, block)
            progress(len(block))
        done.append(layer)
        if on_layer is not None:
            on_layer(
                sum(layer in done for layer in layer_order),
                lambda: {**found.state_dict(), "layers": torch.tensor(done, dtype=torch.int64)},
            )
    return found.result()
