"""The texts that examples cite: their tokens and predictions, kept on the host until the end."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Int, Int32

from ingest.tokens import Text


@dataclass(frozen=True)
class StoredText:
    """A text and the top prediction at each of its positions."""

    text: Text
    predicted: Int32[np.ndarray, " pos"]


class TextStore:
    """Keeps every text until it has doubled since the last `prune`, so memory follows the texts that are cited."""

    def __init__(self) -> None:
        self.texts: dict[int, StoredText] = {}
        self._prune_at = 4096

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
        self._prune_at = max(4096, 2 * len(self.texts))
