"""What a run shows while it works: one bar a phase, with speed, time left and memory; and how long each took."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.text import Text

from ingest.device import memory_used


class _Speed(ProgressColumn):
    """Units a second ('2,310 tokens/s'), from what the phase counts."""

    def render(self, task: Task) -> Text:
        elapsed, done, unit = task.elapsed or 0.0, task.fields["done"], task.fields["unit"]
        if not unit or not done or not elapsed:
            return Text("")
        return Text(f"{done / elapsed:,.0f} {unit}/s", style="progress.data.speed")


class _Memory(ProgressColumn):
    """Memory this process holds."""

    max_refresh = 1.0

    def __init__(self, phases: Phases) -> None:
        super().__init__()
        self._phases = phases

    def render(self, task: Task) -> Text:
        return Text(f"{memory_used(self._phases.device) / 1e9:.1f} GB", style="progress.filesize")


class Phases:
    """Shows phases one after another and remembers their durations, in seconds, and the greatest memory seen.

    `rank` is this process's number among several: only the first shows phases, and the others' lines are marked.
    """

    def __init__(self, console: Console, device: torch.device, rank: int = 0) -> None:
        self.console, self.device, self._rank = console, device, rank
        self.seconds: dict[str, float] = {}
        self.peak_memory = 0
        self._progress = Progress(
            TextColumn("{task.description:<18}"), BarColumn(bar_width=30), TextColumn("{task.percentage:>3.0f}%"),
            _Speed(), TimeElapsedColumn(), TextColumn("left"), TimeRemainingColumn(), _Memory(self),
            console=console, disable=bool(rank) or not console.is_terminal,
        )  # fmt: skip

    def __enter__(self) -> Phases:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def say(self, line: str) -> None:
        """Print a line above the bar."""
        self.console.print(Text(f"rank {self._rank}: {line}" if self._rank else line), soft_wrap=True)

    @contextmanager
    def phase(self, name: str, total: float | None = None, unit: str = "") -> Iterator[Callable[..., None]]:
        """Show a phase. Yields `advance(fraction_units, counted)`: how much of `total` is done, and how many units.

        A phase whose total is not known shows a moving bar. Without a terminal, one line is printed at its end.
        """
        task = self._progress.add_task(name, total=total, unit=unit, done=0)
        started = time.perf_counter()

        def advance(amount: float, counted: float | None = None) -> None:
            done = self._progress.tasks[task].fields["done"] + (amount if counted is None else counted)
            self._progress.update(task, advance=amount, done=done)
            self.peak_memory = max(self.peak_memory, memory_used(self.device))

        yield advance
        self.seconds[name] = time.perf_counter() - started
        self.peak_memory = max(self.peak_memory, memory_used(self.device))
        done = self._progress.tasks[task].fields["done"]
        self._progress.update(task, total=total or 1, completed=total or 1)
        if not self.console.is_terminal and not self._rank:
            speed = f", {done / self.seconds[name]:,.0f} {unit}/s" if unit and done else ""
            self.console.print(f"{name}: {self.seconds[name]:.1f} s{speed}, {self.peak_memory / 1e9:.1f} GB at most")
