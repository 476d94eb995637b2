"""Dictionaries: what pages of a kind have in common. deflate looks back 32 kB only, and a page is longer: it is cut
into stretches, each compressed by itself behind the dictionary of what it begins with.

A packed page: of each stretch the number of its dictionary (a byte; 0: none), its length (three bytes, the lowest
first), and raw deflate.
"""

from __future__ import annotations

import json
import re
import zlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from itertools import groupby

from web.publish.pack import compressed, uncompressed

_CUT = re.compile(
    '<(?:section|details|footer|main|tbody>|h3>|h4>|form class="threshold"|script type="application/json">)'
)
_STRETCH = 12_000
"""Characters of a stretch, at most, where the page can be cut."""
_KIND = 40
"""Characters with which a stretch begins, digits left out, that say its kind."""
_WINDOW = 32_768
"""Bytes that deflate looks back."""
_PIECE = re.compile(r'(?<=[>\n}\]/])|(?<==")|(?=[<"])')
_COMMON, _OFTEN, _LEAST = 0.03, 0.012, 6
"""Shares of stretches that have a piece for it to be common, and a run of common pieces for it to be in a dictionary;
characters of the shortest run."""


class Dictionaries:
    """Dictionaries by the kind of stretch."""

    def __init__(self, texts: dict[str, str]) -> None:
        self._texts = texts
        self._known = {kind: (number, text.encode()) for number, (kind, text) in enumerate(texts.items(), 1)}

    @classmethod
    def of(cls, pages: Iterable[str]) -> Dictionaries:
        """The dictionaries for some pages and all that are like them."""
        samples: dict[str, list[str]] = defaultdict(list)
        for page in pages:
            for kind, text in _stretches(page):
                samples[kind].append(text)
        often = sorted((kind for kind in samples if len(samples[kind]) > 3), key=lambda kind: -len(samples[kind]))
        return cls({kind: _best(samples[kind]) for kind in often[:255]})

    @classmethod
    def read(cls, content: bytes) -> Dictionaries:
        """The dictionaries of a file."""
        return cls(json.loads(uncompressed(content)))

    def file(self) -> bytes:
        """A file that keeps them."""
        return compressed(json.dumps(self._texts).encode())

    @property
    def texts(self) -> list[str]:
        """The dictionaries by number, from 1: readers of pages need them."""
        return list(self._texts.values())

    def packed(self, page: str) -> bytes:
        """A page as it lies in an archive."""
        parts = []
        for kind, text in _stretches(page):
            number, dictionary = self._known.get(kind, (0, b""))
            content = _deflated(text, dictionary)
            parts += [bytes((number,)), len(content).to_bytes(3, "little"), content]
        return b"".join(parts)

    def unpacked(self, content: bytes) -> str:
        """A page from an archive."""
        dictionaries = [b"", *(dictionary for _, dictionary in self._known.values())]
        text, at = b"", 0
        while at < len(content):
            end = at + 4 + int.from_bytes(content[at + 1 : at + 4], "little")
            text += zlib.decompressobj(-15, dictionaries[content[at]]).decompress(content[at + 4 : end])
            at = end
        return text.decode()


def _deflated(text: str, dictionary: bytes) -> bytes:
    deflate = zlib.compressobj(8, zlib.DEFLATED, -15, 9, zlib.Z_DEFAULT_STRATEGY, dictionary)
    return deflate.compress(text.encode()) + deflate.flush()


def _stretches(page: str) -> Iterator[tuple[str, str]]:
    """The page in stretches, each with its kind."""
    start = stop = 0
    for end in (*(cut.start() for cut in _CUT.finditer(page)), len(page)):
        if stop > start and end - start > _STRETCH:
            yield _kind(page[start:stop]), page[start:stop]
            start = stop
        stop = end
    yield _kind(page[start:]), page[start:]


def _kind(stretch: str) -> str:
    return re.sub(r"\d", "", stretch[:_KIND])


def _best(samples: list[str]) -> str:
    """Of dictionaries made in different ways from half of the samples, the one behind which the others are smallest."""
    learnt, others = samples[::2], samples[1::2][:20]
    plain, common = "".join(learnt[:40]), "".join(_common(learnt))
    ways = (plain, common, common + learnt[len(learnt) // 2][: _WINDOW // 2])
    dictionaries = [way.encode()[-_WINDOW:].decode(errors="ignore") for way in ways]
    return min(dictionaries, key=lambda text: sum(len(_deflated(one, text.encode())) for one in others))


def _common(samples: list[str]) -> list[str]:
    """Runs of pieces that many samples have, what saves most last: nearest to what follows."""
    counts = Counter(piece for sample in samples for piece in set(_PIECE.split(sample)))
    common = frozenset(piece for piece, n in counts.items() if n >= max(2, _COMMON * len(samples)))
    runs = Counter(run for sample in samples for run in {*_runs(sample, common)} if len(run) >= _LEAST)
    often = [run for run, n in runs.items() if n >= max(2, _OFTEN * len(samples))]
    return sorted(often, key=lambda run: (runs[run] * len(run), run))


def _runs(sample: str, common: frozenset[str]) -> Iterator[str]:
    for _, pieces in groupby(_PIECE.split(sample), common.__contains__):
        yield "".join(pieces)
