"""Downloads of whole files: limits on how many are sent at once, and on slow visitors.

A download occupies a thread until its last byte, so each process sends a few at a time and refuses more with 503, and a
stalled download is ended. Both keep pages fast; they do not limit the total.
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
"""Default number of files that a process sends at a time."""

PIECE = 256 * 1024
"""Bytes of a piece."""

_STALL_SECONDS = 60
"""Longest time for sending a piece to a visitor, seconds: slower downloads are ended."""
_RETRY_SECONDS = 30


class Gate:
    """A gate for a number of downloads at a time; 0: downloads are off."""

    def __init__(self, places: int) -> None:
        self.places = places
        self._taken = 0
        self._lock = threading.Lock()

    def enter(self) -> Callable[[], None]:
        """Take a place; the returned function gives it back once, however often it is called.

        Raises:
            BusyError: every place is taken.
        """
        with self._lock:
            if self._taken >= self.places:
                raise BusyError(
                    f"{self.places} downloads are in progress here, the most at one time. "
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
    """Let the app send `places` files at a time; 0: none. The identity of its atlases' files is recorded now."""
    app.extensions["downloads"] = Gate(places)
    atlases: dict[str, Atlas] = app.extensions["atlases"]
    app.extensions["files"] = {slug: _identity(os.stat(atlas.path)) for slug, atlas in atlases.items()}


def check_file(atlas: Atlas, status: os.stat_result) -> None:
    """Refuse to send a file that has replaced an atlas's file: the pages still show the earlier build.

    Raises:
        BusyError: another file has taken its place.
    """
    if _identity(status) != current_app.extensions["files"][atlas.info.slug]:
        raise BusyError(
            f"The file of {atlas.info.slug!r} has been replaced and is not served yet. "
            f"Try again in {_RETRY_SECONDS} seconds.",
            retry_after=_RETRY_SECONDS,
        )


def _identity(status: os.stat_result) -> tuple[int, int, int]:
    return status.st_dev, status.st_ino, status.st_size


def gate() -> Gate:
    """The app's gate."""
    return current_app.extensions["downloads"]


def check_on(link: str) -> None:
    """Refuse a download where they are off.

    Raises:
        NotServedError: downloads are off; `link` is an alternative page.
    """
    if not gate().places:
        raise NotServedError("Whole files are not sent from this site: its operator has switched downloads off.", link)


def paced(parts: Iterable[bytes]) -> Iterator[bytes]:
    """The parts in pieces, each with a time limit where the server exposes the visitor's connection."""
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
