"""A file or a folder appears whole or not at all: refused before work, written under another name, flushed, renamed."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from atlas.errors import AtlasError


class OutputFileError(AtlasError):
    """The file to write exists already, or its place cannot hold a file."""


def check_output(out: Path, *, force: bool = False) -> None:
    """Refuse an output that exists (unless `force`) or whose folder does not, before any work is done.

    Raises:
        OutputFileError: names the file and what to do.
    """
    if out.is_dir():
        raise OutputFileError(f"{str(out)!r} is a folder; --out names the file to write, as in atlas.duckdb.")
    if out.exists() and not force:
        raise OutputFileError(f"{str(out)!r} exists already. Choose another --out, or replace it with --force.")
    folder = out.absolute().parent
    if not folder.is_dir():
        raise OutputFileError(f"The folder {str(folder)!r} of --out does not exist. Create it first.")


def free_output(out: Path, build_id: str, *, force: bool = False) -> Path:
    """Where to publish: `out`, or beside it if somebody wrote `out` meanwhile (finished work is not lost)."""
    if force or not out.exists():
        return out
    return out.with_stem(f"{out.stem}-{build_id}")


def temporary_beside(out: Path) -> Path:
    """Name under which this process writes what is to become `out`: in the same folder, so that a rename is enough."""
    return out.with_name(f"{out.name}.tmp-{os.getpid()}")


def publish(temporary: Path, out: Path) -> None:
    """Flush a finished file to disk, make it read-only, and rename it into place (over an older file of that name)."""
    os.chmod(temporary, 0o444)
    _flush(temporary)
    os.replace(temporary, out)
    _flush(out.parent)


@contextmanager
def appearing_folder(folder: Path) -> Iterator[Path]:
    """A new folder beside `folder` that takes its place at the end, and is gone if there is an error. Everything in it
    is on the disk before it has its name."""
    place = folder.with_name(f"{folder.name}.tmp-{os.getpid()}")
    old = folder.with_name(f"{folder.name}.old-{os.getpid()}")
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir()
    try:
        yield place
        for path in (*place.rglob("*"), place):
            _flush(path)
        if folder.exists():
            folder.rename(old)
        try:
            place.rename(folder)
        except OSError:
            with suppress(OSError):
                old.rename(folder)
            raise
        _flush(folder.absolute().parent)
    finally:
        shutil.rmtree(place, ignore_errors=True)
        if folder.exists():
            shutil.rmtree(old, ignore_errors=True)


def _flush(path: Path) -> None:
    """Wait until a file, or the names in a folder, are on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
