"""Stored texts by id: flat in memory where they are few enough, else read on demand.

A page shows about sixty texts of one neuron, scattered over all of them. DuckDB unpacks every list near each (9 ms for
10,000 texts of 512 tokens, far more for more texts); an array in memory answers at once.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

import numpy as np

from atlas.core.db import Atlas

MAX_TOKENS_IN_MEMORY = 32_000_000
"""Most tokens in memory, 4 bytes each; a site has them in a file that all its processes map."""

_AT_ONCE = 1 << 20
"""Tokens read at once."""


class FlatTexts:
    """All texts in one array of token ids: `token_ids[first[j] : first[j + 1]]` is the text of `text_ids[j]`."""

    def __init__(self, atlas: Atlas) -> None:
        arrays = atlas.shared("flat texts", lambda: _pieces(atlas))
        self.text_ids: np.ndarray = arrays["text_ids"]
        self.token_ids: np.ndarray = arrays["token_ids"]
        self.first: np.ndarray = arrays["first"]

    def __getitem__(self, text_id: int) -> list[int]:
        """Token ids of a text.

        Raises:
            KeyError: the atlas does not store the text.
        """
        place = int(np.searchsorted(self.text_ids, text_id))
        if place == len(self.text_ids) or self.text_ids[place] != text_id:
            raise KeyError(text_id)
        return self.token_ids[self.first[place] : self.first[place + 1]].tolist()


def _pieces(atlas: Atlas) -> Iterator[tuple[str, np.ndarray]]:
    texts = atlas.arrays('SELECT text_id, len(token_ids) AS n FROM "text" ORDER BY text_id')
    text_ids = np.asarray(texts["text_id"])
    first = np.concatenate(([0], np.cumsum(texts["n"].astype(np.int64))))
    yield "text_ids", text_ids
    yield "first", first
    yield "token_ids", np.empty(0, np.int32)
    flat = """SELECT unnest(token_ids) AS token_id
        FROM (SELECT token_ids FROM "text" WHERE text_id BETWEEN ? AND ? ORDER BY text_id)"""
    for low, high in parts(first):
        piece = atlas.arrays(flat, int(text_ids[low]), int(text_ids[high - 1]))
        yield "token_ids", np.asarray(piece["token_id"], np.int32)


def parts(first: np.ndarray) -> Iterator[tuple[int, int]]:
    """Ranges of texts (end excluded) of about a million tokens; `first` has the place of each text's first token, [text
    + 1]."""
    low, n_texts = 0, len(first) - 1
    while low < n_texts:
        high = max(low + 1, int(np.searchsorted(first, first[low] + _AT_ONCE, side="right")) - 1)
        yield low, high
        low = high


def flat_texts(atlas: Atlas) -> FlatTexts:
    """All texts, read once, whatever their number."""
    return atlas.remembered_large("texts", lambda: FlatTexts(atlas))


def texts_by_id(atlas: Atlas, text_ids: Iterable[int]) -> Mapping[int, list[int]]:
    """Token ids of some texts, BOS included, by text_id."""
    n_tokens = atlas.remembered(
        "stored tokens", lambda: atlas.rows('SELECT coalesce(sum(len(token_ids)), 0)::BIGINT FROM "text"')[0][0]
    )
    ids = sorted(set(text_ids))
    if n_tokens <= MAX_TOKENS_IN_MEMORY:
        texts = flat_texts(atlas)
        return {text_id: texts[text_id] for text_id in ids}
    return dict(atlas.rows('SELECT text_id, token_ids FROM "text" WHERE list_contains(?, text_id)', ids))
