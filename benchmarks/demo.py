"""`make demo`: the demo atlas, served from the first minute while it is built, and how long each part of it took.

What is to be done is read off the file itself: texts and what every neuron does for what is predicted there, then the
post's experiment, then what the best pairs' neurons do where they fire. A build that was interrupted goes on behind the
last of these, or at its last checkpoint.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from types import FrameType
from urllib.error import URLError
from urllib.request import urlopen

from atlas import open_atlas
from atlas.core.errors import AtlasError
from ingest.texts.builtin import WIKIPEDIA_PACKAGE

ATLAS = (str(Path(sys.executable).with_name("atlas")),)
SLUG = "smollm2-135m"
N_TEXTS = 800
"""Introductions of Wikipedia's articles: 103,000 tokens, which two cores read in about four minutes."""

_PEAR = "I climbed up the pear tree and picked a pear. I climbed up the"
STUDY = [
    "--name",
    "an",
    "--answer",
    " an",
    "--other",
    " a",
    "--clean",
    f"{_PEAR} apple tree and picked",
    "--corrupt",
    f"{_PEAR} lemon tree and picked",
]
EFFECTS = ["--pairs", "20", "--positions", "8"]
_MOMENT = 0.2


def next_step(demo: Path) -> list[str] | None:
    """The arguments of `atlas` that bring the file on; None: it has everything."""
    saved = demo.with_suffix(".saved")
    if demo.exists():
        with open_atlas(demo) as atlas:
            ((done, studied, measured),) = atlas.rows(
                "SELECT EXISTS (FROM neuron_attribution), EXISTS (FROM study WHERE name = 'an'), "
                "EXISTS (FROM pair_effect)"
            )
        steps = (
            (studied, ["study", str(demo), *STUDY]),
            (measured, ["effects", str(demo), *EFFECTS]),
        )
        if done:
            return next((arguments for there, arguments in steps if not there), None)
    return [
        "ingest",
        "--model",
        SLUG,
        *texts(),
        "--connections",
        "--publish-every",
        "2min",
        "--checkpoint",
        str(saved),
        "--checkpoint-every",
        "1min",
        "--out",
        str(demo),
    ]


def texts() -> list[str]:
    """The options that say which texts are read: those of a package, or what comes with Python."""
    try:
        metadata.version(WIKIPEDIA_PACKAGE)
    except metadata.PackageNotFoundError:
        return ["--dataset", "pydoc", "--overflow", "split", "--context-length", "128"]
    return ["--dataset", "vital-articles", "--max-texts", str(N_TEXTS), "--context-length", "512"]


class Demo:
    """The programs that build and serve; all end together.

    Args:
        port: where to serve; None: nowhere.
        program: what is started with the arguments of `atlas`.
    """

    def __init__(self, demo: Path, port: int | None, program: Sequence[str] = ATLAS) -> None:
        self.demo, self.port, self.started = demo, port, time.monotonic()
        self._program = program
        self._server: subprocess.Popen | None = None
        self._step: subprocess.Popen | None = None

    def run(self) -> int:
        """Build what is missing, serve until interrupted; the exit status.

        Raises:
            AtlasError: the file that is there is no atlas, or of another schema version.
        """
        # Ctrl-C counts also where a shell started this in the background, and had it ignored.
        before = {
            number: signal.signal(number, handler)
            for number, handler in ((signal.SIGTERM, self._terminated), (signal.SIGINT, signal.default_int_handler))
        }
        try:
            step = next_step(self.demo)
            if self.port is not None:
                self._server = self._start("serve", "--wait", str(self.demo), "--port", str(self.port))
            if step is not None and (failed := self._build()):
                return failed
            return self._server.wait() if self._server else 0
        except KeyboardInterrupt:
            return 130
        finally:
            self._end()
            for number, handler in before.items():
                signal.signal(number, handler)

    def _build(self) -> int:
        if self._server is not None:
            threading.Thread(target=self._watch, daemon=True).start()
        while arguments := next_step(self.demo):
            self._step = self._start(*arguments)
            while self._step.poll() is None:
                if self._server is not None and self._server.poll() is not None:  # It has said why.
                    return self._server.returncode or 1
                time.sleep(_MOMENT)
            if self._step.returncode:
                return self._step.returncode
            print(f"atlas {arguments[0]}: done {self._after()}", flush=True)
        print(f"Everything is there {self._after()}", flush=True)
        return 0

    def _start(self, *arguments: str) -> subprocess.Popen:
        # In a session of its own, so that Ctrl-C comes to it once, from here: a second would not let it save its work.
        return subprocess.Popen([*self._program, *arguments], start_new_session=True)

    def _end(self) -> None:
        """Let a step save its work, and end the server."""
        for process, number in ((self._step, signal.SIGINT), (self._server, signal.SIGTERM)):
            if process is not None and process.poll() is None:
                process.send_signal(number)
        for process in (self._step, self._server):
            if process is not None:
                process.wait()

    def _watch(self) -> None:
        """Say when the first neuron's page is answered."""
        page = f"http://127.0.0.1:{self.port}/{SLUG}/L24N917"
        while True:
            try:
                with urlopen(page, timeout=30):
                    break
            except (URLError, OSError):
                time.sleep(1)
        print(f"First neuron page {self._after()}: {page}", flush=True)

    def _after(self) -> str:
        load = os.getloadavg()[0]
        return f"after {time.monotonic() - self.started:.0f} s (load average {load:.1f}, {os.cpu_count()} cores)"

    def _terminated(self, number: int, frame: FrameType | None) -> None:
        raise SystemExit(128 + number)


def main(arguments: Sequence[str] | None = None) -> int:
    """`python -m benchmarks.demo FILE [--port N | --no-serve]`."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path)
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--no-serve", action="store_true", help="only build")
    options = parser.parse_args(arguments)
    try:
        return Demo(options.file, None if options.no_serve else options.port).run()
    except AtlasError as error:
        print(f"Error: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
