"""What is asked of the disk while something is written, in order: for tests of what survives a loss of power."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


class Disk:
    """Records `os.chmod`, `os.fsync`, `os.rename` and `os.replace` with their paths, from here on, and does them."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.did: list[tuple] = []
        self._fsync = os.fsync
        monkeypatch.setattr(os, "fsync", self._record_fsync)
        for name in ("rename", "replace"):
            monkeypatch.setattr(os, name, self._recorded(name, getattr(os, name)))
        chmod = os.chmod
        monkeypatch.setattr(
            os, "chmod", lambda path, mode, **k: (self.did.append(("chmod", str(path), mode)), chmod(path, mode, **k))
        )

    def _record_fsync(self, handle: int) -> None:
        self.did.append(("fsync", os.readlink(f"/proc/self/fd/{handle}")))
        self._fsync(handle)

    def _recorded(self, name: str, do):
        def record(source: str | Path, target: str | Path, **options: object) -> None:
            self.did.append((name, str(source), str(target)))
            do(source, target, **options)

        return record
