"""Going on from checkpoints, by as many ranks or others, stopped anywhere: nothing is lost, nothing is repeated."""

from __future__ import annotations

import itertools
import tempfile
from dataclasses import replace
from pathlib import Path

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import given

from ingest.errors import CheckpointError
from ingest.process.checkpoint import CheckpointFolder
from ingest.process.cursor import Cursor
from ingest.process.ranks import Ranks
from ingest.process.resume import RunCheckpoints
from ingest.texts.tokens import Text, batches

IDENTITY = {"--window": 64, "model_fingerprint": "abc"}
N_TEXTS = 40


class _Told(Ranks):
    """Ranks that are run one after another here, so that nobody needs to wait."""

    def barrier(self) -> None:
        """Nobody else is running."""


def checkpoints(folder: Path | None, rank: int = 0, world: int = 1, **options) -> RunCheckpoints:
    identity = options.pop("identity", IDENTITY)
    return RunCheckpoints(folder and CheckpointFolder(folder), identity, _Told(rank, world), **options)


def texts_from(cursor: Cursor) -> list[Text]:
    lengths = [1 + i * 7 % 5 for i in range(N_TEXTS)]
    return [Text(i, i, 0, torch.zeros(lengths[i]).numpy()) for i in range(cursor.source_row, N_TEXTS)]


class Worker:
    """A rank whose accumulator is the list of text ids it has read."""

    def __init__(self, folder: Path, rank: int, world: int) -> None:
        self.saved = checkpoints(folder, rank, world)
        self.start = self.saved.start(0, "pairs")
        self.ids = [int(i) for state in self.start.states for i in state["ids"]]
        self.cursor = self.start.cursor
        if self.start.regrouped:
            self.save()
        mine = (
            text
            for text in texts_from(self.cursor)
            if text.text_id >= self.cursor.next_text and text.text_id in self.start.share
        )
        self.work = batches(mine, max_tokens=7, pad_id=0, sort_window=6, start=self.cursor)

    def read(self, n: int | None) -> None:
        for batch in itertools.islice(self.work, n):
            self.ids += [text.text_id for text in batch.texts]
            self.cursor = batch.cursor

    def save(self) -> None:
        self.saved.save_texts({"ids": torch.tensor(self.ids)}, self.cursor, 7)


@given(st.lists(st.integers(1, 4), min_size=1, max_size=4), st.data())
def test_any_sequence_of_kills_and_ranks_reads_every_text_once(worlds: list[int], data: st.DataObject) -> None:
    """Every session: each rank reads a while, saves perhaps, reads on, and is killed."""
    with tempfile.TemporaryDirectory() as name:
        for world in worlds:
            workers = [Worker(Path(name), rank, world) for rank in range(world)]
            if data.draw(st.booleans(), "killed before every rank had saved its share of a regrouping"):
                continue
            for worker in workers:
                if worker.start.regrouped:
                    worker.saved.commit()
            for worker in workers:
                worker.read(data.draw(st.integers(0, 4)))
                if data.draw(st.booleans(), "saves"):
                    worker.save()
                worker.read(data.draw(st.integers(0, 2), "lost"))
        world = data.draw(st.integers(1, 4), "last")
        workers = [Worker(Path(name), rank, world) for rank in range(world)]
        for worker in workers:
            worker.read(None)
        assert sorted(i for worker in workers for i in worker.ids) == list(range(N_TEXTS))


def test_a_regrouping_cut_short_is_done_again(tmp_path: Path) -> None:
    """Killed when only the first of three ranks had saved its part of two old ones: the old ones still count."""
    for rank in range(2):
        worker = Worker(tmp_path, rank, 2)
        worker.read(3)
        worker.save()
    Worker(tmp_path, 0, 3)
    workers = [Worker(tmp_path, rank, 2) for rank in range(2)]  # Goes on as two after all.
    for worker in workers:
        worker.read(2)
        worker.save()
    workers = [Worker(tmp_path, rank, 3) for rank in range(3)]
    for worker in workers:
        worker.read(None)
    assert sorted(i for worker in workers for i in worker.ids) == list(range(N_TEXTS))


def test_committing_forgets_the_earlier_division(tmp_path: Path) -> None:
    for rank in range(2):
        Worker(tmp_path, rank, 2).save()
    worker = Worker(tmp_path, 0, 1)
    assert CheckpointFolder(tmp_path).stems() == ["texts-1-0of2", "texts-1-1of2", "texts-2-0of1"]
    worker.saved.commit()
    assert CheckpointFolder(tmp_path).stems() == ["texts-2-0of1"]
    worker.saved.clear()
    assert not tmp_path.exists()


def test_a_rank_that_had_saved_nothing_starts_at_the_beginning(tmp_path: Path) -> None:
    first = Worker(tmp_path, 0, 2)
    first.read(2)
    first.save()
    again = [Worker(tmp_path, rank, 2) for rank in range(2)]
    assert again[0].ids == first.ids
    assert again[1].ids == []
    assert again[1].cursor == Cursor()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"--window": 32}, r"of another run: --window was 64 and is now 32\. Give this run another --checkpoint"),
        ({"model_fingerprint": "xyz"}, "model_fingerprint was 'abc' and is now 'xyz'"),
        ({"--seed": 1}, "--seed was None and is now 1"),
    ],
)
def test_another_run_is_refused_with_both_named(tmp_path: Path, change: dict, message: str) -> None:
    Worker(tmp_path, 0, 1).save()
    checkpoints(tmp_path).save_weights({"n": torch.zeros(1)}, "weights-in")
    other = checkpoints(tmp_path, identity={**IDENTITY, **change})
    with pytest.raises(CheckpointError, match=message):
        other.start(0, "pairs")
    with pytest.raises(CheckpointError, match=message):
        other.weights("weights-in")


def test_other_pairs_are_refused(tmp_path: Path) -> None:
    Worker(tmp_path, 0, 1).save()
    with pytest.raises(CheckpointError, match=r"counts other candidate pairs \(pairs\) than this run finds \(others\)"):
        checkpoints(tmp_path).start(0, "others")


def test_without_a_folder_nothing_is_saved(tmp_path: Path) -> None:
    saved = checkpoints(None, every=0.0)
    assert not saved.active
    assert not saved.due
    assert saved.weights("weights-in") is None
    saved.save_weights({"n": torch.zeros(1)}, "weights-in")
    assert saved.stems("weights") == []
    start = saved.start(5, "pairs")
    assert start.cursor == Cursor(next_text=5)
    assert start.states == []
    assert saved.again() == start
    saved.clear()


def test_due_counts_from_the_last(tmp_path: Path) -> None:
    assert not checkpoints(tmp_path, every=3600.0).due
    saved = checkpoints(tmp_path, every=0.0)
    assert saved.due


def test_out_of_memory_goes_on_from_what_was_saved(tmp_path: Path) -> None:
    worker = Worker(tmp_path, 0, 1)
    assert worker.saved.again() == replace(worker.start, states=[])
    worker.read(2)
    worker.save()
    again = worker.saved.again()
    assert again.states[0]["ids"].tolist() == worker.ids
    assert again.cursor == worker.cursor
