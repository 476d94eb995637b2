"""Progress, speed and remaining time of a phase, computed from its counts, and their written form."""

from __future__ import annotations

import math
from collections import deque
from typing import NamedTuple

from atlas.core.display import show_seconds

_SPACING = 1.0
"""Seconds between the counts that are kept."""
_WINDOW = 60.0
"""Seconds of them that speed and time left are of."""
_SHORTEST = 5.0
"""Shortest span, in seconds, that gives a speed."""
_SHORT, _LONGEST = 0.5, 100 * 86400.0
"""Seconds; a time left below or beyond is no forecast."""


class _Count(NamedTuple):
    at: float
    done: float
    counted: float


class Pace:
    """One phase: the part of `total` that is done, and the units counted. Times are seconds of one clock.

    Speed is that of the last minute, and counts from the end of the first batch on: the first batch includes
    compilation, and earlier work may be another run's, whose checkpoint this run resumes from.
    """

    def __init__(self, name: str, total: float | None, unit: str, started: float) -> None:
        self.name, self.total, self.unit, self.started = name, total, unit, started
        self.done = self.counted = 0.0
        self.ended: float | None = None
        self._counts: deque[_Count] = deque()

    def advance(self, amount: float, counted: float, now: float) -> None:
        """Note that `amount` more of the total is done, and `counted` more units."""
        self.done += amount
        self.counted += counted
        latest = _Count(now, self.done, self.counted)
        if not self._counts:
            if counted > 0:
                self._counts.append(latest)
            return
        if len(self._counts) > 1 and now - self._counts[-2].at < _SPACING:
            self._counts[-1] = latest
        else:
            self._counts.append(latest)
        while len(self._counts) > 2 and self._counts[1].at <= now - _WINDOW:
            self._counts.popleft()

    def share(self) -> float | None:
        """The share of the total, 0 to 1; None: the total is not known."""
        return min(max(self.done / self.total, 0.0), 1.0) if self.total else None

    def rate(self, now: float) -> float | None:
        """Recent units a second, or those of the whole phase once it has ended. None: not enough data."""
        if self.ended is not None:
            return self.counted / (self.ended - self.started) if self.counted and self.ended > self.started else None
        return self._speed(now, "counted")

    def seconds_left(self, now: float) -> float | None:
        """Seconds until the total is done; None: unknown so far."""
        speed = self._speed(now, "done")
        if not self.total or not speed or self.ended is not None:
            return None
        left = (self.total - self.done) / speed - (now - self._counts[-1].at)
        return left if _SHORT <= left <= _LONGEST else None

    def _speed(self, now: float, field: str) -> float | None:
        if len(self._counts) < 2:
            return None
        first, last = self._counts[0], self._counts[-1]
        # Between two batches no time is held against it, unless it stands still for longer than all that is known.
        seconds = max(last.at - first.at, now - last.at)
        gained = getattr(last, field) - getattr(first, field)
        return gained / seconds if seconds >= _SHORTEST and gained > 0 else None

    def show_rate(self, now: float) -> str:
        """The speed, as in '2,310 tokens/s'; empty where nothing has been counted."""
        rate = self.rate(now)
        return f"{show_speed(rate)} {self.unit}/s" if self.unit and rate is not None else ""

    def show(self, now: float, memory: int) -> list[str]:
        """The state of a running phase in words: share or count, speed, time, memory (bytes)."""
        share, left = self.share(), self.seconds_left(now)
        parts = [] if share is None else [f"{math.floor(share * 100)}%"]
        if share is None and self.unit and self.counted:
            parts.append(f"{self.counted:,.0f} {self.unit}")
        parts.append(self.show_rate(now))
        parts.append(f"{show_seconds(now - self.started)} so far" if left is None else f"{show_seconds(left)} left")
        return [part for part in (*parts, f"{memory / 1e9:.1f} GB") if part]


def show_speed(rate: float) -> str:
    """Units a second, with a decimal where there are few."""
    return f"{rate:,.0f}" if rate >= 10 else f"{rate:.1f}"
