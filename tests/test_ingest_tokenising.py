"""Token ids that one process writes and others read: the same as each would make, whoever is killed."""

from __future__ import annotations

import itertools
import threading
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.errors import DatasetError
from ingest.process.cursor import Cursor, TextReport
from ingest.process.ranks import Ranks
from ingest.texts import tokenising
from ingest.texts.dataset import Dataset, open_dataset
from ingest.texts.token_file import TokenFile
from ingest.texts.token_writer import Chunks
from ingest.texts.tokenising import tokenised_once
from ingest.texts.tokens import encoded, iter_texts
from tests import tiny

ROWS = [np.arange(n, dtype=np.int32) for n in (0, 3, 0, 5, 1, 40, 2)]
OPTIONS = {"context_length": 24, "overflow": "split", "bos_token_id": 0}


class Pair(Ranks):
    """The first of two ranks of a machine, without the second."""

    def gather(self, facts: object) -> list:
        return [facts, facts]


@pytest.fixture(scope="module")
def tokenizer():
    return tiny.make_tokenizer()


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    return open_dataset(str(tiny.save_texts(tmp_path / "texts.jsonl", tiny.make_texts(40))))


def rows_from(row: int):
    return iter(ROWS[row:])


def never(_: int) -> bool:
    return False


def written(folder: Path, enough=never) -> TokenFile:
    file = TokenFile(folder)
    file.restart()
    file.write(rows_from, enough)
    return file


def same(rows, expected) -> bool:
    return [row.tolist() for row in rows] == [row.tolist() for row in expected]


@given(ids=st.integers(0, 4 * 51), ends=st.integers(0, 8 * 7), start=st.integers(0, 7))
def test_a_killed_writer_is_followed_by_another(
    tmp_path_factory: pytest.TempPathFactory, ids: int, ends: int, start: int
) -> None:
    """Cut anywhere, but ids are on the disk before the ends that cover them."""
    file = written(tmp_path_factory.mktemp("tokens"))
    n_whole = ends // 8
    covered = int(file.ends(0, n_whole)[-1]) * 4 if n_whole else 0
    for name, size in (("ids", max(ids, covered)), ("ends", ends)):
        with (file.folder / name).open("ab") as opened:
            opened.truncate(size)
    file.restart()
    file.write(rows_from, never)
    assert same(file.rows(start), ROWS[start:])


def test_reading_waits_for_what_is_being_written(tmp_path: Path) -> None:
    file, gates = TokenFile(tmp_path / "tokens"), [threading.Event() for _ in ROWS]
    file.restart()

    def slowly(row: int):
        for gate, ids in zip(gates[row:], ROWS[row:], strict=True):
            assert gate.wait(60)
            yield ids

    writer = threading.Thread(target=file.write, args=(slowly, never), daemon=True)
    writer.start()
    reading = file.rows(0)
    for gate, ids in zip(gates, ROWS, strict=True):
        gate.set()
        assert next(reading).tolist() == ids.tolist()
    assert list(reading) == []
    writer.join()


def test_a_writer_that_fails_or_is_gone(tmp_path: Path) -> None:
    file = written(tmp_path / "tokens")
    file.restart()
    gone = TokenFile(file.folder, alive=lambda: False).rows(5)
    assert same(itertools.islice(gone, 2), ROWS[5:])
    with pytest.raises(DatasetError, match=r"process that tokenises ended after row 7\. Run the same"):
        next(gone)
    with pytest.raises(DatasetError, match="ended after row 7"):
        list(file.rows(0))


@pytest.mark.parametrize("stop", [None, 1, 9])
def test_ranks_of_a_machine_read_what_one_process_tokenised(
    dataset: Dataset, tokenizer, tmp_path: Path, stop: int | None
) -> None:
    """From the start and from the middle; no more rows than the texts need."""
    expected = list(iter_texts(dataset, tokenizer, last_text=stop, report=TextReport(), **OPTIONS))
    chunks = Chunks(23, True, stop)

    def read(start: Cursor | None = None) -> list[tuple]:
        texts = iter_texts(shared, tokenizer, last_text=stop, report=TextReport(), start=start, **OPTIONS)
        return [(text.text_id, text.source_row, text.chunk, text.token_ids.tolist()) for text in texts]

    whole = [(text.text_id, text.source_row, text.chunk, text.token_ids.tolist()) for text in expected]
    with tokenised_once(dataset, tokenizer, chunks, Pair(), tmp_path) as shared:
        assert read() == whole
        middle = expected[len(expected) // 2]
        start = Cursor(middle.source_row, middle.text_id - middle.chunk, middle.text_id)
        assert read(start) == whole[middle.text_id :]
        assert shared.tokens.n_rows() == (dataset.n_rows if stop is None else expected[-1].source_row + 1)
    assert not list(tmp_path.glob("tokens-*"))


def test_what_an_interrupted_run_left(dataset: Dataset, tokenizer, tmp_path: Path, monkeypatch) -> None:
    """With checkpoints its ids are found again, and another dataset's are not."""
    chunks, n = Chunks(23, True, None), dataset.n_rows

    def interrupted() -> None:
        with tokenised_once(dataset, tokenizer, chunks, Pair(), tmp_path) as shared:
            assert len(list(shared.tokens.rows(0))) == n
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    (left,) = tmp_path.glob("tokens-*")
    assert TokenFile(left).n_rows() == n
    begun: list[int] = []
    monkeypatch.setattr(tokenising, "_start", lambda folder, *_: begun.append(TokenFile(folder).n_rows()) or _Ended())
    with tokenised_once(dataset, tokenizer, chunks, Pair(), tmp_path) as shared:
        assert same(itertools.islice(shared.tokens.rows(0), n), encoded(dataset, tokenizer, 0))
    other = open_dataset(str(tiny.save_texts(tmp_path / "other.jsonl", tiny.make_texts(8, 1))))
    left.mkdir()
    with tokenised_once(other, tokenizer, chunks, Pair(), tmp_path):
        assert not left.exists()
    assert begun == [n, 0]
    with tokenised_once(dataset, tokenizer, chunks, Ranks(), tmp_path) as alone:
        assert alone is dataset


class _Ended:
    """A process that has ended."""

    def poll(self) -> int:
        return 0

    def kill(self) -> None: ...

    def wait(self) -> None: ...
