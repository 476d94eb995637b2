"""Gunicorn's master with two additions: processes of a new generation take over (see `web.server.swap`), and a process
that exceeds its share of memory is replaced."""

from __future__ import annotations

import re
import shutil
import signal
import time
from pathlib import Path
from typing import Any

from gunicorn.arbiter import Arbiter

from web.server.generation import Generation
from web.server.plan import Plan
from web.server.swap import Site

_EVERY = 5
"""Rounds of the master's loop, of a second each, between two checks of its processes' memory."""

_LOOKS = 3
"""Checks in a row at which a process exceeds its share before another takes its place: peaks of simultaneous requests
pass, and both processes together hold more while both exist."""

_PATIENCE = 60.0
"""Least seconds for which a process answers, whatever memory it holds."""

_AT_ONCE = 5
"""Seconds for processes to end without finishing their requests; after that they are killed."""


def held(pid: int) -> int:
    """Bytes of anonymous memory of a process, shared pages divided among their users; 0: not known here."""
    try:
        size = re.search(r"Pss_Anon: +(\d+) kB", Path(f"/proc/{pid}/smaps_rollup").read_text())
    except OSError:  # the process has ended, or this is not Linux
        return 0
    return int(size[1]) * 1024 if size else 0


class SwappingArbiter(Arbiter):
    """Gunicorn's master, which also checks the files every second and on SIGHUP, and starts a new generation of
    processes for new files."""

    _again = False
    _before: Generation | None = None
    _plan: Plan | None = None
    _rounds = 0

    def __init__(self, app: Any) -> None:
        super().__init__(app)
        self._grown: set[int] = set()

    def handle_hup(self) -> None:
        """Start new processes for the current files."""
        self._again = True

    def stop(self, graceful: bool = True) -> None:
        """End all processes: on SIGTERM after they finish their requests, on Ctrl-C at once."""
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
        # Processes of the old generation are not counted: otherwise a dead process of the new one would not be
        # replaced.
        old = [
            worker
            for worker in self.WORKERS.values()
            if worker.generation is not site.generation or worker.pid in self._grown
        ]
        self.num_workers = self.cfg.workers + len(old)
        site.clean([*(worker.generation for worker in old), self._before])

    def _lay_out(self, plan: Plan | None) -> None:
        """Set the numbers of processes, threads and bytes from the plan for the current files."""
        if plan is not None and plan is not self._plan:
            self._plan, self.app.share = plan, plan.budget.share
            self.cfg.set("workers", plan.budget.workers)
            self.cfg.set("threads", plan.threads)

    def _end_grown(self) -> None:
        """Tell a process that exceeds its share to end after its requests; another starts at once. This happens to one
        process at a time and is a last resort: all caches of a process are bounded."""
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
        """Whether the next process replaces one that exceeded its share."""
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
        shutil.rmtree(self._before.shared, ignore_errors=True)  # processes that have mapped its files keep them
        self._before = None


def mark(server: Arbiter, worker: Any) -> None:
    """Before a fork, record the process's generation, its start time, and its count of excesses in a row."""
    worker.generation, worker.began, worker.over = server.app.site.generation, time.monotonic(), 0


def forget(server: Arbiter, _worker: Any) -> None:
    """In a new process, release the resources of the previous generation, which ends with its own processes."""
    if server._before is not None:
        server._before.release(wait=False)


def wait(worker: Any) -> None:
    """In a process that is ready to answer, wait for its generation's turn."""
    worker.generation.wait(worker)
