"""Preparation of a batch for the model: its tensors are computed on the host and copied to the device.

On CUDA the copies run beside the device's work, so another thread can prepare a batch while the one before it is in the
model (`ingest.process.prefetch`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from ingest.activations.hashing import text_hash
from ingest.activations.reduction.reference import Runs
from ingest.process.device import CopyStream, to_device
from ingest.texts.tokens import TextBatch


@dataclass(frozen=True, eq=False)
class PreparedBatch:
    """A batch with its tensors on the device: its tokens, and the places of its counted positions ("rows"), text after
    text."""

    batch: TextBatch
    input_ids: Int[Tensor, "batch pos"]
    runs: Runs
    index: Int[Tensor, " row"]
    """The index of each row in [batch * pos]."""
    text_id: Int[Tensor, " text"]
    text_hash: Int[Tensor, " text"]
    input: Int[Tensor, " row"]
    actual: Int[Tensor, " row"]
    """The token that really comes next; -1 where there is none."""
    copied: torch.cuda.Event | None

    def tensors(self) -> list[Tensor]:
        """Everything on the device."""
        runs = self.runs
        own = [self.input_ids, self.index, self.text_id, self.text_hash, self.input, self.actual]
        return [*own, runs.first, runs.length, runs.out]


class Preparer:
    """Prepares batches, possibly in another thread than the reader's.

    Args:
        first_position: first counted position of every text.
        fingerprint, seed: of the dataset and the run; they choose the ordinary examples.
    """

    def __init__(self, device: torch.device, first_position: int, fingerprint: str, seed: int) -> None:
        self._device, self._first, self._identity = device, first_position, (fingerprint, seed)
        self._stream = CopyStream(device)

    def prepare(self, batch: TextBatch) -> PreparedBatch:
        """Compute a batch's rows and start copying them to the device."""
        n_texts, width = batch.input_ids.shape
        step = np.arange(width)
        counted = (step >= self._first) & (step < batch.lengths[:, None])
        following = np.full_like(batch.input_ids, -1)
        following[:, :-1] = np.where(step[1:] < batch.lengths[:, None], batch.input_ids[:, 1:], -1)
        hashes = [text_hash(*self._identity, text.source_row, text.chunk) for text in batch.texts]
        host = {
            "input_ids": batch.input_ids,
            "index": np.flatnonzero(counted),
            "text_id": np.array([text.text_id for text in batch.texts]),
            "text_hash": np.array(hashes, dtype=np.int64),
            "input": batch.input_ids[counted],
            "actual": following[counted],
        }
        with self._stream.copying():
            runs = Runs.of(np.arange(n_texts) * width + self._first, batch.lengths - self._first, self._device)
            here = {name: to_device(array, self._device) for name, array in host.items()}
            return PreparedBatch(batch, runs=runs, **here, copied=self._stream.mark())
