"""New builds into service without a request lost: the files are watched, and fresh processes take over from the old.

When another file is at a path, its processes are started beside those that serve, read it, and wait at a gate. Once all
are ready the old ones are told to end, which finish what they were asked, and the gate opens: meanwhile connections
wait with the system, which both share. A file that cannot be served changes nothing.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import tempfile
import time
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import click
from gunicorn.arbiter import Arbiter

from atlas.errors import AtlasError
from web.app import open_atlases
from web.generation import Generation, ReplacedError, Seen
from web.plan import Plan, Planner
from web.sandbox.console import ConsoleOptions
from web.sandbox.hard_links import HardLinks

_STATUS = "status.json"
_EVERY = 5
"""Rounds of the master's loop, of a second each, between two looks at what its processes hold."""

_LOOKS = 3
"""Looks in a row at which a process holds more than its share before another takes its place: what a moment's requests
need together is given back, and the two would hold more for as long as both are there."""

_PATIENCE = 60.0
"""Seconds that a process answers, at least, whatever it holds."""

_AT_ONCE = 5
"""Seconds that processes have to end when they are not to finish what they do; what is left then is killed."""


def _on_disk() -> Path:
    """Where files may lie that are larger than what should be in memory, as all of /tmp is on some systems."""
    disk = Path("/var/tmp")
    chosen = any(name in os.environ for name in ("TMPDIR", "TEMP", "TMP"))
    return disk if not chosen and os.access(disk, os.W_OK) else Path(tempfile.gettempdir())


class Site:
    """What is served: the current generation, and what is at the paths of its files.

    `awaited` are files that are not there yet: each is served, too, from when an atlas is there. `plan` says how the
    processes are laid out then, `laid_out` how they are now; `order` has all the paths as the operator gave them.
    """

    def __init__(
        self,
        paths: Sequence[Path],
        slugs: Sequence[str],
        sql: ConsoleOptions,
        *,
        awaited: Sequence[Path] = (),
        order: Sequence[Path] = (),
        plan: Planner | None = None,
        laid_out: Plan | None = None,
    ) -> None:
        self.paths, self.slugs, self._sql = [Path(path) for path in paths], list(slugs), sql
        self.awaited, self.plan = [Path(path) for path in awaited], laid_out
        self._order, self._planner = list(order), plan
        self._glimpsed: dict[Path, Seen | None] = {}
        self._refused: dict[Path, Seen | None] = {}
        """Awaited files as they were when they could not be served."""
        self._said: dict[str, Any] = {"replaced": None, "awaited": {path.name: None for path in self.awaited}}
        self._links = HardLinks(_on_disk())
        self._number = 0
        self._left: list[Generation] = []
        """Generations that were served before, whose processes may still be answering."""
        self._tried: list[Seen | None] = []
        self.generation = self._next(self.paths)
        self.generation.open()
        for path in self.generation.unlinked:
            click.echo(
                f"{path} can have no hard link, neither in {self._links.folder.parent} nor beside it: when it is "
                "replaced, SQL may answer 503 until the new build has taken over. docs/operating.md says why.",
                err=True,
            )
        self._tried = list(self.generation.seen)
        self.reason = self.generation.start_sql(self.slugs, sql)
        """Why there is no SQL, if there is none."""
        self._tell(None)

    @property
    def status(self) -> Path:
        """A file that says, for `/healthz`, why a file that replaced another is not served, and which are awaited."""
        return self._links.folder / _STATUS

    @property
    def shared(self) -> Path:
        """A folder for what the current processes share and spill."""
        return self.generation.shared

    @property
    def files(self) -> list[Path]:
        """What the current processes open."""
        return self.generation.files

    def look(self, *, always: bool = False) -> Generation | None:
        """The generation before, if there is a new one now: of files that were replaced, or of the same if `always`."""
        now = [Seen.of(path) for path in self.paths]
        if not always and now == self._tried:
            return self._look_for_awaited()
        self._tried = now
        try:
            made = self._made(self.paths)
        except (OSError, AtlasError) as error:
            self._tell(_why(error))
            return None
        self._refused.clear()
        return self._take(made)

    def _look_for_awaited(self) -> Generation | None:
        """The generation before, if a file that was awaited is there now, the same at two looks, and can be served."""
        for path in list(self.awaited):
            seen, before = Seen.of(path), self._glimpsed.get(path)
            self._glimpsed[path] = seen
            if seen is None or seen != before or seen == self._refused.get(path):
                continue
            self._refused[path] = seen
            paths = [item for item in self._order if item == path or item in self.paths]
            try:
                made = self._made(paths, more=True)
            except (OSError, AtlasError) as error:
                self._tell_awaited(path, _why(error))
                continue
            self.paths = paths
            self.awaited.remove(path)
            self._said["awaited"].pop(path.name, None)
            return self._take(made)
        return None

    def _take(self, made: Generation) -> Generation:
        before, self.generation = self.generation, made
        self._left.append(before)
        self._tried = list(made.seen)
        self._tell(None)
        return before

    def clean(self, used: Collection[Generation]) -> None:
        """Remove what is left of generations before that no process uses any more."""
        for generation in [item for item in self._left if item not in used]:
            generation.remove()
            self._left.remove(generation)

    def close(self) -> None:
        """End what runs SQL and clean up; in the master, when no process is left."""
        self.generation.release(wait=True)
        self._links.close()

    def _made(self, paths: Sequence[Path], *, more: bool = False) -> Generation:
        """A generation of files; `more`: they are not those of before."""
        made = self._next(paths)
        try:
            found = made.inspected()
            if more:
                plan = self._planner(open_atlases(made.files))
                made.start_sql(list(found), plan.sql)
                self.slugs, self.plan, self._sql = list(found), plan, plan.sql
            elif list(found) != self.slugs:
                raise ReplacedError(
                    f"The files' slugs are {', '.join(found)} now; expected {', '.join(self.slugs)}, as at the start. "
                    "Start the server again to serve others."
                )
            else:
                made.start_sql(self.slugs, self._sql)
        except BaseException:
            made.release(wait=False)
            made.remove()
            raise
        click.echo(f"Taking over: {', '.join(f'{slug} build {build}' for slug, build in found.items())}", err=True)
        return made

    def _next(self, paths: Sequence[Path]) -> Generation:
        self._number += 1
        try:
            return Generation(paths, self._links, self._number)
        except OSError:
            self._links.remove(str(self._number))
            raise

    def _tell(self, refused: str | None) -> None:
        """Say why a file is not served, here and to whoever asks `/healthz`."""
        if refused is not None:
            refused = self._plain(refused)
            click.echo(f"The build that was served goes on: {refused}", err=True)
        self._said["replaced"] = refused
        self._write()

    def _tell_awaited(self, path: Path, refused: str) -> None:
        """Say, once, why what is at the path of an awaited file is not served."""
        refused = self._plain(refused)
        if refused != self._said["awaited"].get(path.name):
            click.echo(f"{path.name} is still awaited: {refused}", err=True)
        self._said["awaited"][path.name] = refused
        self._write()

    def _plain(self, refused: str) -> str:
        """What is said without the folders of links, which are nobody's business."""
        for folder in self._links.folders:
            refused = re.sub(rf"{re.escape(str(folder))}/\d+/\w+/", "", refused)
        return refused

    def _write(self) -> None:
        written = self.status.with_suffix(".new")
        written.write_text(json.dumps(self._said))
        os.replace(written, self.status)


def _why(error: OSError | AtlasError) -> str:
    return f"{Path(error.filename or '').name}: {error.strerror}." if isinstance(error, OSError) else str(error)


def held(pid: int) -> int:
    """Bytes of anonymous memory of a process, what it shares divided among those who share it; 0: not known here."""
    try:
        found = re.search(r"Pss_Anon: +(\d+) kB", Path(f"/proc/{pid}/smaps_rollup").read_text())
    except OSError:  # it is gone, or this is not Linux
        return 0
    return int(found[1]) * 1024 if found else 0


class SwappingArbiter(Arbiter):
    """Gunicorn's master, which also looks at the files every second, or when it is sent SIGHUP, and lets the processes
    of a new generation take over."""

    _again = False
    _before: Generation | None = None
    _plan: Plan | None = None
    _rounds = 0

    def __init__(self, app: Any) -> None:
        super().__init__(app)
        self._grown: set[int] = set()

    def handle_hup(self) -> None:
        """Fresh processes, of the files as they are now."""
        self._again = True

    def stop(self, graceful: bool = True) -> None:
        """End all processes: with SIGTERM they finish what they were asked, however long; with Ctrl-C they end now."""
        if not graceful:
            self.cfg.set("graceful_timeout", _AT_ONCE)
        super().stop(graceful)

    def murder_workers(self) -> None:
        """Called in every round of the master's loop, before missing processes are started."""
        super().murder_workers()
        site: Site = self.app.site
        if self._before is None:
            self._before = site.look(always=self._again)
            self._again = False
            self._lay_out(site.plan)
        else:
            self._take_over(site.generation)
        self._rounds += 1
        if self._rounds % _EVERY == 0:
            self._end_grown()
        # Processes that still answer are extra: were they counted, one that dies of the others would not be replaced.
        old = [
            worker
            for worker in self.WORKERS.values()
            if worker.generation is not site.generation or worker.pid in self._grown
        ]
        self.num_workers = self.cfg.workers + len(old)
        site.clean([*(worker.generation for worker in old), self._before])

    def _lay_out(self, plan: Plan | None) -> None:
        """So many processes, threads and bytes from now on as follow from the files."""
        if plan is not None and plan is not self._plan:
            self._plan, self.app.share = plan, plan.budget.share
            self.cfg.set("workers", plan.budget.workers)
            self.cfg.set("threads", plan.threads)

    def _end_grown(self) -> None:
        """Tell a process that holds more than its share to end once it has answered; another is started at once. One
        at a time, and only as a last resort: all that a process keeps is bounded."""
        self._grown &= self.WORKERS.keys()
        if self._grown or not self.app.share:
            return
        for pid in self.WORKERS:
            worker = self.WORKERS[pid]
            size = held(pid) if time.monotonic() - worker.began > _PATIENCE else 0
            worker.over = worker.over + 1 if size > self.app.share else 0
            if worker.over >= _LOOKS:
                self.log.warning(f"Process {pid} holds {size >> 20} MiB, more than its share: another takes its place.")
                self._grown.add(pid)
                self.kill_worker(pid, signal.SIGTERM)
                return

    @property
    def replaces_one(self) -> bool:
        """Whether a process is to take the place of one that outgrew its share."""
        return bool(self._grown)

    def _take_over(self, generation: Generation) -> None:
        """Once every new process is ready: end the old ones and let the new ones answer."""
        new = {pid for pid, worker in self.WORKERS.items() if worker.generation is generation}
        if len(new) < self.cfg.workers or not all(generation.is_ready(self.WORKERS[pid]) for pid in new):
            return
        for pid in self.WORKERS.keys() - new:
            self.kill_worker(pid, signal.SIGTERM)
        generation.open()
        self._before.release(wait=False)
        shutil.rmtree(self._before.shared, ignore_errors=True)  # who has mapped its files keeps them
        self._before = None


def mark(server: Arbiter, worker: Any) -> None:
    """Before a fork: which generation the process is of, when it began, and how often in a row it held too much."""
    worker.generation, worker.began, worker.over = server.app.site.generation, time.monotonic(), 0


def forget(server: Arbiter, _worker: Any) -> None:
    """In a process just forked: let go of what is only of the generation before, which ends with its own processes."""
    if server._before is not None:
        server._before.release(wait=False)


def wait(worker: Any) -> None:
    """In a process that could answer now: wait for its turn."""
    worker.generation.wait(worker)
