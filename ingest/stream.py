"""The activation phase: one forward pass a batch; each layer's activations go through the accumulators while hot.

Nothing per position outlives its batch. Within a batch the bins of all layers are kept (one byte an activation),
because what the model predicts is known only at the end of the forward pass.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor

from atlas.bins import MAX_INTERVAL, N_BINS
from atlas.names import neuron_name
from ingest import keys
from ingest.accumulators import ActivationStatistics, ExampleLists, PredictionHistogram, TokenCounts
from ingest.accumulators.examples import BatchRows
from ingest.binning import bin_of, interval_table
from ingest.device import to_device
from ingest.errors import ActivationError
from ingest.hashing import example_key, text_hash
from ingest.lean import LeanModel
from ingest.texts import TextStore
from ingest.tokens import TextBatch

N_INTERVALS = 2 * MAX_INTERVAL + 1
INTERVAL_EXAMPLES = 3
"""Texts kept for each octave of a neuron's per-text maximum."""


@dataclass(frozen=True)
class StreamSettings:
    """What the activation phase needs to know besides the model and the texts."""

    d_vocab: int
    gated: bool
    count_bos: bool
    has_bos: bool
    top_texts: int
    window: int
    fingerprint: str
    seed: int

    @property
    def first_position(self) -> int:
        """First counted position of every text."""
        return 1 if self.has_bos and not self.count_bos else 0


@dataclass(frozen=True)
class _Rows:
    """Where a batch's counted positions lie in [batch * pos], text after text, and the tokens there."""

    index: Int[Tensor, " row"]
    start: Int[Tensor, " text"]
    length: Int[Tensor, " text"]
    text_id: Int[Tensor, " text"]
    text_hash: Int[Tensor, " text"]
    input: Int[Tensor, " row"]
    actual: Int[Tensor, " row"]
    spans: list[tuple[int, int]]
    """First and last (exclusive) row of each text, on the host: reading them off the device would wait for it."""


class Reader:
    """Runs batches through a model into accumulators; the accumulators are its only lasting state."""

    def __init__(
        self,
        model: LeanModel,
        settings: StreamSettings,
        pair_neuron: Int[np.ndarray, " pair"],
        pair_token: Int[np.ndarray, " pair"],
    ) -> None:
        self.model, self.settings, device = model, settings, model.device
        neurons = model.n_layers * model.d_mlp
        self.statistics = ActivationStatistics(model.n_layers, model.d_mlp, device)
        self.tokens = TokenCounts(settings.d_vocab, device)
        self.predictions = PredictionHistogram(
            torch.from_numpy(pair_neuron).to(device), torch.from_numpy(pair_token).to(device),
            settings.d_vocab, model.d_mlp,
        )  # fmt: skip
        self.examples = {"max": ExampleLists(neurons, settings.top_texts, settings.window, device)}
        if settings.gated:
            self.examples["min"] = ExampleLists(neurons, settings.top_texts, settings.window, device)
        self.examples["interval"] = ExampleLists(neurons * N_INTERVALS, INTERVAL_EXAMPLES, settings.window, device)
        self.texts = TextStore()
        self.n_texts = 0
        self._interval = interval_table(device) + MAX_INTERVAL
        self._bins = torch.empty(0, dtype=torch.uint8, device=device)
        self._compact = torch.empty(0, device=device)
        self._finite = torch.ones(model.n_layers, dtype=torch.bool, device=device)

    def read(self, batch: TextBatch) -> None:
        """Run one batch.

        Raises:
            ActivationError: an activation is NaN or infinite; names layer, neuron, text and position.
        """
        input_ids = to_device(batch.input_ids, self.model.device)
        rows = self._rows(batch, input_ids)
        bins = self._bin_buffer(len(rows.index))
        with torch.inference_mode():
            residual = self.model.run(input_ids, lambda layer, x: self._layer(layer, x, rows, bins[layer]))
            if not bool(self._finite.all()):
                self._name_culprit(batch, input_ids)
            predicted = self.model.predict(residual.flatten(0, 1))
            counted = predicted[rows.index]
            self.tokens.update(rows.input, rows.actual, counted)
            self.predictions.update(bins, rows.actual, counted)
        by_text = predicted.view(input_ids.shape).cpu().numpy()
        for text, tokens in zip(batch.texts, by_text, strict=True):
            self.texts.add(text, tokens[: len(text)])
        self.n_texts += len(batch.texts)
        if self.texts.full:
            self.texts.prune(self.cited())

    def cited(self) -> Int[np.ndarray, " text"]:
        """Ids of the texts that some example shows."""
        return np.unique(np.concatenate([lists.cited().cpu().numpy() for lists in self.examples.values()]))

    def _rows(self, batch: TextBatch, input_ids: Int[Tensor, "batch pos"]) -> _Rows:
        settings, width = self.settings, batch.input_ids.shape[1]
        first = settings.first_position
        length = np.maximum(batch.lengths - first, 0)
        step = np.arange(width)
        counted = (step >= first) & (step < batch.lengths[:, None])
        following = np.full_like(batch.input_ids, -1)
        following[:, :-1] = np.where(step[1:] < batch.lengths[:, None], batch.input_ids[:, 1:], -1)
        hashes = [text_hash(settings.fingerprint, settings.seed, t.source_row, t.chunk) for t in batch.texts]
        host = (
            np.flatnonzero(counted),
            np.cumsum(length) - length,
            length,
            np.array([t.text_id for t in batch.texts]),
            np.array(hashes, dtype=np.int64),
            batch.input_ids[counted],
            following[counted],
        )
        spans = [(int(start), int(start + n)) for start, n in zip(host[1], length, strict=True)]
        return _Rows(*(to_device(array, input_ids.device) for array in host), spans=spans)

    def _bin_buffer(self, n: int) -> UInt8[Tensor, "layer row d_mlp"]:
        shape = (self.model.n_layers, n, self.model.d_mlp)
        size = shape[0] * shape[1] * shape[2]
        if self._bins.numel() < size:
            self._bins = torch.empty(size, dtype=torch.uint8, device=self.model.device)
        return self._bins[:size].view(shape)

    def _layer(
        self, layer: int, x: Float[Tensor, "batch pos d_mlp"], rows: _Rows, bins: UInt8[Tensor, "row d_mlp"]
    ) -> None:
        flat = x.flatten(0, 1)
        n, d_mlp = len(rows.index), flat.shape[1]
        if self._compact.numel() < n * d_mlp or self._compact.dtype != flat.dtype:
            self._compact = torch.empty(n * d_mlp, dtype=flat.dtype, device=flat.device)
        # Padding and uncounted BOS go before anything is reduced; one copy, and every text is a run of rows.
        counted = torch.index_select(flat, 0, rows.index, out=self._compact[: n * d_mlp].view(n, d_mlp)).float()
        self.statistics.update(layer, counted, bins)
        self._finite[layer] = torch.isfinite(self.statistics.moments[layer, 3]).all()
        self._examples(layer, counted, rows)

    def _examples(self, layer: int, counted: Float[Tensor, "row d_mlp"], rows: _Rows) -> None:
        here = BatchRows(counted, rows.start, rows.length, rows.text_id, self.settings.first_position)
        neurons = torch.arange(counted.shape[1], device=counted.device) + layer * counted.shape[1]
        texts = [counted[first:last] for first, last in rows.spans]
        highest = torch.stack([text.amax(0) for text in texts])
        group = neurons.expand_as(highest)
        ids = rows.text_id[:, None].expand_as(highest)
        self.examples["max"].update(here, highest, group, keys.encode(highest, ids))
        if self.settings.gated:
            lowest = torch.stack([text.amin(0) for text in texts])
            self.examples["min"].update(here, lowest, group, keys.encode(-lowest, ids), lowest=True)
        interval = self._interval[bin_of(highest).long()]
        chosen = example_key(rows.text_hash, neurons)
        self.examples["interval"].update(here, highest, neurons * N_INTERVALS + interval, chosen)

    def _name_culprit(self, batch: TextBatch, input_ids: Int[Tensor, "batch pos"]) -> None:
        first = self.settings.first_position

        def look(layer: int, x: Float[Tensor, "batch pos d_mlp"]) -> None:
            for row, text in enumerate(batch.texts):
                values = x[row, first : len(text)]
                places = (~torch.isfinite(values)).nonzero()
                if len(places):
                    position, index = (int(place) for place in places[0])
                    raise ActivationError(
                        f"The activation of {neuron_name(layer, index)} is {float(values[position, index])} at text "
                        f"{text.text_id}, position {position + first}. Try --dtype float32, or leave the text out."
                    )

        self.model.run(input_ids, look)
        raise ActivationError("Activations too large to sum their fourth powers were met; try --dtype float32.")


assert N_BINS <= 256, "bins are kept in a byte"
