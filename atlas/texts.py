"""The texts an atlas stores, by id: kept flat in memory where they are few enough, else read when asked for.

A page shows some sixty texts of one neuron, scattered over all of them; DuckDB unpacks every list near each (9 ms for
10,000 texts of 512 tokens, far more for more texts), an array in memory answers at once.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np

from atlas.db import Atlas

MAX_TOKENS_IN_MEMORY = 32_000_000
"""Tokens kept in memory at most, 4 bytes each in every process that serves the atlas."""


class FlatTexts:
    """All texts in one array of token ids: `token_ids[first[j] : first[j + 1]]` is the text of `text_ids[j]`."""

    def __init__(self, atlas: Atlas) -> None:
        texts = atlas.arrays('SELECT text_id, len(token_ids) AS n FROM "text" ORDER BY text_id')
        flat = 'SELECT unnest(token_ids) AS token_id FROM (SELECT token_ids FROM "text" ORDER BY text_id)'
        self.text_ids: np.ndarray = np.asarray(texts["text_id"])
        self.token_ids: np.ndarray = np.asarray(atlas.arrays(flat)["token_id"])
        self.first: np.ndarray = np.concatenate(([0], np.cumsum(texts["n"].astype(np.int64))))

    def __getitem__(self, text_id: int) -> list[int]:
        """Token ids of a text.

        Raises:
            KeyError: the atlas does not store it.
        """
        place = int(np.searchsorted(self.text_ids, text_id))
        if place == len(self.text_ids) or self.text_ids[place] != text_id:
            raise KeyError(text_id)
        return self.token_ids[self.first[place] : self.first[place + 1]].tolist()


def flat_texts(atlas: Atlas) -> FlatTexts:
    """All texts in memory, read once, however many there are."""
    return atlas.remembered("flat texts", lambda: FlatTexts(atlas))


def texts_by_id(atlas: Atlas, text_ids: Iterable[int]) -> Mapping[int, list[int]]:
    """Token ids of some texts, BOS included, by text_id."""
    n_tokens = atlas.remembered(
        "stored tokens", lambda: atlas.rows('SELECT coalesce(sum(len(token_ids)), 0)::BIGINT FROM "text"')[0][0]
    )
    wanted = sorted(set(text_ids))
    if n_tokens <= MAX_TOKENS_IN_MEMORY:
        texts = flat_texts(atlas)
        return {text_id: texts[text_id] for text_id in wanted}
    return dict(atlas.rows('SELECT text_id, token_ids FROM "text" WHERE list_contains(?, text_id)', wanted))
