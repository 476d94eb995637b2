"""SIGTERM and Ctrl-C: a run with checkpoints stops at a point where nothing is lost; a run without stops at once."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType
from typing import Any

from ingest.errors import RankError

EXIT_RESUMABLE = 75
"""Exit code of a run stopped by SIGTERM that goes on when it is started again (EX_TEMPFAIL of sysexits.h)."""
EXIT_TERMINATED = 143
EXIT_INTERRUPTED = 130


class Stop:
    """Inside `deferring`, the first signal is noted and the work stops at its next safe point; a second signal, or one
    outside, stops at once. A context manager: its end restores the handlers.

    Args:
        resumable: whether a run stopped now goes on when started again.
        say: prints a line.
    """

    def __init__(self, resumable: bool = False, say: Callable[[str], None] = lambda line: None) -> None:
        self.resumable, self._say = resumable, say
        self._signal: int | None = None
        self._deferring = False
        self._leaving: BaseException | None = None
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Stop:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGTERM, signal.SIGINT):
                self._before[number] = signal.signal(number, self._receive)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        if self._leaving is not None and isinstance(error, Exception):
            raise self._leaving from error  # DuckDB turns a signal in a query into an error of its own.
        if self.requested and isinstance(error, RankError):  # The others were told to stop too, and were faster.
            self._say("Stopped with the other ranks. The same command goes on from the last checkpoints.")
            raise SystemExit(self._code) from error

    def _receive(self, number: int, frame: FrameType | None) -> None:
        if self._deferring and self._signal is None:
            self._signal = number
            self._say(f"{signal.Signals(number).name}: saving a checkpoint, then stopping. Again to stop at once.")
            return
        terminated = SystemExit(EXIT_RESUMABLE if self.resumable else EXIT_TERMINATED)
        self._leaving = KeyboardInterrupt() if number == signal.SIGINT else terminated
        raise self._leaving

    @contextmanager
    def deferring(self) -> Iterator[None]:
        """While inside, the first signal only sets `requested` (if the run is resumable)."""
        self._deferring = self.resumable
        try:
            yield
        finally:
            self._deferring = False

    @property
    def leaving(self) -> bool:
        """Whether the work is stopping at once."""
        return self._leaving is not None

    @property
    def requested(self) -> bool:
        """Whether a signal came: save, then `leave`."""
        return self._signal is not None

    def leave(self) -> None:
        """Exit the program after a checkpoint was saved.

        Raises:
            SystemExit: always; 75 after SIGTERM, 130 after Ctrl-C.
        """
        self._say("Stopped; the checkpoint is saved. The same command goes on from there.")
        raise SystemExit(self._code)

    @property
    def _code(self) -> int:
        return EXIT_INTERRUPTED if self._signal == signal.SIGINT else EXIT_RESUMABLE
