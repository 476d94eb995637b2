"""Whole files for visitors: how many are sent at once, and for how long a visitor may keep one waiting.

A download ties a thread until its last byte, so each process sends a few at a time and refuses more with 503; a visitor
who takes nothing is let go. Both are what keeps pages quick, not a limit on how much is read in all.
"""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable, Iterable, Iterator

from flask import Flask, current_app, request

from atlas import Atlas
from web.site.errors import BusyError, NotServedError

DOWNLOADS = 2
"""Files that a process sends at a time, unless told otherwise."""

PIECE = 256 * 1024
"""Bytes sent at once."""

_STALL_SECONDS = 60
"""Longest that a visitor's connection takes a piece: slower ones are ended."""
_RETRY_SECONDS = 30


class Gate:
    """Room for a number of downloads at a time; none: downloads are off."""

    def __init__(self, places: int) -> None:
        self.places = places
        self._taken = 0
        self._lock = threading.Lock()

    def enter(self) -> Callable[[], None]:
        """Take a place; what is returned gives it back, once, however often it is called.

        Raises:
            BusyError: every place is taken.
        """
        with self._lock:
            if self._taken >= self.places:
                raise BusyError(
                    f"{self.places} downloads are under way here, which is as many as are sent at once. "
                    f"Try again in {_RETRY_SECONDS} seconds.",
                    retry_after=_RETRY_SECONDS,
                )
            self._taken += 1
        left = threading.Lock()

        def leave() -> None:
            if left.acquire(blocking=False):
                with self._lock:
                    self._taken -= 1

        return leave


def register(app: Flask, places: int) -> None:
    """Let the app send `places` files at a time; 0: none at all. The files of its atlases are known by what they are
    now."""
    app.extensions["downloads"] = Gate(places)
    atlases: dict[str, Atlas] = app.extensions["atlases"]
    app.extensions["files"] = {slug: _identity(os.stat(atlas.path)) for slug, atlas in atlases.items()}


def check_file(atlas: Atlas, found: os.stat_result) -> None:
    """Refuse to send what now lies where an atlas's file was: its pages still show the build that was there.

    Raises:
        BusyError: another file has taken its place.
    """
    if _identity(found) != current_app.extensions["files"][atlas.info.slug]:
        raise BusyError(
            f"The file of {atlas.info.slug!r} has been replaced and is not served yet. "
            f"Try again in {_RETRY_SECONDS} seconds.",
            retry_after=_RETRY_SECONDS,
        )


def _identity(found: os.stat_result) -> tuple[int, int, int]:
    return found.st_dev, found.st_ino, found.st_size


def gate() -> Gate:
    """The app's gate."""
    return current_app.extensions["downloads"]


def check_on(link: str) -> None:
    """Refuse a download where they are off.

    Raises:
        NotServedError: they are; `link` is where to go instead.
    """
    if not gate().places:
        raise NotServedError("Whole files are not sent from this site: its operator has switched downloads off.", link)


def paced(parts: Iterable[bytes]) -> Iterator[bytes]:
    """The parts in pieces; where the server shows the visitor's connection, with a time limit for each."""
    connection = request.environ.get("gunicorn.socket")
    return _paced(parts, connection)


def _paced(parts: Iterable[bytes], connection: socket.socket | None) -> Iterator[bytes]:
    before = None if connection is None else connection.gettimeout()
    try:
        if connection is not None:
            connection.settimeout(_STALL_SECONDS)
        for part in parts:
            for start in range(0, len(part), PIECE):
                yield part[start : start + PIECE]
    finally:
        if connection is not None:
            connection.settimeout(before)
