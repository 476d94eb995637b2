"""Items made ahead by a thread: the same items, the same exceptions, and nothing left running."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import hypothesis.strategies as st
import pytest
from hypothesis import given

from ingest.process.prefetch import prefetched

WAIT = 10  # Seconds after which a thread that should have moved did not: only a failing test waits so long.


def running() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "prefetched batches"]


@given(st.lists(st.integers()), st.integers(1, 5))
def test_the_same_items_in_the_same_order(items: list[int], depth: int) -> None:
    assert list(prefetched(items, depth)) == items
    assert running() == []


@pytest.mark.parametrize("good", [0, 1, 7])
def test_an_exception_comes_after_the_items_before_it(good: int) -> None:
    def source() -> Iterator[int]:
        yield from range(good)
        raise OSError("the disk is gone")

    items = prefetched(source(), 2)
    assert [next(items) for _ in range(good)] == list(range(good))
    with pytest.raises(OSError, match="the disk is gone"):
        next(items)
    assert running() == []


def test_it_stays_at_most_depth_ahead() -> None:
    made, wanted = [], threading.Event()

    def source() -> Iterator[int]:
        for item in range(100):
            made.append(item)
            if len(made) == 4:
                wanted.set()
            yield item

    items = prefetched(source(), 3)
    assert next(items) == 0
    assert wanted.wait(WAIT)  # The one taken and three ahead...
    threading.Event().wait(0.05)
    assert made == [0, 1, 2, 3]  # ...and no more until another is taken.
    items.close()
    assert running() == []
    assert len(made) <= 4


def test_leaving_early_closes_the_source_in_its_own_thread() -> None:
    closed = []

    def source() -> Iterator[int]:
        try:
            while True:
                yield 1
        finally:
            closed.append(threading.current_thread().name)

    items = prefetched(source(), 2)
    assert next(items) == 1
    items.close()
    assert closed == ["prefetched batches"]
    assert running() == []


def test_the_source_runs_ahead_while_an_item_is_in_use() -> None:
    """The consumer holds item 0 until item 1 exists: without a second thread this would never end."""
    second = threading.Event()

    def source() -> Iterator[int]:
        yield 0
        second.set()
        yield 1

    seen = []
    for item in prefetched(source(), 1):
        assert second.wait(WAIT)
        seen.append(item)
    assert seen == [0, 1]


def test_no_room_is_refused() -> None:
    with pytest.raises(ValueError, match="depth is 0, expected at least 1"):
        prefetched([], 0)
