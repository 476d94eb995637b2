"""File locks: one run for an output, one for a checkpoint folder. The operating system releases them with the
process."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from ingest.errors import OptionError


@contextmanager
def output_locked(out: Path) -> Iterator[None]:
    """Lock an output while it is written, and remove the leftovers of killed runs beside it.

    Raises:
        OptionError: another run holds it.
    """
    with _held(out.with_name(f"{out.name}.lock"), f"another run is writing {str(out)!r}. Wait for it, or choose --out"):
        progress_files = {f"{out.name}.progress", f"{out.name}.progress.new"}
        for path in out.absolute().parent.iterdir():
            if path.name.startswith(f"{out.name}.tmp-") or path.name in progress_files:
                path.unlink(missing_ok=True)
        yield


@contextmanager
def checkpoints_locked(folder: Path) -> Iterator[None]:
    """Lock a checkpoint folder, which must exist; remove it at the end if it is empty.

    Raises:
        OptionError: another run holds it.
    """
    with _held(folder / "lock", f"another run saves to {str(folder)!r}. Wait for it, or choose another --checkpoint"):
        yield
    with contextlib.suppress(OSError):
        folder.rmdir()


@contextmanager
def _held(path: Path, refusal: str) -> Iterator[None]:
    lock = FileLock(path)
    try:
        lock.acquire(timeout=0)
    except Timeout as error:
        raise OptionError(f"The file {str(path)!r} is locked: {refusal}.") from error
    try:
        yield
    finally:
        path.unlink(missing_ok=True)
        lock.release()
