"""Which texts were run, as the column `atlas.text_ranges` says it: "0:40,60:90" is texts 0 to 39 and 60 to 89."""

from __future__ import annotations

from collections.abc import Iterable


def parse_ranges(text: str) -> list[range]:
    """Ranges of text ids from their written form."""
    return [range(*map(int, part.split(":"))) for part in text.split(",")]


def write_ranges(ranges: Iterable[range]) -> str:
    """Written form of disjoint ranges: ascending, those that adjoin joined."""
    joined: list[range] = []
    for part in sorted(ranges, key=lambda part: part.start):
        if joined and joined[-1].stop == part.start:
            joined[-1] = range(joined[-1].start, part.stop)
        else:
            joined.append(part)
    return ",".join(f"{part.start}:{part.stop}" for part in joined)


def overlap(one: Iterable[range], other: Iterable[range]) -> range | None:
    """The first run of ids that both have; None if there is none."""
    others = list(other)
    shared = (range(max(a.start, b.start), min(a.stop, b.stop)) for a in one for b in others)
    return min(filter(len, shared), key=lambda part: part.start, default=None)
