"""Checkpoint files: whole or not there, damage noticed to the byte, the one before taken."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from ingest.errors import CheckpointError
from ingest.process.checkpoint import CheckpointFolder
from tests.disk import Disk

TENSORS = {
    "counts": torch.arange(6).view(2, 3),
    "windows": torch.tensor([[-32767, 3]], dtype=torch.int16),
    "none": torch.zeros(0, 4),
    "half": torch.tensor([1.5, -2.0], dtype=torch.bfloat16),
    "moments": torch.tensor([1e300, -1e-300], dtype=torch.float64),
}


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(
        one[name].dtype == other[name].dtype and torch.equal(one[name], other[name]) for name in one
    )


@pytest.fixture
def warnings() -> list[str]:
    return []


@pytest.fixture
def folder(tmp_path: Path, warnings: list[str]) -> CheckpointFolder:
    return CheckpointFolder(tmp_path / "deep" / "checkpoints", warnings.append)


def test_what_is_saved_is_loaded(folder: CheckpointFolder) -> None:
    meta = {"cursor": {"next_text": 7, "ahead": [9]}, "text": "naïve \U0001f642", "none": None}
    folder.save("texts", TENSORS, meta)
    found = CheckpointFolder(folder.folder).load("texts")
    assert same(found.tensors, TENSORS)
    assert found.meta == meta
    assert folder.load("other") is None


def test_a_checkpoint_is_on_the_disk_before_it_has_its_name(
    folder: CheckpointFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And the one before it goes only when the names are on the disk too."""
    folder.save("texts", TENSORS, {})
    folder.save("texts", TENSORS, {})
    disk = Disk(monkeypatch)
    unlink = Path.unlink
    monkeypatch.setattr(Path, "unlink", lambda path, **k: (disk.did.append(("unlink", path.name)), unlink(path, **k)))
    (oldest,) = [path.name for path in folder.folder.iterdir() if "-000001-" in path.name]
    new = folder.save("texts", TENSORS, {})
    unfinished = str(folder.folder / "texts.unfinished")
    assert disk.did == [
        ("fsync", unfinished),
        ("replace", unfinished, str(new)),
        ("fsync", str(folder.folder)),
        ("unlink", oldest),
    ]


def test_transposed_and_shared_memory(folder: CheckpointFolder) -> None:
    """State comes as views; a file holds each as its own."""
    base = torch.arange(6.0).view(2, 3)
    folder.save("texts", {"a": base.T, "b": base[1]}, {})
    assert same(folder.load("texts").tensors, {"a": base.T.contiguous(), "b": base[1].clone()})


def test_the_newest_two_are_kept(folder: CheckpointFolder) -> None:
    for number in range(5):
        folder.save("texts", {"n": torch.tensor([number])}, {"number": number})
        folder.save("weights", {"n": torch.tensor([-number])}, {})
    assert [file.number for file in folder._files("texts")] == [5, 4]
    assert folder.load("texts").meta == {"number": 4}
    assert folder.stems() == ["texts", "weights"]
    assert len(list(folder.folder.iterdir())) == 4
    folder.remove("texts")
    assert folder.stems() == ["weights"]
    folder.clear()
    assert not folder.folder.exists()


def test_damage_to_any_byte_falls_back_to_the_one_before(folder: CheckpointFolder, warnings: list[str]) -> None:
    folder.save("texts", {"n": torch.tensor([1])}, {"number": 1})
    newest = folder.save("texts", {"n": torch.tensor([2])}, {"number": 2})
    whole = newest.read_bytes()
    for place in range(len(whole)):
        damaged = bytearray(whole)
        damaged[place] ^= 1 << (place % 8)
        newest.write_bytes(damaged)
        assert folder.load("texts").meta == {"number": 1}, place
    assert warnings
    assert all("is damaged; the one before it is taken" in warning for warning in warnings)
    assert newest.name in warnings[0]
    newest.write_bytes(whole)
    assert folder.load("texts").meta == {"number": 2}


def test_truncation_and_growth_fall_back_too(folder: CheckpointFolder) -> None:
    folder.save("texts", {"n": torch.tensor([1])}, {"number": 1})
    newest = folder.save("texts", {"n": torch.tensor([2])}, {"number": 2})
    whole = newest.read_bytes()
    for length in (0, 1, 7, 8, 9, len(whole) // 2, len(whole) - 1):
        newest.write_bytes(whole[:length])
        assert folder.load("texts").meta == {"number": 1}
    newest.write_bytes(whole + b"\0")
    assert folder.load("texts").meta == {"number": 1}


def test_all_damaged_is_said(folder: CheckpointFolder) -> None:
    for number in range(2):
        folder.save("texts", {"n": torch.tensor([number])}, {}).write_bytes(b"junk")
    with pytest.raises(CheckpointError, match=r"Every checkpoint 'texts' in .* is damaged. .*--resume never"):
        folder.load("texts")


def test_an_unfinished_file_is_no_checkpoint(folder: CheckpointFolder) -> None:
    """What a SIGKILL while writing leaves."""
    folder.save("texts", {"n": torch.tensor([1])}, {"number": 1})
    (folder.folder / "texts.unfinished").write_bytes(b"half a fi")
    assert folder.load("texts").meta == {"number": 1}
    folder.save("texts", {"n": torch.tensor([2])}, {"number": 2})
    assert folder.load("texts").meta == {"number": 2}
    assert not list(folder.folder.glob("*.unfinished"))
    for name in ("weights.unfinished", ".tmpKbnAtf"):
        (folder.folder / name).write_bytes(b"half a fi")
    folder.sweep()
    assert folder.stems() == ["texts"]
    assert all(path.suffix == ".safetensors" for path in folder.folder.iterdir())


def test_a_folder_that_cannot_be(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(
        CheckpointError, match=r"checkpoint folder .*file/inside.* cannot be made.*another --checkpoint"
    ):
        CheckpointFolder(tmp_path / "file" / "inside")


@pytest.mark.parametrize("step", ["replace", "fsync"])
def test_a_save_that_fails_at_its_last_steps_leaves_nothing(
    folder: CheckpointFolder, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    before = folder.save("texts", {"n": torch.tensor([1])}, {"number": 1})

    def fail(*_: object) -> None:
        raise OSError("input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(os, step, fail)
        with pytest.raises(
            CheckpointError, match=r"cannot be written: input/output error. Those before it are untouched"
        ):
            folder.save("texts", {"n": torch.tensor([2])}, {"number": 2})
    assert list(folder.folder.iterdir()) == [before]
    assert folder.load("texts").meta == {"number": 1}


SAVE_LARGE = """
import sys, torch
from pathlib import Path
from ingest.process.checkpoint import CheckpointFolder
from ingest.errors import CheckpointError
folder = CheckpointFolder(Path(sys.argv[1]))
folder.save("texts", {"n": torch.tensor([1])}, {"number": 1})
try:
    folder.save("texts", {"n": torch.zeros(1 << 20)}, {"number": 2})
except CheckpointError as error:
    assert "cannot be written" in str(error) and "Those before it are untouched" in str(error), error
else:
    raise SystemExit("it was written")
assert folder.load("texts").meta == {"number": 1}
assert len(list(folder.folder.iterdir())) == 1, list(folder.folder.iterdir())
"""


def test_a_file_that_may_not_grow_leaves_the_one_before(tmp_path: Path) -> None:
    """A quota, by the limit on a file's size."""
    limit = 1 << 16
    subprocess.run(
        [sys.executable, "-c", SAVE_LARGE, str(tmp_path)],
        check=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)),
    )


def test_a_full_disk_leaves_the_one_before(tmpfs: Path) -> None:
    subprocess.run([sys.executable, "-c", SAVE_LARGE, str(tmpfs)], check=True)
    assert os.statvfs(tmpfs).f_bavail > 0
