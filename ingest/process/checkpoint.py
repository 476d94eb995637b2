"""Checkpoint files: tensors and some JSON in safetensors, written completely or not at all.

A file is written under another name, flushed to the disk, and renamed. Its name ends in a hash of its bytes, so a
damaged file is recognised before its contents are used; the run then falls back on the previous one, because two are
kept.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import xxhash
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from atlas.core.files import flush
from ingest.errors import CheckpointError

KEPT = 2
_CHUNK = 1 << 24
_NAME = re.compile(r"(?P<stem>.+)-(?P<number>\d{6})-(?P<hash>[0-9a-f]{16})\.safetensors")


@dataclass(frozen=True)
class Checkpoint:
    """The contents of a checkpoint file."""

    number: int
    tensors: dict[str, Tensor]
    meta: dict[str, Any]


@dataclass(frozen=True)
class _File:
    stem: str
    number: int
    hash: str
    path: Path


class CheckpointFolder:
    """Numbered checkpoints under stems ('weights', 'texts-1-0of2'), the newest two of each kept.

    Args:
        folder: made if it does not exist.
        warn: called with a message about each damaged file.

    Raises:
        CheckpointError: the folder cannot be made.
    """

    def __init__(self, folder: Path, warn: Callable[[str], None] = lambda line: None) -> None:
        self.folder, self._warn = folder, warn
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise CheckpointError(
                f"The checkpoint folder {str(folder)!r} cannot be made: {error.strerror}. Choose another --checkpoint."
            ) from error

    def save(self, stem: str, tensors: dict[str, Tensor], meta: dict[str, Any]) -> Path:
        """Write the next checkpoint of a stem and delete all but the newest two.

        Raises:
            CheckpointError: it cannot be written (disk full); those before it are untouched.
        """
        files = self._files(stem)
        number = files[0].number + 1 if files else 1
        unfinished = self.folder / f"{stem}.unfinished"
        try:
            contiguous = {name: tensor.detach().contiguous() for name, tensor in tensors.items()}
            save_file(contiguous, unfinished, metadata={"meta": json.dumps(meta)})
            flush(unfinished)
            path = self.folder / f"{stem}-{number:06d}-{_hash(unfinished)}.safetensors"
            os.replace(unfinished, path)
            flush(self.folder)
        except (OSError, SafetensorError) as error:
            unfinished.unlink(missing_ok=True)
            raise CheckpointError(
                f"The checkpoint {str(unfinished)!r} cannot be written: {error}. Those before it are untouched."
            ) from error
        for old in files[KEPT - 1 :]:
            old.path.unlink(missing_ok=True)
        return path

    def load(self, stem: str) -> Checkpoint | None:
        """The newest undamaged checkpoint of a stem; None if there is no file at all.

        Raises:
            CheckpointError: there are files, and every one is damaged.
        """
        files = self._files(stem)
        for file in files:
            checkpoint = _read(file)
            if checkpoint is not None:
                return checkpoint
            self._warn(f"The checkpoint {str(file.path)!r} is damaged; the one before it is taken.")
        if files:
            raise CheckpointError(
                f"Every checkpoint {stem!r} in {str(self.folder)!r} is damaged. Start again with --resume never."
            )
        return None

    def stems(self) -> list[str]:
        """Stems that have files."""
        return sorted({file.stem for file in self._files()})

    def remove(self, stem: str) -> None:
        """Delete a stem's checkpoints."""
        for file in self._files(stem):
            file.path.unlink(missing_ok=True)
        (self.folder / f"{stem}.unfinished").unlink(missing_ok=True)

    def sweep(self) -> None:
        """Remove the unfinished files of killed processes. No other process may be writing."""
        # Ours, safetensors' own, and a page that tried whether the folder can be written.
        for pattern in ("*.unfinished", ".tmp*", "trial.tmp-*"):
            for leftover in self.folder.glob(pattern):
                leftover.unlink(missing_ok=True)

    def clear(self) -> None:
        """Delete every checkpoint, and the folder if it is then empty."""
        for stem in self.stems():
            self.remove(stem)
        self.sweep()
        with contextlib.suppress(OSError):  # The folder still holds somebody else's file, or the run's own lock.
            self.folder.rmdir()

    def _files(self, stem: str | None = None) -> list[_File]:
        """Newest first."""
        files = []
        for path in self.folder.iterdir() if self.folder.is_dir() else ():
            match = _NAME.fullmatch(path.name)
            if match and stem in (None, match["stem"]):
                files.append(_File(match["stem"], int(match["number"]), match["hash"], path))
        return sorted(files, key=lambda file: -file.number)


def _read(file: _File) -> Checkpoint | None:
    try:
        if _hash(file.path) != file.hash:
            return None
        with safe_open(file.path, framework="pt") as opened:
            meta = json.loads(opened.metadata()["meta"])
            return Checkpoint(file.number, {name: opened.get_tensor(name) for name in opened.keys()}, meta)  # noqa: SIM118
    except OSError:
        return None


def _hash(path: Path) -> str:
    digest = xxhash.xxh3_64()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()
