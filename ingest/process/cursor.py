"""The place of a run in its texts and its share of them: the state from which a checkpoint resumes exactly."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass
class TextReport:
    """Counts of rows and texts. The reports of adjoining parts (`--texts A:B`) add up to the report of the whole.

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
    """The place in the texts: those below `next_text` are done, and so are those in `ahead` beyond it.

    Reading goes on at `source_row`, whose first text has id `row_text`; `report` holds the counts up to there.
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
        """The cursor as JSON values."""
        return {**asdict(self), "ahead": sorted(self.ahead)}

    @classmethod
    def from_dict(cls, saved: dict[str, Any]) -> Cursor:
        """The inverse of `to_dict`."""
        return cls(**{**saved, "ahead": frozenset(saved["ahead"]), "report": TextReport(**saved["report"])})


@dataclass(frozen=True)
class Share:
    """The texts of one worker of `world`: every `world`-th text, less those done under earlier divisions.

    `earlier` holds the cursors of all workers of each earlier division.
    """

    rank: int = 0
    world: int = 1
    earlier: tuple[tuple[Cursor, ...], ...] = ()

    def __contains__(self, text_id: int) -> bool:
        return text_id % self.world == self.rank and not any(
            cursors[text_id % len(cursors)].done(text_id) for cursors in self.earlier
        )
