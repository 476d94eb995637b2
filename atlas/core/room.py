"""Resources of an open atlas, and large arrays that all processes of a site share.

Where an atlas has a folder, an array that pages need lies in a file there: one process writes it once, every process
maps it, and the system keeps the used pages in memory. Without a folder the array is the process's own.
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
"""Names of arrays and one-dimensional pieces of them; the pieces of a name are concatenated."""


@dataclass(frozen=True)
class Room:
    """Resources of an open atlas. The defaults are DuckDB's own limits, and arrays private to the process."""

    memory: int | None = None
    """Bytes of DuckDB's buffers in this process. A query that needs more writes into the folder."""
    threads: int | None = None
    """DuckDB's threads in this process."""
    folder: Path | None = None

    def settings(self) -> Iterator[tuple[str, str | int]]:
        """DuckDB's settings."""
        if self.memory is not None:
            yield "memory_limit", f"{self.memory}B"
        if self.threads is not None:
            yield "threads", self.threads
        if self.folder is not None:
            yield "temp_directory", str(self.folder / "spilled")


def shared_arrays(room: Room, name: str, make: Callable[[], Pieces]) -> dict[str, np.ndarray]:
    """Read-only one-dimensional arrays by name, made of pieces, so that they need not be in memory as a whole."""
    if room.folder is not None:
        with suppress(OSError):  # for example a full disk
            return _mapped(room.folder / re.sub(r"\W", "-", name), make)
    pieces = defaultdict(list)
    for array, piece in make():
        pieces[array].append(piece)
    return {array: np.concatenate(parts) for array, parts in pieces.items()}


def _mapped(folder: Path, make: Callable[[], Pieces]) -> dict[str, np.ndarray]:
    folder.parent.mkdir(parents=True, exist_ok=True)
    with open(folder.with_suffix(".lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # a second process waits, and finds the file
        with suppress(OSError, ValueError):
            return _opened(folder)
        shutil.rmtree(folder, ignore_errors=True)  # old files in the folder may be cleared
        making = Path(tempfile.mkdtemp(dir=folder.parent))
        try:
            _write(making, make())
            making.rename(folder)
        finally:
            shutil.rmtree(making, ignore_errors=True)
        return _opened(folder)


def _write(folder: Path, pieces: Pieces) -> None:
    """Write one file of raw bytes for each array, and one with their types and lengths."""
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
        # As a plain array: slicing a memmap costs far more than reading its numbers.
        name: np.asarray(np.memmap(folder / name, dtype, "r", shape=(length,))) if length else np.empty(0, dtype)
        for name, (dtype, length) in written.items()
    }
