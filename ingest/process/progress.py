"""Progress of a run: bars on a terminal, a line every few minutes without one, and a file beside the output."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import torch
from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn
from rich.text import Text

from atlas.cli.streams import plain_console
from atlas.core.info import RunProgress
from ingest.process.device import memory_used
from ingest.process.pace import Pace, show_speed

LINE_EVERY = 15.0
"""Seconds between the lines of a phase, without a terminal."""
_TICK = 1.0
"""Seconds between what is written beside the output."""


class _State(ProgressColumn):
    """Share, speed, time left and memory of a running phase; duration and peak memory of one that has ended."""

    max_refresh = 0.5

    def __init__(self, phases: Phases) -> None:
        super().__init__()
        self._phases = phases

    def render(self, task: Task) -> Text:
        return Text(self._phases.state(task.fields["pace"]), style="progress.remaining")


class Phases:
    """Shows phases one after another and remembers their durations, in seconds, and the greatest memory seen.

    On a terminal each phase is a bar. Without one, a line every `LINE_EVERY` seconds gives its state, and a last line
    its duration. A quiet console shows no phases.

    Args:
        rank: This process's number among several: only the first shows phases, and the others' lines are marked.
        out: The file that the run writes: while phases go on, `RunProgress` stands beside it, new every second. It is
            first written when a phase begins, so enter one only once the file is this run's to write.
        clock: Seconds, for tests.
    """

    def __init__(
        self,
        console: Console,
        device: torch.device,
        rank: int = 0,
        out: Path | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.console, self.device, self._rank, self._clock = console, device, rank, clock
        self._out = None if rank else out
        self._lines = not rank and not console.is_terminal and not console.quiet
        self.seconds: dict[str, float] = {}
        self.peak_memory = 0
        self._phase: Pace | None = None
        self._said = clock()
        self._peaks: dict[str, int] = {}
        self._lock, self._over = threading.RLock(), threading.Event()
        self._timer: threading.Thread | None = None
        self._progress = Progress(
            TextColumn("{task.description:<15}"),
            BarColumn(bar_width=20),
            _State(self),
            console=console,
            disable=bool(rank) or console.quiet or not console.is_terminal,
        )

    def __enter__(self) -> Phases:
        self._progress.start()
        if self._lines or self._out is not None:
            self._timer = threading.Thread(target=self._keep_saying, name="progress", daemon=True)
            self._timer.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        with self._lock:  # The line that is being written is finished; no other follows.
            self._phase = None
            written, self._out = self._out, None
        self._progress.stop()
        if written is not None and self._peaks:
            RunProgress.forget(written)

    def say(self, line: str) -> None:
        """Print a line that matters above the bar, on a quiet console too."""
        aloud = plain_console(file=self.console.file) if self.console.quiet else self.console
        aloud.print(Text(f"rank {self._rank}: {line}" if self._rank else line), soft_wrap=True)

    def note(self, line: str) -> None:
        """Print a line above the bar; a quiet console leaves it out."""
        if not self.console.quiet:
            self.say(line)

    @contextmanager
    def phase(self, name: str, total: float | None = None, unit: str = "") -> Iterator[Callable[..., None]]:
        """Show a phase. Yields `advance(fraction_units, counted)`: how much of `total` is done, and how many units.

        A phase whose total is not known shows a moving bar.
        """
        pace = Pace(name, total, unit, self._clock())
        task = self._progress.add_task(name, total=total, pace=pace)

        def advance(amount: float, counted: float | None = None) -> None:
            with self._lock:
                pace.advance(amount, amount if counted is None else counted, self._clock())
            self._progress.update(task, advance=amount)
            self._memory(pace)

        with self._lock:
            self._phase, self._said = pace, self._clock()
            self._memory(pace)
            self._write()
        try:
            yield advance
            self._end(pace)
        finally:
            with self._lock:
                self._phase = None
        self._progress.update(task, total=total or 1, completed=total or 1)

    def _end(self, pace: Pace) -> None:
        with self._lock:
            self._memory(pace)
            pace.ended = self._clock()
            self.seconds[pace.name] = pace.ended - pace.started
            self._write()
            if self._lines:
                self._print(f"{pace.name}: {self.state(pace)}")

    def tick(self) -> None:
        """Report the phase's progress on each output where a report is due."""
        with self._lock:
            pace, now = self._phase, self._clock()
            if pace is None or pace.ended is not None:
                return
            self._memory(pace)
            self._write()
            if self._lines and now - self._said >= LINE_EVERY:
                self._print("  ".join([pace.name, self.state(pace)]))
                self._said = now

    def state(self, pace: Pace) -> str:
        """The progress of a phase; once it has ended, its duration."""
        with self._lock:
            if pace.ended is None:
                return "  ".join(pace.show(self._clock(), memory_used(self.device)))
            rate = pace.rate(pace.ended)
            speed = f", {show_speed(rate)} {pace.unit}/s" if pace.unit and rate is not None else ""
            return f"{pace.ended - pace.started:.1f} s{speed}, {self._peaks[pace.name] / 1e9:.1f} GB at most"

    def _keep_saying(self) -> None:
        while not self._over.wait(_TICK):
            with suppress(OSError, ValueError):  # The reader has gone, or has closed the stream: the run goes on.
                self.tick()

    def _print(self, line: str) -> None:
        self.console.print(Text(line), soft_wrap=True)

    def _memory(self, pace: Pace) -> int:
        used = memory_used(self.device)
        self.peak_memory = max(self.peak_memory, used)
        self._peaks[pace.name] = max(self._peaks.get(pace.name, 0), used)
        return used

    def _write(self) -> None:
        pace, now = self._phase, self._clock()
        if self._out is None or pace is None:
            return
        RunProgress(
            pace.name,
            pace.share() if pace.ended is None else 1.0,
            pace.show_rate(now),
            pace.seconds_left(now),
            memory_used(self.device),
            time.time(),
            dict(self.seconds),
        ).write(self._out)
