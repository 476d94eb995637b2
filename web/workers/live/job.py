"""Jobs of models, while the desk has them."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

TEXT, STUDY = "text", "study"
"""Lanes: a model does one job of each at a time, a study waiting for texts between its forward passes."""


@dataclass(eq=False)
class Job:
    """A job: waiting, then running, then done with an answer or an error."""

    number: int
    lane: str
    model: str
    """The model's key: JSON of a `ModelWanted`."""
    job: str
    wanted: dict[str, Any]
    name: str = ""
    """Of a study: its name for its visitor."""
    state: str = "waiting"
    answer: dict[str, Any] | None = None
    error: dict[str, Any] | None = None
    shown: dict[str, Any] = field(default_factory=dict)
    """Of a study: the request without its long fields."""
    progress: tuple[int, int] | None = None
    """Forward passes done and planned."""
    started: float = 0.0
    ended: float = 0.0
    asked: float = field(default_factory=time.monotonic)
    """Time of its visitor's last request."""
    begun: int = 0
    """Number of processes it was sent to: one, or two where the first died."""
    ending: bool = False
    """Whether its process was told to cancel it."""

    def begin(self) -> None:
        """Mark it as running."""
        self.state, self.started, self.begun = "running", time.monotonic(), self.begun + 1

    def end(self, *, answer: dict[str, Any] | None = None, code: str = "", message: str = "") -> None:
        """Mark it as done; the first answer stays."""
        if self.state != "done":
            self.state, self.ended, self.answer = "done", time.monotonic(), answer
            self.error = None if answer is not None else {"code": code, "message": message}
            self.wanted = {}
