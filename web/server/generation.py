"""The files of one moment, held open, with what runs visitors' SQL on them: one generation of the site's processes.

DuckDB keeps giving a process the file that it opened first, so a file that replaces another is served by fresh
processes. A process that is started anew, because another died, must still find the file that its generation is about,
whatever is at its path by then: it opens what the master holds.
"""

from __future__ import annotations

import json
import mmap
import os
import select
import signal
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from atlas import Atlas
from atlas.core.errors import AtlasError, NotAnAtlasError
from web.site.app import open_atlases
from web.workers.sql.console import Console, ConsoleOptions
from web.workers.sql.hard_links import HardLinks
from web.workers.sql.job import hold, link

_INSPECTING = 30.0
"""Seconds that reading a new file may take before it is refused."""

_HEADERS = 3 * 4096
"""Bytes of a DuckDB file before its first block."""

_WORKERS = 4096
_WAIT = 0.01


class ReplacedError(AtlasError):
    """A file that replaced another cannot be served in its place."""


@dataclass(frozen=True)
class Seen:
    """Which file is at a path: another one, or another state of it, differs in some of these."""

    device: int
    inode: int
    size: int
    modified: int
    """Nanoseconds."""

    @classmethod
    def of(cls, file: Path | int) -> Seen | None:
        """The file at a path or behind a descriptor; None if there is none."""
        try:
            status = os.stat(file)
        except OSError:
            return None
        return cls(status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)


class Generation:
    """The files as they are now, and the gate that its processes wait at until those before them are told to end.

    `number` tells it from the others whose files have links in the same folders.

    Raises:
        OSError: a file cannot be opened.
    """

    def __init__(self, paths: Sequence[Path], links: HardLinks, number: int = 1) -> None:
        self._links, self._place = links, str(number)
        self._folder = folder = links.folder / self._place
        linked = [links.link(path, f"{self._place}/file{place}") for place, path in enumerate(paths)]
        self.unlinked = [path for path, made in zip(paths, linked, strict=True) if path == made]
        """Files without a link: once they are replaced, DuckDB 2 finds them no more."""
        self._held = [hold(path) for path in linked]
        self.seen = [Seen.of(descriptor) for descriptor in self._held]
        self.files = [
            link(folder / str(number), path, descriptor)
            for number, (path, descriptor) in enumerate(zip(linked, self._held, strict=True))
        ]
        """Paths that open the held files, in this process and those forked from it."""
        self.shared = folder / "shared"
        """A folder for what its processes share and spill."""
        self.console: Console | None = None
        # Shared with the processes forked later: whether the gate is open, then which of them are ready.
        self._flags = mmap.mmap(-1, 1 + _WORKERS)

    def start_sql(self, atlases: Sequence[str], options: ConsoleOptions) -> str | None:
        """Start the processes that run visitors' SQL; why there are none, if there are none."""
        self.console = Console(dict(zip(atlases, self.files, strict=True)), options, self._folder / "sql")
        return self.console.start()

    @property
    def is_open(self) -> bool:
        """Whether its processes answer."""
        return self._flags[0] == 1

    def open(self) -> None:
        """Let its processes answer."""
        self._flags[0] = 1

    def is_ready(self, worker: Any) -> bool:
        """Whether a process of gunicorn's has reached the gate."""
        return self._flags[1 + worker.age % _WORKERS] == 1

    def wait(self, worker: Any) -> None:
        """In a process: say that it is ready, and wait until the gate is open, or it or the master is told to end."""
        self._flags[1 + worker.age % _WORKERS] = 1
        while not self.is_open and worker.alive and os.getppid() == worker.ppid:
            worker.notify()
            time.sleep(_WAIT)

    def release(self, *, wait: bool) -> None:
        """Let go of the files and the SQL processes; processes that were forked keep theirs until they end."""
        if self.console is not None:
            self.console.close(wait=wait)
            self.console = None
        for descriptor in self._held:
            os.close(descriptor)
        self._held.clear()

    def remove(self) -> None:
        """Remove what its processes opened the files by; in the master, when none of them is left."""
        self._links.remove(self._place)

    def inspected(self) -> dict[str, str]:
        """Build by slug, after reading the files in a process of its own: whatever is in a file that somebody put
        there, it is not the master that it crashes or holds up.

        Raises:
            AtlasError: a file cannot be served.
        """
        ours, theirs = os.pipe()
        pid = os.fork()
        if pid == 0:
            try:
                os.write(theirs, json.dumps(_inspect(self.files)).encode())
            finally:
                os._exit(0)
        os.close(theirs)
        with closing(os.fdopen(ours, "rb")) as said:
            readable = select.select([said], [], [], _INSPECTING)[0]
            if not readable:
                os.kill(pid, signal.SIGKILL)
            answer = said.read()
        os.waitpid(pid, 0)
        if not answer:
            why = "ended the process that read it" if readable else f"could not be read in {_INSPECTING:g} s"
            raise NotAnAtlasError(f"A file {why}; expected an atlas, whole and at rest.")
        found = json.loads(answer)
        if "error" in found:
            raise NotAnAtlasError(found["error"])
        return found


def _least_size(atlas: Atlas) -> int:
    """Bytes of a file up to its last block that holds something: DuckDB's own count of blocks goes on to those that are
    free, which it cuts off."""
    tables = atlas.rows("SELECT table_name FROM duckdb_tables() WHERE NOT internal")
    last = list(atlas.rows("SELECT max(block_id) FROM pragma_metadata_info()"))
    for (table,) in tables:
        last += atlas.rows(
            "SELECT max(greatest(block_id, coalesce(list_max(additional_block_ids), -1))) FROM pragma_storage_info(?)",
            table,
        )
    ((block,),) = atlas.rows("SELECT block_size FROM pragma_database_size()")
    return _HEADERS + block * (1 + max((number for (number,) in last if number is not None), default=-1))


def _inspect(files: Sequence[Path]) -> dict[str, str]:
    """Build by slug, or an error's text."""
    try:
        atlases = open_atlases(files)
        for atlas in atlases.values():
            size = _least_size(atlas)
            if os.stat(atlas.path).st_size < size:
                raise NotAnAtlasError(f"{atlas.path} is not whole: expected {size:,} bytes at least.")
            atlas.rows("SELECT max(neuron_id) FROM neuron")
    except Exception as error:
        return {"error": str(error)}
    return {slug: atlas.info.build_id for slug, atlas in atlases.items()}
