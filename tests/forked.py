"""Runs of the program in processes that can be killed: forked from one that has everything imported already.

The server that forks them runs nothing itself, so a child starts in a tenth of a second with no thread to inherit.
"""

from __future__ import annotations

import multiprocessing
import os
import re
import sys
import time
import traceback
from collections.abc import Callable
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any

_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(["tests.forked_preload"])


def _run(settings: dict[str, Any], environment: dict[str, str], log: str, share: float | None) -> None:
    """Build in a child; what it says goes to `log`, its exit code is the program's. `share` of the time may go into
    publishing while texts are read."""
    os.environ.update(environment)
    sys.stdout = sys.stderr = open(log, "w", buffering=1)  # noqa: SIM115
    os.dup2(sys.stderr.fileno(), 2)
    from rich.console import Console

    from atlas.core.errors import AtlasError
    from ingest.process.settings import Settings
    from ingest.process.stop import Stop
    from ingest.run import publish
    from ingest.run.ingest import ingest

    if share is not None:
        publish.SHARE = share
    options = Settings(**settings)
    console = Console(file=sys.stderr, width=200)
    code = 1
    try:
        with Stop(options.checkpoint is not None, console.print) as stop:
            ingest(options, console, stop)
        code = 0
    except AtlasError as error:
        print(f"Error: {error}")
    except KeyboardInterrupt:
        code = 130
    except SystemExit as leaving:
        code = leaving.code
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)


def start(settings: dict[str, Any], log: Path, *, share: float | None = None, **environment: str) -> ForkServerProcess:
    """Begin a run."""
    process = _CONTEXT.Process(target=_run, args=(settings, environment, str(log), share), daemon=True)
    process.start()
    return process


def call(function: Callable[..., None], *arguments: str) -> ForkServerProcess:
    """Begin a call of a function of a module."""
    process = _CONTEXT.Process(target=function, args=arguments, daemon=True)
    process.start()
    return process


def anonymous() -> int:
    """Bytes of this process's memory that are no pages of files."""
    status = Path("/proc/self/status").read_text()
    return 1024 * int(re.search(r"RssAnon:\s+(\d+)", status)[1])


def start_ranks(
    world: int, settings: dict[str, Any], folder: Path, port: int, *, share: float | None = None
) -> list[ForkServerProcess]:
    """Begin a run of several ranks, as a launcher would."""
    shared = {"WORLD_SIZE": str(world), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    return [
        start(settings, folder / f"rank{rank}.log", share=share, RANK=str(rank), LOCAL_RANK=str(rank), **shared)
        for rank in range(world)
    ]


def wait_for_checkpoint(folder: Path, stem: str, number: int, ranks: list[ForkServerProcess]) -> None:
    """Wait until a stem's checkpoint of that number or a later one is there (the newest two are kept), or a rank has
    ended."""
    deadline = time.monotonic() + 100
    while all(rank.exitcode is None for rank in ranks):
        numbers = [int(path.name[len(stem) + 1 :].split("-")[0]) for path in folder.glob(f"{stem}-*.safetensors")]
        if max(numbers, default=0) >= number:
            return
        assert time.monotonic() < deadline
        time.sleep(0.002)


def finish(process: ForkServerProcess, timeout: float = 120) -> int:
    """Wait for a run's end; its exit code, negative for a signal."""
    process.join(timeout)
    if process.exitcode is None:
        process.kill()
        raise TimeoutError("the run did not end")
    return process.exitcode
