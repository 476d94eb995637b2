"""Publication of atlases under the output's name: of the texts read so far during the run, and of all at the end.

The tables from weights do not change: they are written once, to a file of their own, and each atlas is a copy of it
with the other tables added. Every atlas is checked as the last one is, and gets its name by the same rename, so the
file under the output's name is always complete.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import torch

from atlas.core.db import Atlas, open_atlas
from atlas.core.errors import AtlasError
from atlas.core.files import OutputFileError, check_output, free_output
from atlas.core.info import RUN_COLUMNS, AtlasInfo
from ingest.activations.reader import Reader
from ingest.errors import OutputError
from ingest.file.checks import bytes_per_table, check_file
from ingest.file.writer import AtlasWriter, Begun
from ingest.process.session import Session
from ingest.run.write import Run, WeightFindings, atlas_row, run_columns, write_texts, write_weights

FIRST = 10.0
"""Seconds between the first batch, for which kernels are compiled, and the first atlas, or less where `--publish-every`
is less: by then there are some texts for every neuron."""

SHARE = 0.05
"""Share of the run's time that may go into atlases of a part of the texts: where one costs more, the next comes later
than `--publish-every` says."""


@dataclass(frozen=True)
class Published:
    """A complete atlas under its name."""

    path: Path
    build_id: str
    rows: dict[str, int]
    table_bytes: dict[str, int]


def replaceable(out: Path, *, force: bool, resumable: Callable[[Atlas], bool]) -> AtlasInfo | None:
    """Refuse an output that exists, unless a run left it unfinished: then return its info, for comparison with this run
    (`check_same_run`).

    Args:
        resumable: whether an atlas of all texts is one that this run has still something to add to.

    Raises:
        OutputFileError: it exists already, or cannot be written.
    """
    before = None if force else _unfinished(out, resumable)
    check_output(out, force=force or before is not None)
    return before


def _unfinished(out: Path, resumable: Callable[[Atlas], bool]) -> AtlasInfo | None:
    if not out.is_file():
        return None
    try:
        with open_atlas(out) as atlas:
            return atlas.info if atlas.info.n_texts_planned is not None or resumable(atlas) else None
    except AtlasError:
        return None


def check_same_run(before: AtlasInfo, run: Run) -> None:
    """Let a run replace the unfinished atlas under its output's name, if it is this run's own.

    Raises:
        OutputFileError: it is another run's; names the first difference.
    """
    ours = run_columns(run)
    for name in RUN_COLUMNS:
        if getattr(before, name) != ours[name]:
            raise OutputFileError(
                f"{str(run.settings.out)!r} exists already, an atlas that another run left unfinished: its {name} is "
                f"{getattr(before, name)!r} and would be {ours[name]!r} now. Choose another --out, or replace it with "
                "--force."
            )


class Publisher:
    """Writes a run's atlases, on rank 0 only. A context manager: its end removes unfinished files.

    Args:
        before: the unfinished atlas at the output's name when the run began, if there was one.
    """

    def __init__(self, run: Run, findings: WeightFindings, session: Session, before: AtlasInfo | None = None) -> None:
        self._run, self._findings, self._session = run, findings, session
        self._every = run.settings.publish_every
        self._begun: Begun | None = None
        self._ours = _seen(run.settings.out) if before is not None else None
        self._says = "" if before is None else _share(before.n_texts, before.n_texts_planned or 0)
        self._cost, self._last = 0.0, math.inf
        self.least = 0 if before is None else before.n_texts
        """Texts of the file under the output's name: only an atlas of more texts replaces it."""
        self.seconds = 0.0
        """Seconds spent on atlases of a part of the texts, without the work that the complete one needs too."""

    def __enter__(self) -> Publisher:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._begun is not None:
            self._begun.remove()
        if error is not None and self._says:
            self._session.phases.say(f"{self._run.settings.out} stays, with {self._says}.")

    @property
    def wait(self) -> float | None:
        """Seconds from the first batch, or from the beginning of the last atlas, to the next; None: no next."""
        if self._every is None:
            return None
        if not self._cost:
            return min(self._every, FIRST)
        affordable = self._session.began + (self.seconds + self._cost) / SHARE
        return max(self._every, affordable - self._last)

    def due(self, n_texts: int) -> bool:
        """Whether it is time for an atlas of so many texts."""
        wait = self.wait
        return wait is not None and n_texts > self.least and time.monotonic() - self._last >= wait

    def begin(self) -> None:
        """Start the clock: the first batch has been read."""
        self._last = time.monotonic()

    def publish(self, reader: Reader, planned: int) -> None:
        """Publish an atlas of the texts read so far, of about `planned`, unless these are all: then the complete one is
        next. A failure need not end the run: it is reported, and the next atlas tries again."""
        self._last = time.monotonic()
        if reader.n_texts >= planned:
            return
        phases, out = self._session.phases, self._run.settings.out
        started = self._last
        try:
            if out.exists() and not self._run.settings.force and _seen(out) != self._ours:
                self._every = None
                raise OutputError(f"{str(out)!r} was written by another program: it is not replaced.")
            self._weights()
            started = time.monotonic()
            with self._writer() as writer:
                write_texts(self._run, writer, self._findings, reader)
                build_id = writer.write_atlas(atlas_row(self._run, self._findings, reader, planned))
                writer.close()
                check_file(writer.path, writer.rows)
                writer.publish(out)
        except OutputError as error:
            if self._session.stop.leaving:  # DuckDB answers a signal by an error.
                raise
            phases.say(f"{error} The run goes on.")
        else:
            self.least, self._ours = reader.n_texts, _seen(out)
            self._says = _share(reader.n_texts, planned)
            phases.note(f"{out}  build {build_id}: {self._says}; {time.monotonic() - started:.1f} s.")
        # A failed attempt costs time, too: on a full disk it is not repeated too often.
        self._cost = time.monotonic() - started
        self.seconds += self._cost

    def finish(self, reader: Reader) -> Published:
        """The complete atlas.

        Raises:
            OutputError: it cannot be written, or fails its checks.
        """
        settings, phases = self._run.settings, self._session.phases
        with ExitStack() as stack:
            with phases.phase("Writing"):
                writer = stack.enter_context(self._writer(last=True))
                write_texts(self._run, writer, self._findings, reader)
                build_id = writer.write_atlas(atlas_row(self._run, self._findings, reader))
                writer.close()
            with phases.phase("Checking"):
                check_file(writer.path, writer.rows)
                sizes = bytes_per_table(writer.path)
                ours = settings.force or (self._ours is not None and _seen(settings.out) == self._ours)
                out = free_output(settings.out, build_id, force=ours)
                writer.publish(out)
        self._says = ""
        return Published(out, build_id, writer.rows, sizes)

    def _weights(self) -> Begun:
        """The file of the tables from weights, written when it is first needed."""
        if self._begun is None:
            with AtlasWriter(*self._place()) as writer:
                write_weights(self._run, writer, self._findings)
                self._begun = writer.begun()
        return self._begun

    def _writer(self, *, last: bool = False) -> AtlasWriter:
        return AtlasWriter(*self._place(), begun=self._weights(), last=last)

    def _place(self) -> tuple[Path, int, int | None]:
        return self._run.settings.out, self._run.model.cfg.d_model, self._session.budget.for_writing()


class PartialAtlases:
    """The schedule of atlases during a run: several ranks meet for each, and go on reading while rank 0 writes.

    `fresh` makes a reader that has read nothing.
    """

    def __init__(self, run: Run, session: Session, publisher: Publisher, fresh: Callable[[], Reader]) -> None:
        self._ranks, self._publisher, self._fresh = session.ranks, publisher, fresh
        self.shared = session.ranks.world > 1 and run.settings.publish_every is not None
        """Whether ranks meet; then they must go on meeting until every one has read its texts."""
        self._wait, self._met = publisher.wait, math.inf

    def due(self, reader: Reader) -> bool:
        """Whether it is time for an atlas, for this rank; called after every batch."""
        if self._met == math.inf:
            self._met = time.monotonic()
            self._publisher.begin()
        if not self.shared:
            return self._publisher.due(reader.n_texts)
        return self._wait is not None and time.monotonic() - self._met >= self._wait

    def meet(self, reader: Reader, planned: int, *, reading: bool) -> bool:
        """Publish, unless no rank is reading any more; returns whether one is.

        Raises:
            RankError: another rank is gone.
        """
        ours = _Standing(reading, reader.n_texts, self._publisher.wait, self._publisher.least)
        standings = self._ranks.gather(ours)
        self._met, self._wait = time.monotonic(), standings[0].wait
        if not any(standing.reading for standing in standings):
            return False
        if sum(standing.n_texts for standing in standings) > standings[0].least:
            whole = self._whole(reader)
            if self._ranks.main:
                self._publisher.publish(whole, planned)
        return True

    def _whole(self, reader: Reader) -> Reader:
        """On rank 0: the texts of all ranks, in a new reader if there are several."""
        whole = reader

        def take(state: dict[str, torch.Tensor]) -> None:
            nonlocal whole
            if whole is reader:
                whole = self._fresh()
                whole.load_state_dict(reader.state_dict())
            other = self._fresh()
            other.load_state_dict(state)
            whole.merge(other)

        with torch.inference_mode():  # The mode in which the statistics were filled.
            self._ranks.reduce(lambda: whole.state_dict(), take)
        return whole


@dataclass(frozen=True)
class _Standing:
    """The state of a rank when the ranks meet: `wait` and `least` are rank 0's publisher's."""

    reading: bool
    n_texts: int
    wait: float | None
    least: int


def _share(n_texts: int, planned: int) -> str:
    return f"{n_texts:,} of about {planned:,} texts ({n_texts / planned:.0%})"


def _seen(out: Path) -> tuple[int, ...] | None:
    """The identity and state of the file at a path."""
    try:
        status = out.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns
