"""The plan of a site's processes, which follows from the size of the served files."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from atlas import Atlas
from web.server.memory import Budget
from web.workers.sql.console import ConsoleOptions


@dataclass(frozen=True)
class Plan:
    """Memory of each process, and the settings of visitors' SQL."""

    budget: Budget
    sql: ConsoleOptions
    threads: int
    """Threads of a web process."""


Planner = Callable[[Mapping[str, Atlas]], Plan]
"""Make a plan for atlases, by slug; raises SiteMemoryError where there is no room for them."""
