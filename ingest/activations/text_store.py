"""The texts that examples cite: their tokens and predictions, kept on the host until the end."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Int, Int32
from torch import Tensor

from ingest.texts.tokens import Text


@dataclass(frozen=True)
class StoredText:
    """A text and the top prediction at each of its positions."""

    text: Text
    predicted: Int32[np.ndarray, " pos"]


class TextStore:
    """Keeps every text until it has doubled since the last `prune`, so memory follows the texts that are cited."""

    def __init__(self) -> None:
        self.texts: dict[int, StoredText] = {}
        self._prune_at = _next_prune(0)

    def add(self, text: Text, predicted: Int[np.ndarray, " pos"]) -> None:
        """Keep one text."""
        self.texts[text.text_id] = StoredText(text, predicted.astype(np.int32))

    @property
    def full(self) -> bool:
        """Whether it is time to prune."""
        return len(self.texts) >= self._prune_at

    def prune(self, cited: Int[np.ndarray, " text"]) -> None:
        """Forget every text that is not cited."""
        wanted = set(cited.tolist())
        self.texts = {text_id: stored for text_id, stored in self.texts.items() if text_id in wanted}
        self._prune_at = _next_prune(len(self.texts))

    def merge(self, other: TextStore) -> None:
        """Add another store's texts."""
        self.texts.update(other.texts)

    def state_dict(self) -> dict[str, Tensor]:
        """The texts as flat tensors: a value a text, and tokens and predictions text after text."""
        stored = list(self.texts.values())
        empty = [np.zeros(0, np.int32)]
        identity = np.array([(s.text.text_id, s.text.source_row, s.text.chunk, len(s.text)) for s in stored], np.int64)
        return {
            "identity": torch.from_numpy(identity.reshape(-1, 4)),
            "token_ids": torch.from_numpy(np.concatenate(empty + [s.text.token_ids for s in stored])),
            "predicted": torch.from_numpy(np.concatenate(empty + [s.predicted for s in stored])),
        }

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Restore what `state_dict` gave."""
        identity = state["identity"].numpy()
        token_ids, predicted = state["token_ids"].numpy().copy(), state["predicted"].numpy().copy()
        self.texts, start = {}, 0
        for text_id, source_row, chunk, length in identity.tolist():
            part = slice(start, start + length)
            self.texts[text_id] = StoredText(Text(text_id, source_row, chunk, token_ids[part]), predicted[part])
            start += length
        self._prune_at = _next_prune(len(self.texts))


def _next_prune(n_texts: int) -> int:
    return max(4096, 2 * n_texts)
