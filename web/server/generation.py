"""One generation of the site's processes: the files of one moment, held open, and the processes for visitors' SQL on
them.

DuckDB keeps the file that a process opened first, so a file that replaces another is served by new processes. A process
that replaces a dead one must still find its generation's file, whatever is at the path by then: it opens the file that
the master holds.
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
    """Identity of the file at a path: another file, or another state of it, differs in at least one of these."""

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
    """The files as they are now, and a gate at which the generation's processes wait until the previous ones are told
    to end.

    `number` distinguishes it from other generations with links in the same folders.

    Raises:
        OSError: a file cannot be opened.
    """

    def __init__(self, paths: Sequence[Path], links: HardLinks, number: int = 1) -> None:
        self._links, self._place = links, str(number)
        self._folder = folder = links.folder / self._place
        linked = [links.link(path, f"{self._place}/file{place}") for place, path in enumerate(paths)]
        self.unlinked = [path for path, made in zip(paths, linked, strict=True) if path == made]
        """Files without a link: DuckDB 2 cannot open them once they are replaced."""
        self._held = [hold(path) for path in linked]
        self.seen = [Seen.of(descriptor) for descriptor in self._held]
        self.files = [
            link(folder / str(number), path, descriptor)
            for number, (path, descriptor) in enumerate(zip(linked, self._held, strict=True))
        ]
        """Paths that open the held files, in this process and those forked from it."""
        self.shared = folder / "shared"
        """A folder for files that its processes share or spill."""
        self.console: Console | None = None
        # Shared with the processes forked later: whether the gate is open, then which processes are ready.
        self._flags = mmap.mmap(-1, 1 + _WORKERS)

    def start_sql(self, atlases: Sequence[str], options: ConsoleOptions) -> str | None:
        """Start the processes that run visitors' SQL; return the reason if there are none."""
        self.console = Console(dict(zip(atlases, self.files, strict=True)), options, self._folder / "sql")
        return self.console.start()

    @property
    def is_open(self) -> bool:
        """Whether its processes answer."""
        return self._flags[0] == 1

    def open(self) -> None:
        """Open the gate: its processes answer from now on."""
        self._flags[0] = 1

    def is_ready(self, worker: Any) -> bool:
        """Whether a process of gunicorn's has reached the gate."""
        return self._flags[1 + worker.age % _WORKERS] == 1

    def wait(self, worker: Any) -> None:
        """In a process, report that it is ready, and wait until the gate is open, or it or the master is told to
        end."""
        self._flags[1 + worker.age % _WORKERS] = 1
        while not self.is_open and worker.alive and os.getppid() == worker.ppid:
            worker.notify()
            time.sleep(_WAIT)

    def release(self, *, wait: bool) -> None:
        """Release the files and the SQL processes; forked processes keep theirs until they end."""
        if self.console is not None:
            self.console.close(wait=wait)
            self.console = None
        for descriptor in self._held:
            os.close(descriptor)
        self._held.clear()

    def remove(self) -> None:
        """Remove the links to the files; called in the master when none of the generation's processes is left."""
        self._links.remove(self._place)

    def inspected(self) -> dict[str, str]:
        """Build by slug, read from the files in a separate process, so that a bad file cannot crash or block the
        master.

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
        with closing(os.fdopen(ours, "rb")) as output:
            readable = select.select([output], [], [], _INSPECTING)[0]
            if not readable:
                os.kill(pid, signal.SIGKILL)
            answer = output.read()
        os.waitpid(pid, 0)
        if not answer:
            why = "crashed the process that read it" if readable else f"could not be read in {_INSPECTING:g} s"
            raise NotAnAtlasError(f"A file {why}; expected a complete atlas that nobody writes.")
        builds = json.loads(answer)
        if "error" in builds:
            raise NotAnAtlasError(builds["error"])
        return builds


def _least_size(atlas: Atlas) -> int:
    """Bytes of a file up to its last used block: DuckDB's own count of blocks includes free ones, which it
    truncates."""
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
                raise NotAnAtlasError(f"{atlas.path} is incomplete: expected at least {size:,} bytes.")
            atlas.rows("SELECT max(neuron_id) FROM neuron")
    except Exception as error:
        return {"error": str(error)}
    return {slug: atlas.info.build_id for slug, atlas in atlases.items()}
