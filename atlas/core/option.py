"""Options of `atlas ingest` that add a topic's tables, each declared by its topic."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class IngestOption:
    """A flag of `atlas ingest` that asks for a statistic that is not in every atlas."""

    flag: str
    help: str
