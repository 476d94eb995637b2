"""How far a reading of the texts has come, and which texts are whose: what a checkpoint needs to go on exactly."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass
class TextReport:
    """What became of the rows. The reports of adjoining parts (`--texts A:B`) add up to the report of the whole.

    An empty row counts in the part that has the text after it; rows behind the last text asked for are not read.
    """

    rows_read: int = 0
    rows_empty: int = 0
    """Rows without tokens: they take no text_id."""
    rows_one_token: int = 0
    """Rows of exactly one token, BOS left out."""
    rows_split: int = 0
    """Rows that became several texts."""
    texts: int = 0
    texts_truncated: int = 0
    tokens: int = 0
    """Tokens of those texts, BOS included."""


@dataclass(frozen=True)
class Cursor:
    """How far a reading has come: the texts below `next_text` are done, and those of `ahead` beyond it.

    Reading goes on at `source_row`, whose first text has id `row_text`; `report` is what was counted up to there.
    """

    source_row: int = 0
    row_text: int = 0
    next_text: int = 0
    ahead: frozenset[int] = frozenset()
    report: TextReport = field(default_factory=TextReport)

    def done(self, text_id: int) -> bool:
        """Whether a text of this reading is done."""
        return text_id < self.next_text or text_id in self.ahead

    def to_dict(self) -> dict[str, Any]:
        """As JSON can hold it."""
        return {**asdict(self), "ahead": sorted(self.ahead)}

    @classmethod
    def from_dict(cls, saved: dict[str, Any]) -> Cursor:
        """What `to_dict` gave."""
        return cls(**{**saved, "ahead": frozenset(saved["ahead"]), "report": TextReport(**saved["report"])})


@dataclass(frozen=True)
class Share:
    """The texts of one worker of `world`: every `world`-th text, less what was done while they were divided otherwise.

    `earlier` holds the cursors of all workers of each earlier division.
    """

    rank: int = 0
    world: int = 1
    earlier: tuple[tuple[Cursor, ...], ...] = ()

    def __contains__(self, text_id: int) -> bool:
        return text_id % self.world == self.rank and not any(
            cursors[text_id % len(cursors)].done(text_id) for cursors in self.earlier
        )
