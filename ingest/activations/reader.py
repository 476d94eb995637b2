"""The reader of texts: one forward pass a batch, and each layer's activations go through the statistics while hot.

Nothing per position outlives its batch. Within a batch the bins of all layers are kept (one byte an activation),
because the predictions are known only at the end of the forward pass.

On a device that runs behind the host, the host reads back once a batch, after the forward pass: whether all was finite,
how much there is to insert and to count, and the predictions.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor

from atlas.core.names import neuron_name
from ingest.activations.batch import PreparedBatch, Preparer
from ingest.activations.registry import make_statistics
from ingest.activations.statistic import BatchEnd, LayerBatch, Plan, Statistic
from ingest.activations.text_store import TextStore
from ingest.errors import ActivationError
from ingest.model.forward import LeanModel, OnSides
from ingest.process.device import await_copies
from ingest.texts.tokens import TextBatch


class Reader:
    """Runs batches through a model into named statistics; only these and the texts they cite remain."""

    def __init__(self, model: LeanModel, plan: Plan) -> None:
        self.model, self.statistics, settings, device = model, make_statistics(plan), plan.settings, plan.device
        self._first_position = settings.first_position
        self.texts = TextStore()
        self.n_texts = self.n_positions = 0
        self._bins = torch.empty(0, dtype=torch.uint8, device=device)
        preparer = Preparer(device, settings.first_position, settings.fingerprint, settings.seed)
        self.prepare: Callable[[TextBatch], PreparedBatch] = preparer.prepare
        """Prepares batches for `read`, possibly ahead in another thread."""

    def read(self, batch: TextBatch | PreparedBatch) -> None:
        """Run one batch.

        Raises:
            ActivationError: an activation is NaN or infinite; names layer, neuron, text and position.
        """
        ready = self.prepare(batch) if isinstance(batch, TextBatch) else batch
        await_copies(ready.copied, ready.tensors())
        bins = self._bin_buffer(ready.runs.n_rows)
        with torch.inference_mode():
            residual = self.model.run(
                ready.input_ids, lambda layer, x: self._layer(layer, x, ready, bins[layer]), self._watcher(ready)
            )
            predicted = self.model.predict(residual.flatten(0, 1))
            by_text = self._settle(BatchEnd(ready, bins, predicted[ready.index], self.n_texts), predicted)
        texts = ready.batch.texts
        for text, tokens in zip(texts, by_text.view(ready.input_ids.shape).numpy(), strict=True):
            self.texts.add(text, tokens[: len(text)])
        self.n_texts += len(texts)
        self.n_positions += ready.runs.n_rows
        if self.texts.full:
            self.texts.prune(self.cited())

    def _settle(self, end: BatchEnd, predicted: Int[Tensor, " flat"]) -> Int[Tensor, " flat"]:
        """Finish a batch; returns the host's copy of `predicted`. The host gets all it needs in one copy, and waits for
        the device only then."""
        pending = [statistic.pending(end) for statistic in self.statistics.values()]
        pending = [predicted[:0] if counts is None else counts for counts in pending]
        *counts, on_host = torch.cat([*pending, predicted]).cpu().split([*map(len, pending), len(predicted)])
        again: dict[str, set[int]] = {}
        try:
            for (name, statistic), part in zip(self.statistics.items(), counts, strict=True):
                again[name] = statistic.settle(end, part.tolist())
        except ActivationError:
            self._name_culprit(end.ready)
            raise
        if any(again.values()):
            self._read_again(end, again)
        return on_host

    def _read_again(self, end: BatchEnd, again: dict[str, set[int]]) -> None:
        """Run a batch again for the layers that some statistics could not settle."""

        def offer(layer: int, x: Float[Tensor, "batch pos d_mlp"]) -> None:
            for name, layers in again.items():
                if layer in layers:
                    self.statistics[name].again(self._layer_batch(layer, x, end.ready, end.bins[layer]))

        self.model.run(end.ready.input_ids, offer)

    def cited(self) -> Int[np.ndarray, " text"]:
        """Ids of the texts that rows name."""
        return np.unique(np.concatenate([statistic.cited() for statistic in self.statistics.values()]))

    @torch.inference_mode()
    def merge(self, other: Reader) -> None:
        """Add another reader of the same model, settings and pairs, over other texts."""
        for part, others in zip(self._parts().values(), other._parts().values(), strict=True):
            part.merge(others)
        self.n_texts += other.n_texts
        self.n_positions += other.n_positions

    def state_dict(self) -> dict[str, Tensor]:
        """The complete state, as contiguous tensors (some are the statistics' own memory, not copies).

        A reader that loads it and reads the same batches ends with the same bits as this one. Texts that no row names
        any more are removed first.
        """
        self.texts.prune(self.cited())
        parts = {
            f"{name}.{key}": value for name, part in self._parts().items() for key, value in part.state_dict().items()
        }
        return {"n_texts": torch.tensor(self.n_texts), "n_positions": torch.tensor(self.n_positions), **parts}

    @torch.inference_mode()
    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Restore the state of a `state_dict`."""
        self.n_texts, self.n_positions = int(state["n_texts"]), int(state["n_positions"])
        for name, part in self._parts().items():
            prefix = f"{name}."
            part.load_state_dict({k.removeprefix(prefix): value for k, value in state.items() if k.startswith(prefix)})

    def _parts(self) -> dict[str, Statistic | TextStore]:
        return {**self.statistics, "texts": self.texts}

    def _bin_buffer(self, n: int) -> UInt8[Tensor, "layer row d_mlp"]:
        shape = (self.model.n_layers, n, self.model.d_mlp)
        size = shape[0] * shape[1] * shape[2]
        if self._bins.numel() < size:
            self._bins = torch.empty(size, dtype=torch.uint8, device=self.model.device)
        return self._bins[:size].view(shape)

    def _watcher(self, ready: PreparedBatch) -> OnSides | None:
        """The callback that passes a gated layer's two sides to the statistics that read them."""
        readers = [statistic for statistic in self.statistics.values() if statistic.reads_sides]
        if not readers:
            return None
        width = ready.input_ids.shape[1]
        text_id, position = ready.text_id[ready.index // width], ready.index % width

        def take(layer: int, *sides: Float[Tensor, "batch pos d_mlp"]) -> None:
            rows = [side.flatten(0, 1)[ready.index] for side in sides]
            for statistic in readers:
                statistic.update_sides(layer, *rows, text_id, position)

        return take

    def _layer(
        self, layer: int, x: Float[Tensor, "batch pos d_mlp"], ready: PreparedBatch, bins: UInt8[Tensor, "row d_mlp"]
    ) -> None:
        batch = self._layer_batch(layer, x, ready, bins)
        for statistic in self.statistics.values():
            statistic.update_layer(batch)

    def _layer_batch(
        self, layer: int, x: Float[Tensor, "batch pos d_mlp"], ready: PreparedBatch, bins: UInt8[Tensor, "row d_mlp"]
    ) -> LayerBatch:
        flat = x.flatten(0, 1)
        extremes = torch.empty(2, len(ready.text_id), flat.shape[1], device=flat.device)
        return LayerBatch(layer, flat, ready, bins, *extremes, self.n_texts)

    def _name_culprit(self, ready: PreparedBatch) -> None:
        """Raise an error that names the first activation of a batch that is not finite, if there is one."""
        first = self._first_position

        def look(layer: int, x: Float[Tensor, "batch pos d_mlp"]) -> None:
            for row, text in enumerate(ready.batch.texts):
                values = x[row, first : len(text)]
                places = (~torch.isfinite(values)).nonzero()
                if len(places):
                    position, index = (int(place) for place in places[0])
                    raise ActivationError(
                        f"The activation of {neuron_name(layer, index)} is {float(values[position, index])} at text "
                        f"{text.text_id}, position {position + first}. Try --dtype float32, or leave the text out."
                    )

        self.model.run(ready.input_ids, look)
