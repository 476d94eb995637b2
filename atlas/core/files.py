"""Atomic output: check a file's or folder's place before work, write under another name, flush, rename."""

from __future__ import annotations

import ctypes
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from atlas.core.errors import AtlasError
from atlas.core.sql_text import quoted_text

_PAGE = 4096


class OutputFileError(AtlasError):
    """The output file exists already, or its place cannot hold a file."""


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
    except OSError as error:  # The name is too long, or the folder may not be read.
        raise _unwritable(out, error) from error
    check_place(out)


def check_place(out: Path) -> None:
    """Refuse a place that cannot be written. The test writes a small file under another name beside it and removes it.

    Raises:
        OutputFileError: the disk is full, the folder is read-only or not this user's, the name is too long.
    """
    try:
        _try(temporary_beside(out))
    except OSError as error:
        raise _unwritable(out, error) from error


def check_folder(folder: Path) -> None:
    """Make a folder, if it does not exist, and check that it can be written; a new folder is removed where that fails.

    Raises:
        OutputFileError: it cannot be made or written.
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
    return quoted_text(database(path))


def free_output(out: Path, build_id: str, *, force: bool = False) -> Path:
    """The path to publish at: `out`, or beside it if somebody wrote `out` meanwhile (finished work is not lost)."""
    if force or not out.exists():
        return out
    return out.with_stem(f"{out.stem}-{build_id}")


def temporary_beside(out: Path) -> Path:
    """Name under which this process writes the future `out`: in the same folder, so that a rename is enough."""
    return out.with_name(f"{out.name}.tmp-{os.getpid()}")


def is_left_over(path: Path, out: Path) -> bool:
    """Whether a path is what `temporary_beside` called the future `out` in a process that runs no more."""
    pid = path.name.removeprefix(f"{out.name}.tmp-")
    if pid == path.name or not pid.isdecimal():
        return False
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return True
    except (PermissionError, OverflowError):
        pass
    return False


def publish(temporary: Path, out: Path) -> None:
    """Flush a finished file to disk, make it read-only, and rename it into place (over an older file of that name)."""
    os.chmod(temporary, 0o444)
    flush(temporary)
    os.replace(temporary, out)
    flush(out.parent)


def write_texts(texts: Mapping[Path, str]) -> None:
    """Write small files, all of them or none: older ones are replaced when every new one is on the disk.

    Raises:
        OSError: one cannot be written.
    """
    temporaries = {out: temporary_beside(out) for out in texts}
    try:
        for out, temporary in temporaries.items():
            temporary.write_text(texts[out], encoding="utf-8")
            flush(temporary)
        for out, temporary in temporaries.items():
            os.replace(temporary, out)
    finally:
        for temporary in temporaries.values():
            with suppress(OSError):
                temporary.unlink(missing_ok=True)


@contextmanager
def appearing_folder(folder: Path) -> Iterator[Path]:
    """A new folder beside `folder` that takes its place at the end, and is removed on an error. Its files are flushed
    to disk before the rename. Where the system can exchange two names, there is a folder at every moment."""
    folder = Path(os.path.abspath(folder))  # `absolute` gives `.` a name too.
    place = folder.with_name(f"{folder.name}.tmp-{os.getpid()}")
    old = folder.with_name(f"{folder.name}.old-{os.getpid()}")
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir()
    try:
        yield place
        for path in (*place.rglob("*"), place):
            flush(path)
        if not (folder.exists() and _exchange(place, folder)):
            if folder.exists():
                folder.rename(old)
            try:
                place.rename(folder)
            except OSError:
                with suppress(OSError):
                    old.rename(folder)
                raise
        flush(folder.absolute().parent)
    finally:
        shutil.rmtree(place, ignore_errors=True)
        if folder.exists():
            shutil.rmtree(old, ignore_errors=True)


def _exchange(one: Path, other: Path) -> bool:
    """Let two names change places in one step; False: this system or disk cannot."""
    try:
        rename = ctypes.CDLL(None).renameat2
    except (OSError, AttributeError):  # Linux alone has it
        return False
    here, exchange = -100, 2  # AT_FDCWD, RENAME_EXCHANGE
    return rename(here, os.fsencode(one), here, os.fsencode(other), exchange) == 0


def flush(path: Path) -> None:
    """Flush a file, or the names in a folder, to disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
