"""Numba's compiler with a cache that may fail: a read-only installation or a full disk costs seconds, not the run."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba
import torch
from numba import njit


class _Cached:
    """A compiled function whose cache on disk is a convenience: without it, it is compiled again by every process."""

    def __init__(self, function: Callable[..., Any], options: dict[str, Any]) -> None:
        self._function, self._options = function, options
        self.__doc__, self.__name__ = function.__doc__, function.__name__
        try:
            self._call = njit(cache=True, **options)(function)
        except RuntimeError:  # No folder to cache in.
            self._call = njit(**options)(function)

    def __call__(self, *args: Any) -> Any:
        try:
            return self._call(*args)
        except OSError:  # Compiled, but the cache could not be written (or read): kernels do no input or output.
            self._call = njit(**self._options)(self._function)
            return self._call(*args)


def compiled(**options: Any) -> Callable[[Callable[..., Any]], _Cached]:
    """`numba.njit(cache=True, ...)` for functions called from Python, with the cache where it works."""
    return lambda function: _Cached(function, options)


def match_threads() -> None:
    """Give compiled loops as many threads as torch has: one where a launcher runs several processes on the machine."""
    threads = torch.get_num_threads()
    numba.set_num_threads(min(threads, numba.config.NUMBA_NUM_THREADS))  # type: ignore[attr-defined]
    torch.set_num_threads(threads)  # Both use OpenMP: the first start of numba's threads changes torch's number.
