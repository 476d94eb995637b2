"""The vocabulary of one atlas in memory: ids to tokens without a join."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable
from functools import cached_property

import numpy as np

from atlas.core.errors import TokenError
from atlas.core.units import Token

_MOST_MADE = 16_384
"""Cached records of tokens, at most, but for a program that reads ahead; about 300 bytes each."""


def letters(text: str) -> str:
    """The text without surrounding spaces and case: equal for `an`, ` an` and `AN`."""
    return text.strip().casefold()


class Tokens:
    """Every token of the vocabulary, by id. Texts are stored once; bytes only where they are not the text's UTF-8."""

    def __init__(self, rows: Iterable[tuple[str | None, bytes | None, bool]]) -> None:
        """Rows are (text, bytes or NULL where they are the text's UTF-8, special), in order of token_id."""
        self._texts: list[str | None] = []
        self._bytes: dict[int, bytes] = {}
        self._special: set[int] = set()
        self.most_made = _MOST_MADE
        """Most records that are kept."""
        self._made: dict[int, Token] = {}  # a page shows thousands of tokens, most of them the same few
        for token_id, (text, raw, special) in enumerate(rows):
            self._texts.append(text)
            if raw is not None:
                self._bytes[token_id] = raw
            if special:
                self._special.add(token_id)

    def __len__(self) -> int:
        return len(self._texts)

    def __getitem__(self, token_id: int) -> Token:
        """The token of an id.

        Raises:
            TokenError: the id is out of range.
        """
        made = self._made.get(token_id)
        if made is not None:
            return made
        if not 0 <= token_id < len(self._texts):
            raise TokenError(f"There is no token {token_id}: this model's token ids go from 0 to {len(self) - 1}.")
        text = self._texts[token_id]
        raw = self._bytes.get(token_id)
        if raw is None and text is not None:
            raw = text.encode("utf-8")
        if len(self._made) >= self.most_made:
            self._made.clear()
        made = self._made[token_id] = Token(token_id, text, raw, token_id in self._special)
        return made

    def text(self, token_id: int) -> str | None:
        """A token's text alone."""
        return self._texts[token_id]

    def bytes_of(self, token_id: int) -> bytes:
        """A token's bytes alone; empty where they are not known."""
        raw = self._bytes.get(token_id)
        return (self._texts[token_id] or "").encode("utf-8") if raw is None else raw

    def many(self, token_ids: Iterable[int]) -> tuple[Token, ...]:
        """The tokens of some ids, in their order.

        Raises:
            TokenError: an id is out of range.
        """
        made = self._made
        return tuple([made.get(token_id) or self[token_id] for token_id in token_ids])

    def relatives(self, token_id: int) -> list[Token]:
        """Other tokens with the same letters, by id: equal after stripping spaces and case. None for bare spaces.

        Raises:
            TokenError: the id is out of range.
        """
        key, order, ids = letters(self[token_id].text or ""), self._by_letters, []
        if key:
            place = bisect_left(order, key, key=self._letters)
            while place < len(order) and self._letters(order[place]) == key:
                ids.append(int(order[place]))
                place += 1
        return [self[other] for other in ids if other != token_id]

    def _letters(self, token_id: int) -> str:
        return letters(self._texts[token_id] or "")

    @cached_property
    def _by_letters(self) -> np.ndarray:
        """Every id, in order of letters, then of id; the letters themselves would take more memory than all the
        rest."""
        return np.array(sorted(range(len(self)), key=self._letters), np.int32)
