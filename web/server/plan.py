"""How the processes of a site are laid out for the files that it serves: it follows from how large those are."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from atlas import Atlas
from web.server.memory import Budget
from web.workers.sql.console import ConsoleOptions


@dataclass(frozen=True)
class Plan:
    """What each process may hold, and how visitors' SQL is run."""

    budget: Budget
    sql: ConsoleOptions
    threads: int
    """Of a web process."""


Planner = Callable[[Mapping[str, Atlas]], Plan]
"""A plan for atlases, by slug; raises SiteMemoryError where there is no room for them."""
