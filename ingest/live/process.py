"""The process of one model: load the model, report it, and answer requests one by one until the connection closes.

While a study runs, texts are answered between its forward passes.
"""

from __future__ import annotations

import json
import os
import select
import socket
import sys
import traceback
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from atlas.core.errors import AtlasError
from atlas.topics.live import CANCELLED, FAILED, REFUSED, ModelWanted

_NEEDED = ("torch", "transformers", "transformer_lens", "jaxtyping")
_PIECE = 1 << 16


def check() -> None:
    """Whether a model could be loaded here, without loading anything.

    Raises:
        ImportError: a library is not installed; names it.
    """
    for library in _NEEDED:
        if find_spec(library) is None:
            raise ImportError(f"No module named {library!r}", name=library)


class Ended(Exception):  # noqa: N818  not an error: the one who asked is gone
    """The job was cancelled."""


class Channel:
    """Lines of JSON, both ways."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection, self._received, self._lines = connection, bytearray(), []

    def say(self, **fields: Any) -> None:
        """Write a line."""
        self._connection.sendall(json.dumps(fields).encode() + b"\n")

    def next(self, *, wait: bool) -> dict[str, Any] | None:
        """The next line; None if there is none yet and `wait` is False.

        Raises:
            EOFError: the connection is closed.
        """
        while not self._lines:
            if not wait and not select.select([self._connection], [], [], 0)[0]:
                return None
            piece = self._connection.recv(_PIECE)
            if not piece:
                raise EOFError
            *lines, rest = (bytes(self._received) + piece).split(b"\n")
            self._lines, self._received = lines, bytearray(rest)
        return json.loads(self._lines.pop(0))


class Server:
    """Answers each request with the job that it names."""

    def __init__(self, channel: Channel, jobs: Mapping[str, Callable[..., Any]]) -> None:
        self._channel, self._jobs = channel, jobs
        self._ended: set[int] = set()

    def serve(self) -> None:
        """Answer until the other end is closed."""
        with suppress(EOFError, BrokenPipeError):
            while True:
                self._take(self._channel.next(wait=True))

    def _take(self, request: dict[str, Any]) -> None:
        if "cancel" in request:
            self._ended.add(request["cancel"])
        else:
            self._answer(request.pop("id"), request.pop("job"), request)

    def _answer(self, number: int, job: str, wanted: dict[str, Any]) -> None:
        def report(done: int, planned: int) -> None:
            self._channel.say(id=number, progress=[done, planned])
            while (request := self._channel.next(wait=False)) is not None:
                self._take(request)
            if number in self._ended:
                raise Ended

        try:
            answer = self._jobs[job](wanted, report)
            self._channel.say(id=number, answer=asdict(answer))
        except (EOFError, BrokenPipeError):
            raise
        except Ended:
            self._fail(number, CANCELLED, "It was cancelled.")
        except AtlasError as error:
            self._fail(number, REFUSED, str(error))
        except Exception as error:
            traceback.print_exc()
            self._fail(number, FAILED, f"The model's process failed ({type(error).__name__}): see its log.")
        self._ended.discard(number)

    def _fail(self, number: int, code: str, message: str) -> None:
        self._channel.say(id=number, error={"code": code, "message": message})


def main() -> None:
    """The process. Arguments: the wanted model and the most tokens of a text as JSON, the number of a descriptor."""
    arguments, descriptor = json.loads(sys.argv[1]), int(sys.argv[2])
    os.environ.setdefault("TQDM_DISABLE", "1")
    os.nice(5)
    with suppress(OSError):  # if memory runs out, the system ends this process before the site
        Path("/proc/self/oom_score_adj").write_text("600")
    with socket.socket(fileno=descriptor) as connection:
        channel = Channel(connection)
        try:
            # torch, from here on.
            from ingest.live.jobs import jobs_of, load_wanted

            jobs = jobs_of(load_wanted(ModelWanted(**arguments["model"])), arguments["tokens"])
        except AtlasError as error:
            channel.say(failed=str(error))
            return
        except Exception as error:
            traceback.print_exc()
            channel.say(failed=f"The model could not be loaded ({type(error).__name__}): see the server's log.")
            return
        channel.say(ready=True)
        Server(channel, jobs).serve()
