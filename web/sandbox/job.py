"""What a worker is told: which file, which limits, and, by tests, which layers to go without."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

from web.sandbox.limits import Limits


@dataclass(frozen=True)
class Served:
    """A file that workers read, and which file it was when the site was started."""

    path: Path
    device: int
    inode: int

    @classmethod
    def at(cls, path: Path) -> Served:
        """The file that is at a path now."""
        path = Path(path).resolve()
        status = os.stat(path)
        return cls(path, status.st_dev, status.st_ino)


@dataclass(frozen=True)
class Job:
    """What a worker is for."""

    served: Served
    limits: Limits
    without: frozenset[str] = field(default=frozenset())
    """Layers that a test leaves out: 'gate', 'landlock', 'seccomp'."""
