"""Token ids of a dataset's rows in files that grow: one process writes them, the ranks of its machine read them.

`ids` holds the ids of row after row (int32), `ends` the number of ids up to the end of each row (int64). Ids are
written before ends, so the rows that `ends` covers are whole: whoever goes on writing begins behind them.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Int32, Int64

from ingest.errors import DatasetError

_POLL = 0.02
"""Seconds between looks at files that have no new rows."""
_READ_ROWS = 4096


@dataclass(frozen=True)
class TokenFile:
    """The files in a folder. `alive` says whether their writer is still at work, where this process can tell."""

    folder: Path
    alive: Callable[[], bool] = lambda: True

    @property
    def _ids(self) -> Path:
        return self.folder / "ids"

    @property
    def _ends(self) -> Path:
        return self.folder / "ends"

    @property
    def _whole(self) -> Path:
        """Its presence: no row is missing."""
        return self.folder / "whole"

    @property
    def _failed(self) -> Path:
        """Its contents: why there are no more rows."""
        return self.folder / "failed"

    def n_rows(self) -> int:
        """Rows that are there."""
        return self._ends.stat().st_size // 8 if self._ends.exists() else 0

    def ends(self, first: int, n: int) -> Int64[np.ndarray, " row"]:
        """The ends of `n` rows from `first` on."""
        return np.fromfile(self._ends, np.int64, count=n, offset=8 * first) if n else np.empty(0, np.int64)

    def rows(self, start_row: int) -> Iterator[Int32[np.ndarray, " pos"]]:
        """The ids of each row from `start_row` on, as views of the file's pages; waits for rows to come.

        Raises:
            DatasetError: the writer failed, or is gone.
        """
        row = start_row
        while True:
            whole, alive = self._whole.exists(), self.alive()  # Before the rows are counted: then none is missed.
            n = min(_READ_ROWS, self.n_rows() - row)
            if n > 0:
                yield from self._rows(row, n)
                row += n
            elif whole:
                return
            elif self._failed.exists():
                raise DatasetError(self._failed.read_text(encoding="utf-8"))
            elif not alive:
                self.fail(f"The process that tokenises ended after row {self.n_rows()}. Run the same command again.")
            else:
                time.sleep(_POLL)

    def _rows(self, first: int, n: int) -> Iterator[Int32[np.ndarray, " pos"]]:
        begin = int(self.ends(first - 1, 1)[0]) if first else 0
        ends = self.ends(first, n) - begin
        size = int(ends[-1])
        ids = np.memmap(self._ids, np.int32, "r", 4 * begin, (size,)) if size else np.empty(0, np.int32)
        yield from np.split(np.asarray(ids), ends[:-1])

    def write(
        self, rows_from: Callable[[int], Iterable[Int32[np.ndarray, " pos"]]], enough: Callable[[int], bool]
    ) -> None:
        """Write rows behind those that are there, until there are no more, or enough.

        Args:
            rows_from: gives the ids of each row from some row on.
            enough: told the number of ids of each row in turn, those that are there first.
        """
        n_rows = self.n_rows()
        ends = self.ends(0, n_rows)
        total = int(ends[-1]) if n_rows else 0
        for path, size in ((self._ends, 8 * n_rows), (self._ids, 4 * total)):
            with path.open("ab") as file:
                file.truncate(size)
        if not any(enough(int(n_ids)) for n_ids in np.diff(ends, prepend=0)):
            with self._ids.open("ab") as ids_file, self._ends.open("ab") as ends_file:
                for ids in rows_from(n_rows):
                    total += len(ids)
                    ids_file.write(ids.astype(np.int32).tobytes())
                    ids_file.flush()
                    ends_file.write(np.int64(total).tobytes())
                    ends_file.flush()
                    if enough(len(ids)):
                        break
        self._whole.touch()

    def restart(self) -> None:
        """Forget how an earlier writer ended."""
        self.folder.mkdir(parents=True, exist_ok=True)
        for path in (self._whole, self._failed):
            path.unlink(missing_ok=True)

    def fail(self, why: str) -> None:
        """Tell all readers that no more rows will come."""
        self._failed.write_text(why, encoding="utf-8")
