"""What an open atlas may use of its machine, and large arrays that all processes of a site share.

Where an atlas has a folder, an array that pages need lies in a file of it, which every process maps: one process makes
it, once, and the system keeps of it what is used. Without a folder it is the process's own.
"""

from __future__ import annotations

import fcntl
import json
import re
import shutil
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np

_MANIFEST = "arrays.json"

Pieces = Iterable[tuple[str, np.ndarray]]
"""Names of arrays, and pieces of them, each of one dimension: those of a name are put one behind the other."""


@dataclass(frozen=True)
class Room:
    """What an open atlas may use. Nothing said: what DuckDB takes by itself, and arrays of the process's own."""

    memory: int | None = None
    """Bytes of DuckDB's buffers in this process. What a query needs beyond them it writes into the folder."""
    threads: int | None = None
    """Of DuckDB, in this process."""
    folder: Path | None = None

    def settings(self) -> Iterator[tuple[str, str | int]]:
        """What DuckDB is told."""
        if self.memory is not None:
            yield "memory_limit", f"{self.memory}B"
        if self.threads is not None:
            yield "threads", self.threads
        if self.folder is not None:
            yield "temp_directory", str(self.folder / "spilled")


def shared_arrays(room: Room, name: str, make: Callable[[], Pieces]) -> dict[str, np.ndarray]:
    """Arrays of one dimension, by their names, which nobody may change: made of pieces, so that they need not be in
    memory as a whole."""
    if room.folder is not None:
        with suppress(OSError):  # the disk is full, say
            return _mapped(room.folder / re.sub(r"\W", "-", name), make)
    pieces = defaultdict(list)
    for array, piece in make():
        pieces[array].append(piece)
    return {array: np.concatenate(parts) for array, parts in pieces.items()}


def _mapped(folder: Path, make: Callable[[], Pieces]) -> dict[str, np.ndarray]:
    folder.parent.mkdir(parents=True, exist_ok=True)
    with open(folder.with_suffix(".lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # who comes second waits, and finds it made
        with suppress(OSError, ValueError):
            return _opened(folder)
        shutil.rmtree(folder, ignore_errors=True)  # something clears the folder of old files
        making = Path(tempfile.mkdtemp(dir=folder.parent))
        try:
            _write(making, make())
            making.rename(folder)
        finally:
            shutil.rmtree(making, ignore_errors=True)
        return _opened(folder)


def _write(folder: Path, pieces: Pieces) -> None:
    """A file an array, of its bytes alone, and one that says their types and lengths."""
    written: dict[str, tuple[str, int]] = {}
    for name, piece in pieces:
        dtype, length = written.get(name, (piece.dtype.str, 0))
        written[name] = dtype, length + len(piece)
        with open(folder / name, "ab") as file:
            np.ascontiguousarray(piece, dtype).tofile(file)
    (folder / _MANIFEST).write_text(json.dumps(written))


def _opened(folder: Path) -> dict[str, np.ndarray]:
    written = json.loads((folder / _MANIFEST).read_text())
    return {
        # As a plain array: a memmap's own slices cost far more than its numbers.
        name: np.asarray(np.memmap(folder / name, dtype, "r", shape=(length,))) if length else np.empty(0, dtype)
        for name, (dtype, length) in written.items()
    }
