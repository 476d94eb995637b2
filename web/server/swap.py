"""Swap in new builds without losing a request: watch the files, and let new processes take over from the old ones.

When another file is at a path, new processes start beside the serving ones, read it, and wait at a gate. Once all are
ready, the old ones are told to end, finish their requests, and the gate opens; meanwhile connections wait in the
listening socket, which both share. A file that cannot be served changes nothing.
"""

from __future__ import annotations

import json
import os
import re
import tempfile
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import click

from atlas.core.errors import AtlasError
from web.server.generation import Generation, ReplacedError, Seen
from web.server.plan import Plan, Planner
from web.site.app import open_atlases
from web.workers.sql.console import ConsoleOptions
from web.workers.sql.hard_links import HardLinks

_STATUS = "status.json"


def _on_disk() -> Path:
    """A folder for large files: on some systems /tmp is in memory."""
    disk = Path("/var/tmp")
    chosen = any(name in os.environ for name in ("TMPDIR", "TEMP", "TMP"))
    return disk if not chosen and os.access(disk, os.W_OK) else Path(tempfile.gettempdir())


class Site:
    """The served files: the current generation, and the state of its paths.

    `awaited` are files that do not exist yet; each is served once an atlas appears. `plan` makes the plan of processes
    for new files, `laid_out` is the current plan; `order` has all the paths in the operator's order.
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
        """Previous generations, whose processes may still be answering."""
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
        """The reason why there is no SQL, if there is none."""
        self._tell(None)

    @property
    def status(self) -> Path:
        """A file for `/healthz` that says why a replacement is not served, and which files are awaited."""
        return self._links.folder / _STATUS

    @property
    def shared(self) -> Path:
        """A folder for files that the current processes share or spill."""
        return self.generation.shared

    @property
    def files(self) -> list[Path]:
        """The paths that the current processes open."""
        return self.generation.files

    def look(self, *, always: bool = False) -> Generation | None:
        """Start a new generation if files were replaced, or if `always`; return the previous one."""
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
        """Start a new generation if an awaited file exists, is unchanged between two checks, and can be served; return
        the previous one."""
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
        """Remove the remains of previous generations that no process uses any more."""
        for generation in [item for item in self._left if item not in used]:
            generation.remove()
            self._left.remove(generation)

    def close(self) -> None:
        """End the SQL processes and clean up; called in the master when no process is left."""
        self.generation.release(wait=True)
        self._links.close()

    def _made(self, paths: Sequence[Path], *, more: bool = False) -> Generation:
        """Make a generation of files; `more`: they include files that were not served before."""
        made = self._next(paths)
        try:
            served = made.inspected()
            if more:
                plan = self._planner(open_atlases(made.files))
                reason = made.start_sql(list(served), plan.sql)
                if reason not in (None, self.reason):
                    click.echo(reason, err=True)
                    self.reason = reason
                self.slugs, self.plan, self._sql = list(served), plan, plan.sql
            elif list(served) != self.slugs:
                raise ReplacedError(
                    f"The files' slugs are {', '.join(served)} now; expected {', '.join(self.slugs)}, as at the start. "
                    "Start the server again to serve others."
                )
            else:
                made.start_sql(self.slugs, self._sql)
        except BaseException:
            made.release(wait=False)
            made.remove()
            raise
        builds = ", ".join(f"{slug} build {build}" for slug, build in served.items())
        click.echo(f"Taking over: {builds or 'no atlas yet'}", err=True)
        return made

    def _next(self, paths: Sequence[Path]) -> Generation:
        self._number += 1
        try:
            return Generation(paths, self._links, self._number)
        except OSError:
            self._links.remove(str(self._number))
            raise

    def _tell(self, refused: str | None) -> None:
        """Report why a file is not served, in the log and at `/healthz`."""
        if refused is not None:
            refused = self._plain(refused)
            click.echo(f"The previous build is still served: {refused}", err=True)
        self._said["replaced"] = refused
        self._write()

    def _tell_awaited(self, path: Path, refused: str) -> None:
        """Report once why the file at an awaited path is not served."""
        refused = self._plain(refused)
        if refused != self._said["awaited"].get(path.name):
            click.echo(f"{path.name} is still awaited: {refused}", err=True)
        self._said["awaited"][path.name] = refused
        self._write()

    def _plain(self, refused: str) -> str:
        """The error's text without the folders of links, which stay private."""
        for folder in self._links.folders:
            refused = re.sub(rf"{re.escape(str(folder))}/\d+/\w+/", "", refused)
        return refused

    def _write(self) -> None:
        written = self.status.with_suffix(".new")
        written.write_text(json.dumps(self._said))
        os.replace(written, self.status)


def _why(error: OSError | AtlasError) -> str:
    return f"{Path(error.filename or '').name}: {error.strerror}." if isinstance(error, OSError) else str(error)
