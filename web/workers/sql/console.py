"""The sandboxes of all atlases of a site, and whether visitors may use them."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from atlas.core.names import database_name
from web.workers.sql.errors import SqlUnavailable
from web.workers.sql.host import Host
from web.workers.sql.limits import Limits
from web.workers.sql.sandbox import Sandbox


@dataclass(frozen=True)
class ConsoleOptions:
    """What the operator decides about visitors' SQL."""

    enabled: bool = True
    anyway: bool = False
    """Run it even where this machine cannot confine it."""
    places: int = 2
    """Threads of one process that may wait for answers at once: the others are for pages."""
    limits: Limits = field(default_factory=Limits)


class Console:
    """Every atlas's sandbox, by slug: one broker for all, started at the first use or by `start`."""

    def __init__(
        self, files: Mapping[str, Path], options: ConsoleOptions | None = None, folder: Path | None = None
    ) -> None:
        self.options = options or ConsoleOptions()
        self._folder = folder
        self._files = dict(files)
        self._lock = threading.Lock()
        self._host: Host | None = None
        self._sandboxes: dict[str, Sandbox] = {}

    def start(self) -> str | None:
        """Start the processes and test them; what keeps visitors from using them, or None. Once, before the site's
        processes are forked, so that all of them share one count of running queries."""
        if not self.options.enabled:
            return "SQL is off here: the operator chose so."
        reasons = (self.sandbox(slug).why_not() for slug in self._files)
        return next((reason for reason in reasons if reason is not None), None)

    def sandbox(self, slug: str) -> Sandbox:
        """The sandbox of an atlas.

        Raises:
            SqlUnavailable: the operator turned SQL off.
        """
        if not self.options.enabled:
            raise SqlUnavailable("SQL is off here: the operator chose so.")
        with self._lock:
            if self._host is None:
                self._host = Host(
                    self._files.values(),
                    self.options.limits,
                    names=[database_name(slug) for slug in self._files],
                    places=self.options.places,
                    folder=self._folder,
                )
                for number, name in enumerate(self._files):
                    self._sandboxes[name] = Sandbox(
                        self._files[name], host=(self._host, number), anyway=self.options.anyway
                    )
            return self._sandboxes[slug]

    def status(self) -> dict[str, Any]:
        """What `/healthz` says: whether visitors' SQL is on, why not, and which layers confine it."""
        reason = self.start()
        layers = {}
        if self.options.enabled and self._sandboxes:
            with suppress(SqlUnavailable):  # the reason says so
                layers = next(iter(self._sandboxes.values())).layers()
        return {"on": reason is None, "reason": reason, "anyway": self.options.anyway, "layers": layers}

    def close(self, *, wait: bool = True) -> None:
        """End the processes, unless others still use them; `wait` until they are gone."""
        with self._lock:
            if self._host is not None:
                self._host.close(wait=wait)
                self._host = None
                self._sandboxes.clear()
