"""Gunicorn's master, which lets the processes of a new generation take over (see `web.server.swap`), and replaces one that
outgrew its share of memory."""

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
"""Rounds of the master's loop, of a second each, between two looks at what its processes hold."""

_LOOKS = 3
"""Looks in a row at which a process holds more than its share before another takes its place: what a moment's requests
need together is given back, and the two would hold more for as long as both are there."""

_PATIENCE = 60.0
"""Seconds that a process answers, at least, whatever it holds."""

_AT_ONCE = 5
"""Seconds that processes have to end when they are not to finish what they do; what is left then is killed."""


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
