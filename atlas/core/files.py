"""A file or a folder appears whole or not at all: refused before work, written under another name, flushed, renamed."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from atlas.core.errors import AtlasError

_PAGE = 4096


class OutputFileError(AtlasError):
    """The file to write exists already, or its place cannot hold a file."""


def check_output(out: Path, *, force: bool = False) -> None:
    """Refuse an output that exists (unless `force`) or whose folder does not, before any work is done.

    Raises:
        OutputFileError: names the file and what to do.
    """
    try:
        if out.is_dir():
            raise OutputFileError(f"{str(out)!r} is a folder; --out names the file to write, as in atlas.duckdb.")
        if out.exists() and not force:
            raise OutputFileError(f"{str(out)!r} exists already. Choose another --out, or replace it with --force.")
        if out.exists() and not out.is_file():
            raise OutputFileError(f"{str(out)!r} is not a plain file and is not replaced. Choose another --out.")
        folder = out.absolute().parent
        if not folder.is_dir():
            raise OutputFileError(f"The folder {str(folder)!r} of --out does not exist. Create it first.")
    except OSError as error:  # A name that is too long, a folder that may not be looked into.
        raise _unwritable(out, error) from error
    check_place(out)


def check_place(out: Path) -> None:
    """Refuse a place where nothing can be written: tried with a page under another name beside it, which is removed.

    Raises:
        OutputFileError: the disk is full, the folder is read-only or not this user's, the name is too long.
    """
    try:
        _try(temporary_beside(out))
    except OSError as error:
        raise _unwritable(out, error) from error


def check_folder(folder: Path) -> None:
    """Make a folder, if there is none, in which something can be written; none is left where that fails.

    Raises:
        OutputFileError: it cannot be made, or nothing can be written in it.
    """
    made = [place for place in (folder, *folder.parents) if not place.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _try(temporary_beside(folder / "trial"))
    except OSError as error:
        for place in made:
            with suppress(OSError):
                place.rmdir()
        raise _unwritable(folder, error) from error


def _try(trial: Path) -> None:
    try:
        with trial.open("wb") as file:
            file.write(bytes(_PAGE))
            file.flush()
            os.fsync(file.fileno())
    finally:
        with suppress(OSError):
            trial.unlink(missing_ok=True)


def _unwritable(place: Path, error: OSError) -> OutputFileError:
    return OutputFileError(
        f"{str(place)!r} cannot be written: {error.strerror}. Choose another place, or make this one writable."
    )


def database(path: Path) -> str:
    """The name by which DuckDB opens a file: absolute, since it takes `gpt2:new.duckdb` for a file of an extension
    `gpt2`, and `:memory:` for none."""
    return str(path.absolute())


def attached(path: Path) -> str:
    """The same as a text in SQL, for ATTACH."""
    return "'" + database(path).replace("'", "''") + "'"


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


def write_texts(texts: Mapping[Path, str]) -> None:
    """Write small files, all of them or none: older ones are replaced when every new one is on the disk.

    Raises:
        OSError: one cannot be written.
    """
    temporaries = {out: temporary_beside(out) for out in texts}
    try:
        for out, temporary in temporaries.items():
            temporary.write_text(texts[out], encoding="utf-8")
            _flush(temporary)
        for out, temporary in temporaries.items():
            os.replace(temporary, out)
    finally:
        for temporary in temporaries.values():
            with suppress(OSError):
                temporary.unlink(missing_ok=True)


@contextmanager
def appearing_folder(folder: Path) -> Iterator[Path]:
    """A new folder beside `folder` that takes its place at the end, and is gone if there is an error. Everything in it
    is on the disk before it has its name."""
    folder = Path(os.path.abspath(folder))  # Of `.` too it takes a name.
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
