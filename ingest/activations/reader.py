"""The activation phase: one forward pass a batch; each layer's activations go through the accumulators while hot.

Nothing per position outlives its batch. Within a batch the bins of all layers are kept (one byte an activation),
because what the model predicts is known only at the end of the forward pass.

On a device that runs behind the host, the host reads back once a batch, after the forward pass: whether all was finite,
how much there is to insert and to count, and the predictions.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor

from atlas.core.bins import MAX_INTERVAL
from atlas.core.names import neuron_name
from ingest.activations.batch import PreparedBatch, Preparer
from ingest.activations.binning import bin_of, interval_table
from ingest.activations.counts import TokenCounts
from ingest.activations.examples import ExampleLists
from ingest.activations.hashing import example_key
from ingest.activations.insertion import BatchRows, Offer
from ingest.activations.predictions import PredictionHistogram
from ingest.activations.signs import SignCases
from ingest.activations.staging import Stage
from ingest.activations.statistics import ActivationStatistics
from ingest.activations.text_store import TextStore
from ingest.congruence.pairs import NeuronFamilies, no_families
from ingest.errors import ActivationError
from ingest.model.forward import LeanModel, OnSides
from ingest.process import sort_keys as keys
from ingest.process.device import await_copies, runs_behind
from ingest.texts.tokens import TextBatch

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
    sign_cases: bool = False

    @property
    def first_position(self) -> int:
        """First counted position of every text."""
        return 1 if self.has_bos and not self.count_bos else 0


class Reader:
    """Runs batches through a model into accumulators; the accumulators are its only lasting state.

    `families`: the (neuron, family) pairs to count beside the pairs; None: none.
    `staged`: whether examples are put aside until the end of the forward pass; the device decides unless it is given.
    """

    def __init__(
        self,
        model: LeanModel,
        settings: StreamSettings,
        pair_neuron: Int[np.ndarray, " pair"],
        pair_token: Int[np.ndarray, " pair"],
        families: NeuronFamilies | None = None,
        *,
        staged: bool | None = None,
    ) -> None:
        self.model, self.settings, device = model, settings, model.device
        neurons = model.n_layers * model.d_mlp
        self.statistics = ActivationStatistics(model.n_layers, model.d_mlp, device)
        self.tokens = TokenCounts(settings.d_vocab, device)
        self.predictions = PredictionHistogram(
            torch.from_numpy(pair_neuron).to(device), torch.from_numpy(pair_token).to(device),
            settings.d_vocab, model.d_mlp,
        )  # fmt: skip
        families = no_families(settings.d_vocab) if families is None else families
        self.families = PredictionHistogram(
            torch.from_numpy(families.neuron).to(device), torch.from_numpy(families.family).to(device),
            settings.d_vocab, model.d_mlp,
        )  # fmt: skip
        # One more at the end, for -1: no token.
        self._family_of = torch.from_numpy(np.append(families.of_token, -1)).to(device)
        self.examples = {"max": ExampleLists(neurons, settings.top_texts, settings.window, device, full=True)}
        if settings.gated:
            self.examples["min"] = ExampleLists(neurons, settings.top_texts, settings.window, device, full=True)
        self.examples["interval"] = ExampleLists(neurons * N_INTERVALS, INTERVAL_EXAMPLES, settings.window, device)
        self.signs = SignCases(model.n_layers, model.d_mlp, device) if settings.sign_cases else None
        self.texts = TextStore()
        self.n_texts = 0
        self._interval = interval_table(device) + MAX_INTERVAL
        self._bins = torch.empty(0, dtype=torch.uint8, device=device)
        self._neurons = torch.arange(neurons, device=device).view(model.n_layers, model.d_mlp)
        self._stage = Stage(self.examples) if (runs_behind(device) if staged is None else staged) else None
        preparer = Preparer(device, settings.first_position, settings.fingerprint, settings.seed)
        self.prepare: Callable[[TextBatch], PreparedBatch] = preparer.prepare
        """Works out what `read` needs; another thread may do it ahead."""

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
            counted = predicted[ready.index]
            by_family = self._family_of[ready.actual], self._family_of[counted]
            totals = torch.cat([self.predictions.totals(ready.actual, counted), self.families.totals(*by_family)])
            finite, totals, offers, by_text = self._read_back(totals, predicted)
            if not finite:
                self._name_culprit(ready)
            self._settle(ready, bins, offers)
            self.tokens.update(ready.input, ready.actual, counted)
            self.predictions.update(bins, ready.actual, counted, totals[:2])
            self.families.update(bins, *by_family, totals[2:])
        texts = ready.batch.texts
        for text, tokens in zip(texts, by_text.view(ready.input_ids.shape).numpy(), strict=True):
            self.texts.add(text, tokens[: len(text)])
        self.n_texts += len(texts)
        if self.texts.full:
            self.texts.prune(self.cited())

    def _read_back(
        self, totals: Int[Tensor, " total"], predicted: Int[Tensor, " flat"]
    ) -> tuple[bool, list[int], list[int], Int[Tensor, " flat"]]:
        """All that the host needs of a batch, in one copy: the one time it waits for the device."""
        offers = self._stage.counts() if self._stage else totals[:0]
        finite = self.statistics.finite().to(torch.int64).view(1)
        here = torch.cat([finite, totals, offers, predicted]).cpu()
        flag, totals, offers, predicted = here.split([1, len(totals), len(offers), len(predicted)])
        return bool(flag), totals.tolist(), offers.tolist(), predicted

    def _settle(self, ready: PreparedBatch, bins: UInt8[Tensor, "layer row d_mlp"], offers: list[int]) -> None:
        """Take in the examples put aside; where places were too few, run the batch again for those lists alone."""
        if self._stage is None:
            return
        again: dict[int, set[str]] = {}
        for kind, layer in self._stage.settle(offers, self.n_texts, len(ready.batch.texts)):
            again.setdefault(layer, set()).add(kind)
        if not again:
            return
        # Only for the texts' extremes: its sums are thrown away.
        extremes_of = ActivationStatistics(1, self.model.d_mlp, self.model.device)

        def offer_again(layer: int, x: Float[Tensor, "batch pos d_mlp"]) -> None:
            if layer in again:
                flat = x.flatten(0, 1)
                extremes = torch.empty(2, len(ready.text_id), flat.shape[1], device=flat.device)
                extremes_of.update(0, flat, ready.runs, bins[layer], *extremes)
                rows, offers = self._offers(layer, flat, ready, *extremes)
                self.examples["max"].update_together(rows, [offers[kind] for kind in again[layer]])

        self.model.run(ready.input_ids, offer_again)

    def cited(self) -> Int[np.ndarray, " text"]:
        """Ids of the texts that some example shows."""
        lists = [*self.examples.values(), *([self.signs] if self.signs else [])]
        return np.unique(np.concatenate([part.cited().cpu().numpy() for part in lists]))

    @torch.inference_mode()
    def merge(self, other: Reader) -> None:
        """Add what another reader of the same model, settings and pairs has read: other texts."""
        for part, others in zip(self._parts().values(), other._parts().values(), strict=True):
            part.merge(others)
        self.n_texts += other.n_texts

    def state_dict(self) -> dict[str, Tensor]:
        """Everything that lasts, as contiguous tensors (some are the accumulators' own memory, not copies).

        A reader that loads it and reads the same batches ends with the same bits as this one. Texts that no example
        cites any more are forgotten first.
        """
        self.texts.prune(self.cited())
        parts = {
            f"{name}.{key}": value for name, part in self._parts().items() for key, value in part.state_dict().items()
        }
        return {"n_texts": torch.tensor(self.n_texts), **parts}

    @torch.inference_mode()
    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Restore what `state_dict` gave."""
        self.n_texts = int(state["n_texts"])
        for name, part in self._parts().items():
            prefix = f"{name}."
            part.load_state_dict({k.removeprefix(prefix): value for k, value in state.items() if k.startswith(prefix)})

    def _parts(self) -> dict[str, Any]:
        lists = {f"examples.{kind}": lists for kind, lists in self.examples.items()}
        return {
            "statistics": self.statistics, "tokens": self.tokens, "predictions": self.predictions,
            "families": self.families, **({"signs": self.signs} if self.signs else {}), **lists, "texts": self.texts,
        }  # fmt: skip

    def _bin_buffer(self, n: int) -> UInt8[Tensor, "layer row d_mlp"]:
        shape = (self.model.n_layers, n, self.model.d_mlp)
        size = shape[0] * shape[1] * shape[2]
        if self._bins.numel() < size:
            self._bins = torch.empty(size, dtype=torch.uint8, device=self.model.device)
        return self._bins[:size].view(shape)

    def _watcher(self, ready: PreparedBatch) -> OnSides | None:
        """What takes in the signs of a gated layer's two sides."""
        if self.signs is None:
            return None
        width = ready.input_ids.shape[1]
        text_id, position = ready.text_id[ready.index // width], ready.index % width

        def take(layer: int, *sides: Float[Tensor, "batch pos d_mlp"]) -> None:
            self.signs.update(layer, *(side.flatten(0, 1)[ready.index] for side in sides), text_id, position)

        return take

    def _layer(
        self, layer: int, x: Float[Tensor, "batch pos d_mlp"], ready: PreparedBatch, bins: UInt8[Tensor, "row d_mlp"]
    ) -> None:
        flat = x.flatten(0, 1)
        highest, lowest = torch.empty(2, len(ready.text_id), flat.shape[1], device=flat.device)
        self.statistics.update(layer, flat, ready.runs, bins, highest, lowest)
        rows, offers = self._offers(layer, flat, ready, highest, lowest)
        if self._stage:
            for kind, offer in offers.items():
                self._stage.offer(kind, layer, self.n_texts, rows, offer)
        else:
            self.examples["max"].update_together(rows, list(offers.values()))

    def _offers(
        self, layer: int, flat: Float[Tensor, "flat d_mlp"], ready: PreparedBatch,
        highest: Float[Tensor, "text d_mlp"], lowest: Float[Tensor, "text d_mlp"],
    ) -> tuple[BatchRows, dict[str, Offer]]:  # fmt: skip
        """What each kind of list is offered of a layer."""
        neurons = self._neurons[layer]
        group = neurons.expand_as(highest)
        ids = ready.text_id[:, None].expand_as(highest)
        offers = {"max": Offer(self.examples["max"], highest, group, keys.encode(highest, ids))}
        if self.settings.gated:
            offers["min"] = Offer(self.examples["min"], lowest, group, keys.encode(-lowest, ids), lowest=True)
        octave = neurons * N_INTERVALS + self._interval[bin_of(highest).long()]
        chosen = example_key(ready.text_hash, neurons)
        offers["interval"] = Offer(self.examples["interval"], highest, octave, chosen)
        return BatchRows(flat, ready.runs, ready.text_id, self.settings.first_position), offers

    def _name_culprit(self, ready: PreparedBatch) -> None:
        first = self.settings.first_position

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
        raise ActivationError("Activations too large to sum their fourth powers were met; try --dtype float32.")
