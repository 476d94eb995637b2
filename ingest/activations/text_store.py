"""The texts that examples cite: their tokens and predictions, kept on the host until the end."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar

import numpy as np
import pyarrow as pa
import torch
from jaxtyping import Int, Int32
from torch import Tensor

from ingest.process.arrow import BATCH_ROWS, Columns, joined
from ingest.texts.tokens import Text


@dataclass(frozen=True)
class StoredText:
    """A text and the top prediction at each of its positions."""

    text: Text
    predicted: Int32[np.ndarray, " pos"]


class TextStore:
    """Keeps every text until it has doubled since the last `prune`, so memory follows the texts that are cited."""

    tables: ClassVar = {"text": ("text_id",)}
    laws: ClassVar = {}

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
        cited_ids = set(cited.tolist())
        self.texts = {text_id: stored for text_id, stored in self.texts.items() if text_id in cited_ids}
        self._prune_at = _next_prune(len(self.texts))

    def merge(self, other: TextStore) -> None:
        """Add another store's texts."""
        self.texts.update(other.texts)

    def rows(self) -> Iterator[Columns]:
        """Table `text`."""
        texts = [self.texts[text_id] for text_id in sorted(self.texts)]
        batch = np.cumsum([len(t.predicted) for t in texts]) // BATCH_ROWS
        for start, stop in pairwise([*np.flatnonzero(np.diff(batch, prepend=-1)).tolist(), len(texts)]):
            part = texts[start:stop]
            yield {
                "text_id": np.array([t.text.text_id for t in part], dtype=np.int64),
                "source_row": np.array([t.text.source_row for t in part], dtype=np.int64),
                "chunk": np.array([t.text.chunk for t in part], dtype=np.int32),
                "token_ids": joined([t.text.token_ids for t in part]),
                "predicted_token_ids": joined([t.predicted for t in part]),
            }

    @classmethod
    def from_rows(cls, rows: pa.Table) -> TextStore:
        """The texts from their `rows`."""
        store = cls()
        identity = zip(*(rows[name].to_pylist() for name in ("text_id", "source_row", "chunk")), strict=True)
        tokens, predicted = (rows[name] for name in ("token_ids", "predicted_token_ids"))
        for text, ids, top in zip(identity, tokens, predicted, strict=True):
            store.add(Text(*text, ids.values.to_numpy()), top.values.to_numpy())
        return store

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
