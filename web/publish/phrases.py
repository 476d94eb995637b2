"""Phrases: pieces that many pages have, which a packed page names by number. gzip looks back 32 kB only, and a page is
longer: this halves what is packed."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import groupby

_MARK = "\x01"
"""Before a phrase's number; HTML allows no such character."""
_PIECE = re.compile(r"(?<=[>\n}\]])")
"""Ends of pieces: tags, lines, and what closes in data."""
_LEAST = 16
"""Characters of the shortest phrase."""
_MOST = 8000
"""Phrases: each page's reader has them all."""
_COMMON, _OFTEN = 0.04, 0.012
"""Shares of pages that have a piece for it to be common, and a run of common pieces for it to be a phrase."""
_DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"


class Phrases:
    """Phrases by number."""

    def __init__(self, texts: Iterable[str]) -> None:
        self.texts = tuple(texts)
        self._numbers = {text: f"{_MARK}{_base36(number)};" for number, text in enumerate(self.texts)}
        self._common = frozenset(piece for text in self.texts for piece in _PIECE.split(text))

    @classmethod
    def of(cls, pages: list[str]) -> Phrases:
        """The phrases of some pages that are like all."""
        counts = Counter(piece for page in pages for piece in set(_PIECE.split(page)))
        common = frozenset(piece for piece, n in counts.items() if n >= max(2, _COMMON * len(pages)))
        runs = Counter(run for page in pages for run in set(_runs(page, common)) if len(run) >= _LEAST)
        often = sorted((-n, run) for run, n in runs.items() if n >= max(2, _OFTEN * len(pages)))
        return cls(run for _, run in often[:_MOST])

    def shortened(self, page: str) -> str:
        """A page with numbers in place of phrases."""
        page = page.replace(_MARK, "")
        return "".join(self._numbers.get(run, run) for run in _runs(page, self._common))


def _runs(page: str, common: frozenset[str]) -> Iterator[str]:
    """The page in parts: pieces that are common and follow each other, and what stands between."""
    for _, pieces in groupby(_PIECE.split(page), common.__contains__):
        yield "".join(pieces)


def _base36(number: int) -> str:
    text = _DIGITS[number % 36]
    while number := number // 36:
        text = _DIGITS[number % 36] + text
    return text
