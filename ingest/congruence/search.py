"""A search over a model's layers, or over some of them, which can be resumed between layers."""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from ingest.congruence.cpu import CpuSearch
from ingest.congruence.reference import CongruenceSearch
from ingest.congruence.result import Congruence, congruence_of, merge_states
from ingest.process.session import Session


def search(
    layers: Callable[[int], Float[Tensor, "d_mlp d_model"]],
    readout: Float[Tensor, "d_vocab d_model"],
    layer_order: list[int],
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
    """Search layers in the given order (strongest first is fastest), on the readout's device.

    Args:
        layers: weights of a layer, float32, a row a neuron; neuron i of layer l has the id l * d_mlp + i.
        layer_order: the layers to search, each once; some of the model's, where workers share them.
        n_layers: layers of the whole model; without it, as many as `layer_order` has.
        moments: sum third and fourth powers; without them float32 products are not needed, and a CPU may use less.
        tile_bytes: memory for products; None: the search's own choice. Lists do not depend on it.
        state: a state from `on_layer`: the search resumes with the layers that it lacks.
        on_layer: called after each layer with the number of layers of `layer_order` that are done, and a function that
            gives the state: that of `SearchState.state_dict`, and 'layers', the layers done. Its exceptions pass
            through.
        progress: called with the number of neurons searched since the last call, those of `state` included.

    Raises:
        CheckpointError: `state` is of another search.
    """
    kind = CpuSearch if readout.device.type == "cpu" else CongruenceSearch
    n_neurons = (len(layer_order) if n_layers is None else n_layers) * d_mlp
    search_state = kind(readout, n_neurons, k_tokens, k_neurons, moments=moments, tile_bytes=tile_bytes)
    step = -(-d_mlp // -(-d_mlp // search_state.block))  # Blocks of a layer, alike in size.
    done: list[int] = []
    if state is not None:
        search_state.load_state_dict(state)
        done = state["layers"].tolist()
        progress(d_mlp * len(set(done) & set(layer_order)))
    for layer in layer_order:
        if layer in done:
            continue
        weights = layers(layer)
        for start in range(0, d_mlp, step):
            block = weights[start : start + step]
            search_state.update(layer * d_mlp + start, block)
            progress(len(block))
        done.append(layer)
        if on_layer is not None:
            on_layer(
                sum(layer in done for layer in layer_order),
                lambda: {**search_state.state_dict(), "layers": torch.tensor(done, dtype=torch.int64)},
            )
    return search_state.result()


State = dict[str, Tensor]
LayerSearch = Callable[..., Congruence]
"""`search`, or a function like it, with all its arguments but the layers' order, `tile_bytes`, `state`, `on_layer` and
`progress`."""


class SharedSearch:
    """Runs searches of one model, each by name; every rank gets every result.

    Args:
        order: the model's layers, in the order to visit them.
        progress: called with the number of neurons that this rank has searched, and its share of the others'.
    """

    def __init__(self, session: Session, order: list[int], d_mlp: int, progress: Callable[[int], None]) -> None:
        self._session, self._order, self._d_mlp, self._progress = session, order, d_mlp, progress

    def run(self, name: str, layer_search: LayerSearch, device: torch.device) -> Congruence:
        """One search over all layers, resumed from a checkpoint where there is one; its lists on a device.

        Raises:
            SystemExit: a signal asked to stop, and a checkpoint was saved.
            CheckpointError, RankError: see there.
        """
        checkpoints, ranks = self._session.checkpoints, self._session.ranks
        finished = ranks.broadcast(checkpoints.weights(f"weights-{name}") if ranks.main else None)
        if finished:
            self._progress(self._d_mlp * len(self._order) // ranks.world)
            return _on(finished, device)
        begun = self._begun(name) if ranks.main else None
        done = ranks.broadcast({"layers": begun["layers"]} if begun else None).get("layers", torch.empty(0)).tolist()
        left = [layer for layer in self._order if layer not in done][ranks.rank :: ranks.world]
        self._progress(self._d_mlp * len(done) // ranks.world)
        state: State = {}

        def on_layer(n: int, give: Callable[[], State]) -> None:
            self._maybe_save(name, give)
            if n == len(left):
                state.update(give())

        with self._session.stop.deferring():
            layer_search(
                left,
                tile_bytes=self._session.budget.tile_bytes(),
                state=begun,
                on_layer=on_layer,
                progress=self._progress,
            )
        return self._together(name, state or begun, device)

    def _maybe_save(self, name: str, give: Callable[[], State]) -> None:
        checkpoints, ranks, stop = self._session.checkpoints, self._session.ranks, self._session.stop
        stem = f"weights-{name}-part-{ranks.rank}of{ranks.world}"
        if stop.requested:
            checkpoints.save_weights(give(), stem)
            stop.leave()
        if checkpoints.due:
            self._session.try_to_save(lambda: checkpoints.save_weights(give(), stem))

    def _begun(self, name: str) -> State | None:
        """The saved state of a search, by any number of ranks: the parts with most layers that do not overlap."""
        checkpoints = self._session.checkpoints
        stems = checkpoints.stems(f"weights-{name}-part-")
        parts = [part for stem in stems if (part := checkpoints.weights(stem)) is not None]
        chosen: list[State] = []
        layers: set[int] = set()
        for part in sorted(parts, key=lambda part: -len(part["layers"])):
            if layers.isdisjoint(part["layers"].tolist()):
                chosen.append(part)
                layers.update(part["layers"].tolist())
        return merge_states(chosen) if chosen else None

    def _together(self, name: str, state: State | None, device: torch.device) -> Congruence:
        checkpoints, ranks = self._session.checkpoints, self._session.ranks
        merged = state or {}

        def take(other: State) -> None:
            nonlocal merged
            merged = merge_states([part for part in (merged, other) if part])

        ranks.reduce(lambda: merged, take)
        if ranks.main:
            self._session.try_to_save(lambda: checkpoints.save_weights(merged, f"weights-{name}"))
            for stem in checkpoints.stems(f"weights-{name}-part-"):
                checkpoints.forget(stem)
        return _on(ranks.broadcast(merged if ranks.main else None), device)


def _on(state: State, device: torch.device) -> Congruence:
    return congruence_of({name: tensor.to(device) for name, tensor in state.items()})
