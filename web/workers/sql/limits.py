"""What a visitor's query may use. Every process of the sandbox reads the same record."""

from __future__ import annotations

import os
from dataclasses import dataclass

GRACE = 0.1
"""Seconds after the limit at which a worker is killed: an answer that is late by less is still given."""

GIVEN_UP = 0.3
"""Seconds after the limit at which the web process waits no longer, should the broker not have ended it."""

LATEST = 0.5
"""Seconds after the limit by which every query has ended, whatever it is."""

TURNED_AWAY = 0.5
"""Seconds that a query waits for which there is no room, before it is told so: whoever asks again at once would keep
the site busy with saying no."""

MOST_WARM = 4
"""Workers of one atlas that wait for a query, at most: each holds some 20 MB."""

STARTING = 60.0
"""Seconds that the first worker of a site may take to start."""

_MIB = 2**20


def spare_cores() -> int:
    """Every core but one, which the pages keep; at least one."""
    return max(1, (os.cpu_count() or 1) - 1)


@dataclass(frozen=True)
class Limits:
    """What a query may use, and how many may run."""

    seconds: float = 5.0
    """From the request to its answer; waiting for a turn is part of it."""
    memory: int = 256 * _MIB
    """Bytes for DuckDB's buffers; the process may hold more (see `data` and `address_space`)."""
    beyond: int = 350 * _MIB
    """Bytes that it may hold beyond them: what DuckDB does not count (parsing, functions, the answer), and Python."""
    rows: int = 10_000
    """Rows of an answer."""
    bytes: int = 2 * _MIB
    """Bytes of an answer, as JSON."""
    cell: int = 256 * 1024
    """Characters of one cell, as JSON."""
    statement: int = 100_000
    """Bytes of a statement with its parameters."""
    running: int = 0
    """Queries that run at once; 0: as many as there are cores, but one."""
    waiting: int = 8
    """Queries that wait for their turn for as long as they may take; others wait for half a second."""

    warm: int = MOST_WARM
    """Workers of one atlas that wait for a query, at most."""

    @property
    def ready(self) -> int:
        """Workers of one atlas that wait for a query."""
        return min(self.slots + 1, self.warm)

    @property
    def slots(self) -> int:
        """Queries that run at once."""
        return self.running or spare_cores()

    @property
    def data(self) -> int:
        """Bytes of private memory at which the system refuses a worker more."""
        return self.memory + self.beyond

    @property
    def address_space(self) -> int:
        """Bytes of address space, shared libraries and unused reservations included."""
        return self.data + 600 * _MIB
