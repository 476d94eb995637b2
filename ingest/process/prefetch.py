"""The next batches made while the device works on this one: an iterator run ahead in a thread of its own."""

from __future__ import annotations

import queue
import threading
from collections.abc import Generator, Iterable
from dataclasses import dataclass
from typing import TypeVar

T = TypeVar("T")
_STOP_SECONDS = 5.0  # A source that is stuck (a dead network) is left behind after this long: the thread is a daemon.


@dataclass(frozen=True)
class _End:
    """The source is exhausted, or raised `error`."""

    error: BaseException | None = None


def prefetched(items: Iterable[T], depth: int) -> Generator[T, None, None]:
    """The items of an iterable, in order, made in another thread up to `depth` ahead of the one being used.

    What the source raises is raised here, where its next item would have come. Closing the generator (or leaving it to
    be collected) stops the thread and closes the source. Only that thread touches the source.

    Raises:
        ValueError: `depth` is below 1.
    """
    if depth < 1:
        raise ValueError(f"depth is {depth}, expected at least 1")
    return _consume(items, depth)


def _consume(items: Iterable[T], depth: int) -> Generator[T, None, None]:
    made: queue.SimpleQueue[T | _End] = queue.SimpleQueue()
    places, stopped = threading.Semaphore(depth), threading.Event()
    thread = threading.Thread(
        target=_produce, args=(items, made, places, stopped), name="prefetched batches", daemon=True
    )
    thread.start()
    try:
        while not isinstance(item := made.get(), _End):
            places.release()
            yield item
        if item.error is not None:
            raise item.error
    finally:
        stopped.set()
        places.release()
        thread.join(_STOP_SECONDS)


def _produce(
    items: Iterable[T], made: queue.SimpleQueue[T | _End], places: threading.Semaphore, stopped: threading.Event
) -> None:
    end = _End()
    try:
        source = iter(items)
        try:
            while places.acquire() and not stopped.is_set():
                made.put(next(source))
        except StopIteration:
            pass
        finally:
            if hasattr(source, "close"):
                source.close()
    except BaseException as error:  # Any exception belongs to the caller that uses the items.
        end = _End(error)
    finally:
        made.put(end)
