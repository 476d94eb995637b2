"""Hard links of the served files, so that each can be opened as long as any process needs it.

A file that is replaced loses its name, and DuckDB 2 opens a file by its name only. So each file gets a hard link in a
folder that only this server uses: in the system's temporary folder or, where that is on another file system, in a
hidden folder beside the file. A folder is locked while any process of its server lives; the next server that starts
there removes the remains of killed ones.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
import time
import weakref
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

_PREFIX, _HIDDEN = "atlas-served-", ".atlas-served-"
_YOUNG = 60.0
"""Age in seconds below which a folder may not be locked yet."""


class HardLinks:
    """Folders with hard links of served files; `folder` is the one in the temporary folder, for other small things."""

    def __init__(self, temporary: Path | None = None) -> None:
        self._folders: list[Path] = []
        self._locks: list[int] = []
        self._end = weakref.finalize(self, _remove, self._folders, self._locks, os.getpid())
        temporary = temporary or Path(tempfile.gettempdir())
        _sweep(temporary, _PREFIX)
        self.folder = self._made(temporary, _PREFIX)

    def link(self, path: Path, place: str) -> Path:
        """Make a hard link of the file at a path, under the same name, in the folder `place`.

        Returns the path itself where no link can be made: neither folder is writable and on the file's file system, or
        the system lets only a file's owner link it.
        """
        file = Path(os.path.realpath(path))  # a hard link of a symbolic link would not hold the file
        for folder in self._candidates(file.parent):
            made = folder / place / path.name
            with suppress(OSError):
                made.parent.mkdir(parents=True, exist_ok=True)
                os.link(file, made)
                return made
        return path

    @property
    def folders(self) -> tuple[Path, ...]:
        """Every folder with links."""
        return tuple(self._folders)

    def remove(self, place: str) -> None:
        """Remove a place and its contents."""
        for folder in self._folders:
            shutil.rmtree(folder / place, ignore_errors=True)

    def close(self) -> None:
        """Remove everything, if this process made it."""
        self._end()

    def _candidates(self, beside: Path) -> Iterable[Path]:
        yield self.folder
        yield from (folder for folder in self._folders if folder.parent == beside)
        if all(folder.parent != beside for folder in self._folders):
            with suppress(OSError):
                _sweep(beside, _HIDDEN)
                yield self._made(beside, _HIDDEN)

    def _made(self, where: Path, prefix: str) -> Path:
        folder = Path(tempfile.mkdtemp(prefix=prefix, dir=where))
        self._folders.append(folder)
        lock = os.open(folder, os.O_RDONLY)
        self._locks.append(lock)
        with suppress(OSError):  # some network file systems cannot lock folders
            fcntl.flock(lock, fcntl.LOCK_SH)
        return folder


def _remove(folders: list[Path], locks: list[int], owner: int) -> None:
    if owner == os.getpid():  # not in a process that was forked from it
        for folder in folders:
            shutil.rmtree(folder, ignore_errors=True)
    for lock in locks:
        os.close(lock)
    locks.clear()


def _sweep(where: Path, prefix: str) -> None:
    """Remove the remains of killed servers: this user's folders that no process has locked."""
    with suppress(OSError):
        for entry in os.scandir(where):
            if entry.name.startswith(prefix) and entry.is_dir(follow_symlinks=False):
                _remove_if_left(Path(entry.path), entry.stat(follow_symlinks=False))


def _remove_if_left(folder: Path, status: os.stat_result) -> None:
    if status.st_uid != os.geteuid() or time.time() - status.st_mtime < _YOUNG:
        return
    with suppress(OSError):
        lock = os.open(folder, os.O_RDONLY | os.O_NOFOLLOW)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(folder, ignore_errors=True)
        finally:
            os.close(lock)
