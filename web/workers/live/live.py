"""The site's client of the desk: start it at the first request, send requests, and wait as long as the visitor does."""

from __future__ import annotations

import fcntl
import json
import os
import secrets
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import numpy as np

from atlas import Atlas
from atlas.cli.main import MissingExtraError
from atlas.topics.live import ModelWanted, StudyWanted, activation_means
from web.workers import supervisor
from web.workers.live.errors import LiveBusy, LiveUnavailable, error_of
from web.workers.live.holder import GROUP
from web.workers.live.options import LiveOptions, places_of
from web.workers.supervisor import NoAnswerError, Supervisor

_CODE = "from web.workers.live.desk import main; main()"
_SLACK = 10.0
"""Seconds that the desk may be late."""


@dataclass(frozen=True)
class Status:
    """Status of a study."""

    state: str
    """'waiting', 'running' or 'done'."""
    before: int
    """Studies that wait before it."""
    loading: bool
    """Whether the model is still being loaded."""
    progress: tuple[int, int] | None
    """Forward passes done and planned."""
    seconds: float
    error: dict[str, str] | None
    folder: str
    """Folder of its tables, once it is done."""
    shown: dict[str, str]
    """The request: the prompts, both tokens, and the command line that records the same study."""


class Live(Supervisor):
    """The models of a site, shared by every process forked after it was made. Nothing runs before the first request."""

    def __init__(self, options: LiveOptions) -> None:
        super().__init__(places_of(options))
        self.options = options
        self._folder = Path(tempfile.mkdtemp(prefix="atlas-live-"))
        self._owner = os.getpid()
        # Every process of the site holds the second; the desk reads the first to its end.
        self._life = os.pipe()

    def wanted(self, atlas: Atlas) -> dict[str, Any]:
        """The model of an atlas."""
        info = atlas.info
        load = self.options.load.get(info.slug, self.options.load.get(""))
        return asdict(ModelWanted(info.model_name, info.model_revision, info.model_fingerprint, load))

    def text(self, atlas: Atlas, job: str, wanted: Any, client: socket.socket | None = None) -> dict[str, Any]:
        """The answer of a job about a text, ended early if `client`, the visitor's socket, is closed.

        Raises:
            LiveError: it has none.
        """
        request = {"do": "text", "model": self.wanted(atlas), "job": job, "wanted": asdict(wanted)}
        return self._ask(request, 2 * self.options.answer_seconds + _SLACK, client)

    def study(self, atlas: Atlas, wanted: StudyWanted) -> str:
        """Begin a study and return its name. The desk chooses the folder.

        Raises:
            LiveError: the queue is full.
        """
        request = {"do": "study", "model": self.wanted(atlas), "job": "study", "wanted": asdict(wanted)}
        return self._ask(request, _SLACK)["name"]

    def means(self, atlas: Atlas) -> str:
        """File of the mean activations of an atlas, for its model's process.

        Raises:
            LiveError: it cannot be written.
        """
        path = self._folder / f"means-{atlas.info.slug}-{atlas.info.build_id}.npy"
        if not path.exists():
            mine = path.with_name(f"{path.stem}-{secrets.token_hex(4)}.npy")
            try:
                np.save(mine, activation_means(atlas))
                mine.replace(path)
            except OSError as error:
                raise LiveUnavailable("The server cannot write its temporary files; try again in a moment.") from error
        return str(path)

    def status(self, name: str) -> Status | None:
        """Status of a study; None: there is none of that name, or no longer."""
        answer = self._ask({"do": "status", "name": name}, _SLACK)
        return None if answer is None else Status(**answer)

    def close(self) -> None:
        """Release the desk; it ends with its models once the last process does so. The process that made it cleans
        up."""
        with self._lock:
            for end in self._life or ():
                os.close(end)
            self._life = None
            self._wait(5)
            if self._owner == os.getpid():
                shutil.rmtree(self._folder, ignore_errors=True)

    def _ask(self, question: dict[str, Any], seconds: float, client: socket.socket | None = None) -> Any:
        try:
            answer = json.loads(self._exchange(question, seconds, client, _line))
        except NoAnswerError as error:
            if error.why == "place":
                raise LiveBusy("Too many live requests wait here; try again soon.") from None
            raise LiveUnavailable("The process that keeps the queue did not answer; try again in a moment.") from None
        except (OSError, ValueError) as error:
            raise LiveUnavailable("The process that keeps the queue is gone; try again in a moment.") from error
        if "error" in answer:
            raise error_of(answer["error"])
        return answer["answer"]

    @contextmanager
    def _alone(self) -> Iterator[None]:
        with open(self._folder / "lock", "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def _connect(self) -> socket.socket:
        connection = socket.socket(socket.AF_UNIX)
        try:
            connection.connect(str(self._folder / "desk"))
        except OSError:
            connection.close()
            raise
        return connection

    def _start(self) -> subprocess.Popen:
        address = self._folder / "desk"
        address.unlink(missing_ok=True)
        setup = {"options": asdict(replace(self.options, load={})), "folder": str(self._folder)}
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(str(address))
            server.listen(64)
            return supervisor.start(_CODE, setup, [server.fileno(), self._life[0]], start_new_session=True)


def _line(received: bytearray) -> bytes | None:
    return bytes(received) if received.endswith(b"\n") else None


def check_installed() -> None:
    """Check that a model could be loaded here, without loading anything.

    Raises:
        MissingExtraError: a library is not installed; the message says how to install it.
    """
    try:
        next(iter(entry_points(group=GROUP, name="check"))).load()()
    except (ImportError, StopIteration) as error:
        why = f" ({error})" if str(error) else ""
        raise MissingExtraError(
            f"`atlas serve --live` needs libraries that are not installed{why}. "
            "Install them: pip install 'neuron-atlas[ingest]'"
        ) from error
