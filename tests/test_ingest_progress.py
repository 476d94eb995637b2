"""What a run says while it works: pace and time left, lines without a terminal, the file beside the output."""

from __future__ import annotations

import io
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from rich.console import Console

from atlas.core.display import show_seconds
from atlas.core.info import RunProgress
from ingest.process.lock import output_locked
from ingest.process.pace import Pace
from ingest.process.progress import LINE_EVERY, Phases


class Clock:
    """Seconds that pass when a test says so."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def make(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[Phases, io.StringIO]]:
    """Phases on a console that writes to a string, whose clock is the test's, and which tick when they are told to."""
    monkeypatch.setattr("ingest.process.progress.memory_used", lambda device: 1_900_000_000)
    monkeypatch.setattr(Phases, "_keep_saying", lambda self: None)

    def phases(quiet: bool = False, terminal: bool = False, **options: object) -> tuple[Phases, io.StringIO]:
        file = io.StringIO()
        console = Console(file=file, quiet=quiet, force_terminal=terminal, width=100)
        return Phases(console, torch.device("cpu"), clock=clock, **options), file

    return phases


def test_time_left_is_of_the_phases_own_speed_after_its_first_batch() -> None:
    pace = Pace("Activations", 100, "tokens", started=0.0)
    assert (pace.rate(10), pace.seconds_left(10)) == (None, None)
    pace.advance(40, 0, 1)  # What another run did.
    assert (pace.share(), pace.rate(10)) == (0.4, None)
    pace.advance(1, 10, 60)  # A minute of compilation.
    for second in range(61, 70):
        pace.advance(1, 10, second)
    assert pace.share() == 0.5
    assert pace.rate(69) == 10
    assert pace.seconds_left(69) == 50
    assert pace.seconds_left(72) == 47
    pace.ended = 100.0
    assert pace.rate(200) == 1
    assert pace.seconds_left(200) is None


def test_speed_is_that_of_the_last_minute() -> None:
    pace = Pace("Activations", None, "tokens", started=0.0)
    for second in range(200):
        pace.advance(1, 1, second)
    for half in range(400, 700):
        pace.advance(1, 50, half / 2)
    assert pace.rate(350) == pytest.approx(100)
    assert pace.seconds_left(350) is None
    assert pace.share() is None
    assert len(pace._counts) < 125
    assert pace.rate(350 + 600) == pytest.approx(10, rel=0.01)  # It stands still.


@pytest.mark.parametrize(("total", "steps"), [(10, 10), (10, 12), (0, 3), (None, 3), (1e12, 20)])
def test_no_figure_is_silly(total: float | None, steps: int) -> None:
    pace = Pace("Activations", total, "tokens", started=0.0)
    for step in range(steps):
        pace.advance(1, 1, 10.0 * step)
    left, share = pace.seconds_left(10.0 * steps), pace.share()
    assert left is None
    assert share is None or 0 <= share <= 1
    assert "-" not in " ".join(pace.show(10.0 * steps, 0))


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.2, "0 s"),
        (59.4, "59 s"),
        (59.6, "1 min"),
        (130, "2 min 10 s"),
        (3600, "1 h"),
        (11100, "3 h 5 min"),
        (90000, "1 d 1 h"),
        (-1, "0 s"),
    ],
)
def test_durations(seconds: float, text: str) -> None:
    assert show_seconds(seconds) == text


def test_lines_without_a_terminal(make: Callable, clock: Clock) -> None:
    phases, file = make()
    with phases:
        with phases.phase("Activations", total=1000, unit="tokens") as advance:
            phases.tick()
            for _ in range(int(2 * LINE_EVERY)):
                clock.now += 1
                advance(10, 455)
                phases.tick()
        with phases.phase("Experiments", unit="passes") as advance:
            for _ in range(2):
                clock.now += LINE_EVERY / 2
                advance(30)
                phases.tick()
        with phases.phase("Writing"):
            clock.now += 5 * LINE_EVERY
            phases.tick()
            phases.tick()
    phases.tick()
    assert file.getvalue().splitlines() == [
        "Activations  15%  455 tokens/s  1 min 25 s left  1.9 GB",
        "Activations  30%  455 tokens/s  1 min 10 s left  1.9 GB",
        "Activations: 30.0 s, 455 tokens/s, 1.9 GB at most",
        "Experiments  60 passes  4.0 passes/s  15 s so far  1.9 GB",
        "Experiments: 15.0 s, 4.0 passes/s, 1.9 GB at most",
        "Writing  1 min 15 s so far  1.9 GB",
        "Writing: 75.0 s, 1.9 GB at most",
    ]
    assert phases.seconds == {"Activations": 30, "Experiments": 15, "Writing": 75}


@pytest.mark.parametrize("options", [{"quiet": True}, {"rank": 1}])
def test_what_is_said_on_a_quiet_console_and_by_other_ranks(make: Callable, clock: Clock, options: dict) -> None:
    phases, file = make(**options)
    with phases, phases.phase("Writing"):
        clock.now += LINE_EVERY
        phases.tick()
        phases.say("The disk is full.")
    assert file.getvalue() == f"{'rank 1: ' if 'rank' in options else ''}The disk is full.\n"


def test_a_terminal_has_bars(make: Callable, clock: Clock) -> None:
    phases, file = make(terminal=True)
    with phases, phases.phase("Activations", total=100, unit="tokens") as advance:
        for _ in range(20):
            clock.now += 1
            advance(1, 455)
            phases.tick()
        phases._progress.refresh()
    shown = file.getvalue()
    assert "20%  455 tokens/s  1 min 20 s left  1.9 GB" in shown
    assert "20.0 s, 455 tokens/s, 1.9 GB at most" in shown


def test_the_file_beside_the_output(make: Callable, clock: Clock, tmp_path: Path) -> None:
    out = tmp_path / "a.duckdb"
    phases, _ = make(out=out, quiet=True)
    with phases:
        assert RunProgress.read(out) is None  # Not before a phase begins: another run may hold the output.
        with phases.phase("Loading model"):
            clock.now += 2
            assert RunProgress.read(out).phase == "Loading model"
        assert RunProgress.read(out).done == {"Loading model": 2.0}
        with phases.phase("Activations", total=100, unit="tokens") as advance:
            for _ in range(20):
                clock.now += 1
                advance(1, 455)
            phases.tick()
            said = RunProgress.read(out)
            assert (said.phase, said.share, said.rate, said.seconds_left) == ("Activations", 0.2, "455 tokens/s", 80)
            assert (said.memory, said.done) == (1_900_000_000, {"Loading model": 2.0})
    assert not list(tmp_path.iterdir())
    phases.tick()
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("error", [ValueError, SystemExit, KeyboardInterrupt])
def test_nothing_is_left_of_a_run_that_fails(make: Callable, tmp_path: Path, error: type[BaseException]) -> None:
    phases, file = make(out=tmp_path / "a.duckdb")
    with pytest.raises(error), phases, phases.phase("Writing"):
        raise error
    assert (list(tmp_path.iterdir()), file.getvalue()) == ([], "")


def test_only_the_first_rank_writes_the_file(make: Callable, tmp_path: Path) -> None:
    phases, _ = make(out=tmp_path / "a.duckdb", rank=1)
    RunProgress("Writing", None, "", None, 0, 0.0).write(tmp_path / "a.duckdb")
    with phases, phases.phase("Writing"):
        phases.tick()
    assert RunProgress.read(tmp_path / "a.duckdb").written_at == 0.0


def test_a_run_that_is_refused_leaves_the_others_file_alone(make: Callable, tmp_path: Path) -> None:
    RunProgress("Activations", None, "", None, 0, 0.0).write(tmp_path / "a.duckdb")
    phases, _ = make(out=tmp_path / "a.duckdb")
    with pytest.raises(ValueError), phases:
        raise ValueError
    assert RunProgress.read(tmp_path / "a.duckdb").phase == "Activations"


def test_what_a_killed_run_left_is_swept(tmp_path: Path) -> None:
    for name in ("a.duckdb.progress", "a.duckdb.progress.new", "a.duckdb.tmp-1", "b.duckdb.progress"):
        (tmp_path / name).touch()
    with output_locked(tmp_path / "a.duckdb"):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["b.duckdb.progress"]


def test_the_thread_ticks_while_entered_and_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ticked = threading.Event()

    def tick(self: Phases) -> None:
        ticked.set()
        raise BrokenPipeError  # Who listened has gone: no reason to stop, nor to print a traceback.

    monkeypatch.setattr(Phases, "tick", tick)
    monkeypatch.setattr("ingest.process.progress._TICK", 0.001)
    with Phases(Console(file=io.StringIO()), torch.device("cpu")) as phases:
        assert ticked.wait(60)
        ticked.clear()
        assert ticked.wait(60)
        assert phases._timer.daemon
    phases._timer.join(60)
    assert not phases._timer.is_alive()
