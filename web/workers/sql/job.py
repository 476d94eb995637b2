"""What a worker is told: which files, which limits, and, by tests, which layers to go without."""

from __future__ import annotations

import fcntl
import os
from dataclasses import dataclass, field
from pathlib import Path

from web.workers.sql.limits import Limits

FIRST_FILE = 4
"""The descriptor of the first file, the next ones after it: in the broker and in its workers."""

EMPTY = "empty_"
"""What the database without anything in it is called: no atlas is, since no slug has a '_'."""

_DESCRIPTORS = Path("/proc/self/fd")
_HIGH = 256
"""Descriptors of held files start here: which numbers a process chooses for others ends none of them."""


def hold(path: Path) -> int:
    """A descriptor of a file, read-only, by which it can be read whatever becomes of its path."""
    opened = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return fcntl.fcntl(opened, fcntl.F_DUPFD_CLOEXEC, _HIGH)
    finally:
        os.close(opened)


def link(folder: Path, path: Path, descriptor: int, name: str | None = None) -> Path:
    """A path that opens what a process holds by that descriptor. Its name, by which DuckDB calls the database, is the
    file's, or another. Where the system has no such paths (macOS), it is the file's own, and a file that is replaced
    is not held.
    """
    if not _DESCRIPTORS.is_dir():
        return path.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    made = folder / (path.name if name is None else f"{name}.duckdb")
    made.symlink_to(_DESCRIPTORS / str(descriptor))
    return made


@dataclass(frozen=True)
class Served:
    """A file that workers read: the one that was at its path when it was opened, whatever is there now."""

    path: Path
    link: Path
    """Opens it in a worker."""
    name: str
    """What its database is called in SQL."""


@dataclass(frozen=True)
class Job:
    """What a worker is for."""

    files: tuple[Served, ...]
    """All that the broker has, in the order of its descriptors."""
    empty: Path
    """Opens a database without anything in it, whose descriptor is the one after theirs."""
    limits: Limits
    number: int = 0
    """Of the file that statements are about; the others can be named in them."""
    without: frozenset[str] = field(default=frozenset())
    """Layers that a test leaves out: 'gate', 'landlock', 'seccomp'."""

    @property
    def served(self) -> Served:
        """The file that statements are about."""
        return self.files[self.number]

    @property
    def links(self) -> tuple[Path, ...]:
        """All that a worker opens."""
        return (self.empty, *(item.link for item in self.files))
