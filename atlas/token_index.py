"""Find tokens by text without a query: what a search box suggests at every key."""

from __future__ import annotations

from bisect import bisect_left, bisect_right

import numpy as np

from atlas.db import Atlas
from atlas.display import SPACE, read_shown
from atlas.records import Token
from atlas.tokens import letters


class TokenIndex:
    """The vocabulary in order of letters: ids and numbers alone, 12 bytes a token. 100 ms to make for 50,000 tokens."""

    def __init__(self, atlas: Atlas) -> None:
        self._tokens = atlas.tokens
        counts = atlas.arrays("SELECT n_actual FROM token ORDER BY token_id")["n_actual"].tolist()
        entries = []
        for token_id, n_actual in enumerate(counts):
            text = self._tokens.text(token_id)
            if text is not None:
                entries.append((letters(text), len(text), -n_actual, token_id))
        entries.sort()  # of equal letters the shortest first, then the most frequent
        self._lengths = np.array([entry[1] for entry in entries], np.int32)
        self._counts = np.array([-entry[2] for entry in entries], np.int64)
        self._ids = np.array([entry[3] for entry in entries], np.int32)

    def exact(self, text: str) -> list[Token]:
        """Tokens of this text as it is, then as someone who copied a shown token means it, then after a space."""
        if not text:
            return []
        meant = read_shown(text)
        texts = [text, meant] if text.startswith((" ", SPACE)) else [text, meant, " " + meant]
        found = {}
        for wanted in texts:
            same = self._ids[self._same(letters(wanted))]
            found |= dict.fromkeys(sorted(i for i in same.tolist() if self._tokens.text(i) == wanted))
        return [self._tokens[token_id] for token_id in found]

    def same_letters(self, text: str) -> list[Token]:
        """Tokens with the letters of this text: the shortest first, then the most frequent. None for spaces alone."""
        wanted = letters(read_shown(text))
        return [self._tokens[token_id] for token_id in self._ids[self._same(wanted)].tolist()] if wanted else []

    def beginning(self, text: str, limit: int) -> list[Token]:
        """Tokens whose letters begin with those of this text and go on: the shortest first, then the most frequent."""
        wanted = letters(read_shown(text))
        if not wanted:
            return []
        first = self._same(wanted).stop
        end = bisect_left(self._ids, wanted + "\U0010ffff", lo=first, key=self._letters)
        ids = self._ids[first:end]
        order = np.lexsort((ids, -self._counts[first:end], self._lengths[first:end]))
        return [self._tokens[token_id] for token_id in ids[order[:limit]].tolist()]

    def _letters(self, token_id: int) -> str:
        return letters(self._tokens.text(token_id))

    def _same(self, wanted: str) -> slice:
        """Where the tokens of these letters are."""
        first = bisect_left(self._ids, wanted, key=self._letters)
        return slice(first, bisect_right(self._ids, wanted, lo=first, key=self._letters))


def token_index(atlas: Atlas) -> TokenIndex:
    """The index of an atlas, made at the first search."""
    return atlas.remembered("token index", lambda: TokenIndex(atlas))
