"""Limits of a visitor's query. Every process of the sandbox reads the same record."""

from __future__ import annotations

import os
from dataclasses import dataclass

GRACE = 0.1
"""Seconds after the time limit at which a worker is killed: an answer that is late by less is still sent."""

GIVEN_UP = 0.3
"""Seconds after the time limit at which the web process stops waiting, if the broker has not ended the query."""

LATEST = 0.5
"""Seconds after the time limit by which every query has ended."""

TURNED_AWAY = 0.5
"""Seconds that a query waits before it is turned away: this slows down clients that retry at once."""

MOST_WARM = 4
"""Most idle workers of one atlas: each holds about 20 MB."""

STARTING = 60.0
"""Seconds that the first worker of a site may take to start."""

CUTS = ("rows", "size", "cells")
"""Limits at which an answer is cut."""

_MIB = 2**20


def spare_cores() -> int:
    """All cores but one, which is for pages; at least one."""
    return max(1, (os.cpu_count() or 1) - 1)


@dataclass(frozen=True)
class Limits:
    """Limits of a query, and of the number of running ones."""

    seconds: float = 5.0
    """Seconds from the request to its answer, including the wait for its turn."""
    memory: int = 256 * _MIB
    """Bytes for DuckDB's buffers; the process may hold more (see `data` and `address_space`)."""
    beyond: int = 350 * _MIB
    """Bytes that it may hold beyond them: memory that DuckDB does not count (parsing, functions, the answer), and
    Python."""
    rows: int = 10_000
    """Most rows of an answer."""
    bytes: int = 2 * _MIB
    """Most bytes of an answer, as JSON."""
    cell: int = 256 * 1024
    """Most characters of one cell, as JSON."""
    statement: int = 100_000
    """Most bytes of a statement with its parameters."""
    running: int = 0
    """Queries that run at once; 0: the number of cores less one."""
    waiting: int = 8
    """Queries that wait for their turn up to their time limit; others wait for half a second."""

    warm: int = MOST_WARM
    """Most idle workers of one atlas."""

    def cut_words(self, cut: str) -> str:
        """What a cut answer lacks, and what to change."""
        return {
            "rows": f"This is the first part of the answer: it ends at {self.rows:,} rows, this site's limit. "
            "Aggregate, filter, or ask for the next part with OFFSET.",
            "size": f"This is the first part of the answer: it ends at {self.bytes // _MIB} MiB, this site's limit. "
            "Select fewer columns, or fewer rows.",
            "cells": f"Long cells end in … at {self.cell // 1024} KiB, this site's limit. Select a part of them, as in "
            "left(text, 1000) or list[1:100].",
        }[cut]

    def time_words(self) -> str:
        """What to change in a query that was too slow."""
        return (
            f"The query was stopped after {self.seconds:g} s, this site's time limit. Filter by neuron_id, token_id or "
            "layer before a join, or ask about fewer of them."
        )

    def memory_words(self, *, disk: bool = False) -> str:
        """What to change in a query that was too large: `disk`, where DuckDB would have gone on on the disk."""
        memory = f"{self.memory // _MIB} MiB"
        if disk:
            return (
                f"The query's sort, join or aggregate outgrew {memory} of memory, and queries write nothing to this "
                "site's disk. Filter before it, sort with a LIMIT, or select fewer columns."
            )
        return (
            f"The query needs more than {memory} of memory, this site's limit. Filter before a join or an aggregate, "
            "or select fewer columns."
        )

    def statement_words(self) -> str:
        """What to change in a statement that is too long."""
        return (
            f"The statement is longer than {self.statement:,} bytes with its parameters, this site's limit. Shorten "
            "its lists of values, or ask in several queries."
        )

    @property
    def ready(self) -> int:
        """Idle workers of one atlas."""
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
