"""Faults, injected: killed at any moment, told to stop, two runs at once, inputs that change, disks that are full.

What comes out in the end must be, row for row, what a run left alone gives. The table in docs/reliability.md names
these tests.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests import forked, tiny
from tests.compare import build_id, differences


@dataclass(frozen=True)
class Job:
    """A run to be disturbed, what it says, and the atlas of the same run left alone."""

    settings: dict[str, Any]
    log: Path
    whole: Path

    @property
    def out(self) -> Path:
        return self.settings["out"]

    @property
    def checkpoint(self) -> Path:
        return self.settings["checkpoint"]

    def start(self, **changes: Any) -> forked.ForkServerProcess:
        return forked.start({**self.settings, **changes}, self.log)

    def run(self, **changes: Any) -> int:
        return forked.finish(self.start(**changes))

    def said(self) -> str:
        return self.log.read_text() if self.log.exists() else ""

    def saved(self) -> int:
        """Number of the newest checkpoint of texts."""
        numbers = [int(path.name.split("-")[3]) for path in self.checkpoint.glob("texts-1-0of1-*.safetensors")]
        return max(numbers, default=0)

    def check(self) -> None:
        """The atlas is the one of a run left alone, and nothing else is left behind."""
        assert differences(self.out, self.whole) == []
        assert build_id(self.out) == build_id(self.whole)
        assert sorted(path.name for path in self.out.parent.iterdir()) == [self.out.name]


def wait_until(condition: Callable[[], Any], process: forked.ForkServerProcess, seconds: float = 60) -> None:
    """Wait for a condition, or for the end of the run."""
    deadline = time.monotonic() + seconds
    while not condition() and process.exitcode is None:
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.002)


def left_alone(folder: Path, n_rows: int) -> Job:
    """A run of 3 layers, two and a half texts a row, a batch a text."""
    settings = {
        "model": str(tiny.save_llama(folder / "model")),
        "slug": "tiny",
        "context_length": 24,
        "overflow": "split",
        "dataset": str(tiny.save_texts(folder / "texts.jsonl", tiny.make_texts(n_rows))),
        "batch_size": 1,
        "top_tokens": 20,
        "top_neurons": 20,
        "top_texts": 6,
        "window": 16,
        "out": folder / "whole.duckdb",
    }
    job = Job(settings, folder / "log", folder / "whole.duckdb")
    assert job.run() == 0, job.said()
    return job


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Job:
    """Some 40 texts."""
    return left_alone(tmp_path_factory.mktemp("alone"), 20)


def disturbed(alone: Job, tmp_path: Path) -> Job:
    """The same run with checkpoints at every batch; its model, its texts and its output in folders of its own."""
    (tmp_path / "out").mkdir(parents=True)
    changes = {
        "model": shutil.copytree(alone.settings["model"], tmp_path / "model"),
        "dataset": shutil.copy(alone.settings["dataset"], tmp_path),
        "out": tmp_path / "out" / "atlas.duckdb",
        "checkpoint": tmp_path / "checkpoints",
        "checkpoint_every": 1e-9,
    }
    changes = {name: str(value) if name in ("model", "dataset") else value for name, value in changes.items()}
    return Job({**alone.settings, **changes}, tmp_path / "log", alone.whole)


@pytest.fixture
def job(alone: Job, tmp_path: Path) -> Job:
    """A run to be disturbed."""
    return disturbed(alone, tmp_path)


def test_killed_again_and_again(tmp_path: Path, alone: Job, thorough: bool) -> None:
    """SIGKILL 8 times in one run (34 when thorough): while loading, searching, reading, saving and writing; then left
    to finish."""
    job = disturbed(left_alone(tmp_path, 60) if thorough else alone, tmp_path / "disturbed")
    least = 31 if thorough else 6
    rng, kills = random.Random(3), 0
    while kills < least:
        process, before = job.start(), job.saved()
        if kills % 4 == 3:
            time.sleep(rng.uniform(0, 1.0))
        else:
            wait_until(lambda before=before: job.saved() > before, process)
            time.sleep(rng.uniform(0, 0.03))
        process.kill()
        assert forked.finish(process) == -signal.SIGKILL, job.said()
        kills += 1
    assert job.saved() >= (20 if thorough else 4)
    for _ in range(3 if thorough else 2):
        process = job.start()
        wait_until(lambda: list(job.out.parent.glob("*.tmp-*")), process)
        time.sleep(rng.uniform(0, 0.2))
        process.kill()
        if forked.finish(process) == 0:
            break
        kills += 1
    if not job.out.exists():  # Else it was killed between publishing and tidying up.
        assert job.run() == 0, job.said()
        left = list(job.checkpoint.iterdir()) if job.checkpoint.exists() else []
        assert not job.checkpoint.exists(), f"a published atlas needs no checkpoints: {left}"
    assert kills >= least
    job.check()


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 75), (signal.SIGINT, 130)])
def test_told_to_stop(job: Job, number: signal.Signals, code: int) -> None:
    """A preempted job saves and leaves with a code that says so; the same command goes on."""
    process = job.start()
    wait_until(lambda: job.saved() > 1, process)
    os.kill(process.pid, number)
    assert forked.finish(process) == code, job.said()
    assert "The same command goes on from there" in job.said()
    assert 1 < job.saved() < 20
    assert list(job.out.parent.iterdir()) == []
    assert job.run() == 0, job.said()
    job.check()


def test_interrupted_twice(job: Job) -> None:
    """The second Ctrl-C does not wait for the checkpoint; what was saved before it is whole."""
    process = job.start()
    wait_until(lambda: job.saved() > 3, process)
    os.kill(process.pid, signal.SIGINT)
    time.sleep(0.001)
    os.kill(process.pid, signal.SIGINT)
    assert forked.finish(process) == 130, job.said()
    assert job.run() == 0, job.said()
    job.check()


def test_terminated_without_checkpoints(job: Job) -> None:
    process = job.start(checkpoint=None)
    wait_until(lambda: "Congruence" in job.said(), process)
    os.kill(process.pid, signal.SIGTERM)
    assert forked.finish(process) == 143, job.said()
    assert list(job.out.parent.iterdir()) == []


def test_a_second_run_to_the_same_output_is_refused(job: Job, tmp_path: Path) -> None:
    first = job.start()
    wait_until(lambda: job.saved() > 0, first)
    second = forked.start({**job.settings, "checkpoint": tmp_path / "other"}, tmp_path / "second")
    assert forked.finish(second) == 1
    assert "another run is writing" in (tmp_path / "second").read_text()
    third = forked.start({**job.settings, "out": tmp_path / "third.duckdb"}, tmp_path / "third")
    assert forked.finish(third) == 1
    assert "another run saves to" in (tmp_path / "third").read_text()
    assert forked.finish(first) == 0, job.said()
    job.check()


def kill_after_some(job: Job) -> None:
    process = job.start()
    wait_until(lambda: job.saved() > 5, process)
    process.kill()
    forked.finish(process)


def test_what_changed_between_runs_is_refused(job: Job, tmp_path: Path) -> None:
    """Another dataset, other weights, other arguments: both sides are named, and what was saved stays."""
    kill_after_some(job)
    saved = sorted(path.name for path in job.checkpoint.glob("*.safetensors"))

    def refused(named: str, **changes: Any) -> None:
        assert job.run(**changes) == 1
        assert "is of another run" in job.said()
        assert named in job.said()
        assert sorted(path.name for path in job.checkpoint.glob("*.safetensors")) == saved

    refused("--context-length was 24 and is now 23", context_length=23)
    refused("--seed was 0 and is now 1", seed=1)
    for name, path, change in (
        ("dataset", tmp_path / "texts.jsonl", lambda: tiny.save_texts(tmp_path / "texts.jsonl", ["changed"])),
        ("model", tmp_path / "model" / "model.safetensors", lambda: tiny.save_llama(tmp_path / "model", seed=5)),
    ):  # The same names, other contents.
        before = path.read_bytes()
        change()
        refused(f"{name}_fingerprint was '")
        path.write_bytes(before)
    assert job.run() == 0, job.said()
    job.check()


def test_starting_anew(job: Job) -> None:
    kill_after_some(job)
    assert job.run(seed=1, resume="never", out=job.out.with_name("anew.duckdb")) == 0, job.said()
    assert not job.checkpoint.exists()


def test_damaged_checkpoints(job: Job) -> None:
    """The newest of each kind damaged: the one before; all of them: refused, with what to do."""
    kill_after_some(job)
    kept = job.checkpoint.with_name("kept")
    shutil.copytree(job.checkpoint, kept)
    newest = max(job.checkpoint.glob("texts-*.safetensors"))  # not what was being written when it was killed
    newest.write_bytes(newest.read_bytes()[:-1])
    assert job.run() == 0, job.said()
    assert "is damaged; the one before it is taken" in job.said()
    job.check()
    job.out.unlink()
    shutil.copytree(kept, job.checkpoint)
    for path in job.checkpoint.glob("texts-*"):
        path.write_bytes(b"")
    assert job.run() == 1
    assert "is damaged. Start again with --resume never" in job.said()


def test_no_room_for_the_atlas(job: Job, tmpfs: Path) -> None:
    """The disk fills while writing: nothing is left on it, and the work is not lost."""
    assert job.run(out=tmpfs / "atlas.duckdb") == 1
    assert "cannot be" in job.said()
    assert list(tmpfs.iterdir()) == []
    assert job.saved() > 0
    assert job.run() == 0, job.said()
    job.check()


def test_no_room_for_checkpoints(job: Job, tmpfs: Path) -> None:
    """It is said, and the run goes on: the disk may have room later, and the atlas is what is wanted."""
    (tmpfs / "ballast").write_bytes(b"x" * 1_900_000)
    assert job.run(checkpoint=tmpfs / "checkpoints") == 0, job.said()
    assert "cannot be written" in job.said()
    assert "The run goes on" in job.said()
    job.check()
