"""A worker's job: its files, its limits, and, in tests, the layers to leave out."""

from __future__ import annotations

import fcntl
import os
from dataclasses import dataclass, field
from pathlib import Path

from web.workers.sql.limits import Limits

FIRST_FILE = 4
"""Descriptor of the first file in the broker and its workers; the others follow it."""

EMPTY = "empty_"
"""Name of the empty database; no atlas has it, since no slug contains a '_'."""

_DESCRIPTORS = Path("/proc/self/fd")
_HIGH = 256
"""Least descriptor of held files: above all numbers that a process chooses for other files."""


def hold(path: Path) -> int:
    """Open a read-only descriptor of a file, which stays readable whatever happens to its path."""
    opened = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return fcntl.fcntl(opened, fcntl.F_DUPFD_CLOEXEC, _HIGH)
    finally:
        os.close(opened)


def link(folder: Path, path: Path, descriptor: int, name: str | None = None) -> Path:
    """A path that opens the file of a descriptor. Its name, which DuckDB uses for the database, is the file's name or
    `name`. Where the system has no such paths (macOS), it is the file's own path, and a replaced file is not held.
    """
    if not _DESCRIPTORS.is_dir():
        return path.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    made = folder / (path.name if name is None else f"{name}.duckdb")
    made.symlink_to(_DESCRIPTORS / str(descriptor))
    return made


@dataclass(frozen=True)
class Served:
    """A file that workers read: the one at its path when it was opened, whatever is there now."""

    path: Path
    link: Path
    """Path that opens it in a worker."""
    name: str
    """Name of its database in SQL."""


@dataclass(frozen=True)
class Job:
    """A worker's job."""

    files: tuple[Served, ...]
    """All files of the broker, in the order of its descriptors."""
    empty: Path
    """Path that opens the empty database, whose descriptor follows theirs."""
    limits: Limits
    number: int = 0
    """Index of the file that statements are about; they can name the others."""
    without: frozenset[str] = field(default=frozenset())
    """Layers that tests leave out: 'gate', 'landlock', 'seccomp'."""

    @property
    def served(self) -> Served:
        """The file that statements are about."""
        return self.files[self.number]

    @property
    def links(self) -> tuple[Path, ...]:
        """All files that a worker opens."""
        return (self.empty, *(item.link for item in self.files))
