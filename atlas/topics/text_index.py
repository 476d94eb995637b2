"""Index of the stored texts for finding phrases: all texts as one string of bytes, made once.

At the scale of GPT-2 Large (10M tokens, 42 MB of text) the index has 204 MB, which a site keeps in files that its
processes share; it is made in 2 s. A phrase is then found in 30 ms, in more where it occurs hundreds of thousands of
times. Case is folded byte for byte, so that places in the folded bytes are places in the text.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from atlas.core.db import Atlas
from atlas.core.texts import flat_texts, parts

MIN_LETTERS = 3
"""Fewest letters of a phrase; shorter ones occur everywhere."""

_AT_ONCE = 1 << 22
"""Bytes searched at once."""

_BETWEEN = b"\xff"  # no UTF-8 holds this byte, so no phrase is found across two texts


def _lower_case() -> np.ndarray:
    """Code points below 0x800 (two bytes in UTF-8) to their lower case, where that is two bytes too."""
    table = np.arange(0x800, dtype=np.uint16)
    for code in range(0x80, 0x800):
        lower = chr(code).lower()
        if len(lower) == 1 and 0x80 <= ord(lower) < 0x800:
            table[code] = ord(lower)
    return table


_LOWER = _lower_case()


def fold(text: bytes) -> bytes:
    """Text in lower case, as long as before: ASCII and the letters of two bytes (accented Latin, Greek, Cyrillic)."""
    folded = np.frombuffer(text.lower(), np.uint8).copy()
    leads = np.flatnonzero((folded[:-1] >= 0xC2) & (folded[:-1] <= 0xDF) & (folded[1:] & 0xC0 == 0x80))
    codes = _LOWER[(folded[leads].astype(np.uint16) & 0x1F) << 6 | (folded[leads + 1] & 0x3F)]
    folded[leads], folded[leads + 1] = 0xC0 | codes >> 6, 0x80 | codes & 0x3F
    return folded.tobytes()


def distinct(values: np.ndarray) -> np.ndarray:
    """The different ones of whole numbers from 0, ascending; np.unique takes ten times as long."""
    ascending = np.sort(values)
    return ascending[np.flatnonzero(np.diff(ascending, prepend=-1))]


@dataclass(frozen=True)
class Snippet:
    """An occurrence in a text: the text before, the phrase as written there, and the text after, with flags for
    truncation."""

    before: str
    match: str
    after: str
    cut_before: bool
    cut_after: bool


@dataclass(frozen=True)
class Occurrences:
    """Occurrences of phrases, none inside another: first bytes and bytes after the last, both ascending, the texts that
    have them, and every position that has a byte of one, as text and position in the text."""

    starts: np.ndarray
    stops: np.ndarray
    in_texts: np.ndarray
    text_ids: np.ndarray
    positions: np.ndarray

    def within(self, text_ids: np.ndarray) -> Occurrences:
        """Those in some texts."""
        inside, hit = np.isin(self.in_texts, text_ids), np.isin(self.text_ids, text_ids)
        rest = (self.starts[inside], self.stops[inside], self.in_texts[inside])
        return Occurrences(*rest, self.text_ids[hit], self.positions[hit])


class TextIndex:
    """The texts of one atlas as bytes, and the start of each position."""

    def __init__(self, atlas: Atlas) -> None:
        texts = flat_texts(atlas)
        # Positions of all texts in a row; that of text j's position p is _first[j] + p.
        self._text_ids, self._first, self._token_ids = texts.text_ids, texts.first, texts.token_ids
        made = atlas.shared("text index", lambda: _pieces(atlas))
        self._raw, self._folded = made["raw"], made["folded"]
        self._starts, self._sizes = made["starts"], made["sizes"]
        self._ends = made["ends"]  # end of each text, before its separator

    def find(self, *phrases: str) -> Occurrences:
        """Every occurrence of some phrases, ignoring case; overlapping ones too."""
        spans = [self._spans(fold(phrase.encode("utf-8", "replace"))) for phrase in phrases]
        starts, stops = (np.concatenate(ends) for ends in zip(*spans, strict=True))
        order = np.lexsort((-stops, starts))
        starts, stops = starts[order], stops[order]
        outermost = stops > np.concatenate(([0], np.maximum.accumulate(stops)[:-1]))[: len(stops)]
        starts, stops = starts[outermost], stops[outermost]
        # From the position that has the first byte to the one that has the last. Positions without bytes start where
        # the next one does: the last of those that start at or before a byte is the one that has it.
        first = np.searchsorted(self._starts, starts, side="right") - 1
        last = np.searchsorted(self._starts, stops - 1, side="right") - 1
        counts = last - first + 1
        inner = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
        places = distinct(np.repeat(first, counts) + inner)
        places = places[self._sizes[places] > 0]
        texts = self._texts_of(places)
        return Occurrences(
            starts, stops, self._text_ids[self._texts_of(first)], self._text_ids[texts], places - self._first[texts]
        )

    def token_ids(self, text_ids: np.ndarray, positions: np.ndarray) -> np.ndarray:
        """Tokens at some positions."""
        return self._token_ids[self._first[np.searchsorted(self._text_ids, text_ids)] + positions]

    def _texts_of(self, places: np.ndarray) -> np.ndarray:
        return np.searchsorted(self._first, places, side="right") - 1

    def _spans(self, folded: bytes) -> tuple[np.ndarray, np.ndarray]:
        parts = list(self._places(folded)) if folded else []
        starts = np.concatenate([np.empty(0, np.int64), *parts])
        return starts, starts + len(folded)

    def _places(self, folded: bytes) -> Iterator[np.ndarray]:
        """The places of the bytes, by part of the texts: searched in copies, since only `bytes` has a fast search."""
        length = len(folded)
        overlaps = any(folded[:n] == folded[-n:] for n in range(1, length))
        for begin in range(0, len(self._folded), _AT_ONCE):
            part = self._folded[begin : begin + _AT_ONCE + length - 1].tobytes()
            if overlaps:
                yield begin + np.array(list(_overlapping(part, folded)), np.int64)
            else:
                between = np.fromiter(map(len, part.split(folded)[:-1]), np.int64)
                yield begin + np.cumsum(between + length) - length

    def snippet(self, occurrences: Occurrences, text_id: int, position: int, around: int = 80) -> Snippet:
        """The first occurrence that shares a byte with a position, and about `around` bytes on either side."""
        text = int(np.searchsorted(self._text_ids, text_id))
        place = self._first[text] + position
        number = np.searchsorted(occurrences.stops, self._starts[place], side="right")
        start, end = int(occurrences.starts[number]), int(occurrences.stops[number])
        text_start, text_end = int(self._starts[self._first[text]]), int(self._ends[text])
        left, right = self._whole(max(text_start, start - around)), self._whole(min(text_end, end + around))
        return Snippet(
            before=self._raw[left:start].tobytes().decode("utf-8", "replace"),
            match=self._raw[start:end].tobytes().decode("utf-8", "replace"),
            after=self._raw[end:right].tobytes().decode("utf-8", "replace"),
            cut_before=left > text_start,
            cut_after=right < text_end,
        )

    def _whole(self, place: int) -> int:
        """A place moved forward to the start of a character."""
        while place < len(self._raw) and self._raw[place] & 0xC0 == 0x80:
            place += 1
        return place


def _overlapping(part: bytes, folded: bytes) -> Iterator[int]:
    place = part.find(folded)
    while place >= 0:
        yield place
        place = part.find(folded, place + 1)


def _pieces(atlas: Atlas) -> Iterator[tuple[str, np.ndarray]]:
    """Bytes of the texts, original and folded; start and length of each position; end of each text."""
    texts = flat_texts(atlas)
    pieces = [atlas.tokens.bytes_of(token_id) for token_id in range(len(atlas.tokens))]
    # Two more "tokens": an empty one in place of every BOS, and a separator of texts.
    skipped, between = len(pieces), len(pieces) + 1
    pieces += [b"", _BETWEEN]
    lengths = np.array([len(piece) for piece in pieces], np.int32)
    before = 0
    for name, dtype in (
        ("raw", np.uint8),
        ("folded", np.uint8),
        ("starts", np.int64),
        ("sizes", np.int32),
        ("ends", np.int64),
    ):
        yield name, np.empty(0, dtype)
    for low, high in parts(texts.first):
        first = texts.first[low : high + 1] - texts.first[low]
        token_ids = texts.token_ids[texts.first[low] : texts.first[high]].copy()
        if atlas.info.bos_token_id is not None:
            begins = first[:-1][np.diff(first) > 0]
            token_ids[begins[token_ids[begins] == atlas.info.bos_token_id]] = skipped
        parted = np.insert(token_ids, first[1:], between)
        raw = b"".join([pieces[token_id] for token_id in parted.tolist()])
        sizes = lengths[parted]
        starts = before + np.cumsum(sizes, dtype=np.int64) - sizes
        inside = parted != between
        yield "raw", np.frombuffer(raw, np.uint8)
        yield "folded", np.frombuffer(fold(raw), np.uint8)
        yield "starts", starts[inside]
        yield "sizes", sizes[inside]
        yield "ends", starts[~inside]
        before += len(raw)


def text_index(atlas: Atlas) -> TextIndex:
    """The index of an atlas, made at the first search."""
    return atlas.remembered_large("texts as bytes", lambda: TextIndex(atlas))
