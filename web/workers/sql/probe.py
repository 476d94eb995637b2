"""Self-test of the sandbox, run inside a worker at every start of the console: attempts of forbidden actions."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path

from web.workers.sql.job import Served


def _write_database(path: Path) -> None:
    os.close(os.open(path, os.O_RDWR))


def _append_database(path: Path) -> None:
    os.close(os.open(path, os.O_WRONLY | os.O_APPEND))


def _create_beside(path: Path) -> None:
    beside = path.with_name(f".{path.name}.probe")
    os.close(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    os.unlink(beside)


def _read_another() -> None:
    os.close(os.open(sys.executable, os.O_RDONLY))


def _open_socket() -> None:
    socket.socket(socket.AF_INET, socket.SOCK_STREAM).close()


def _start_process() -> None:
    child = os.fork()
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)


def _run_program() -> None:
    os.waitpid(os.posix_spawn(sys.executable, [sys.executable, "-c", ""], {}), 0)


def _signal(parent: int) -> None:
    os.kill(parent, 0)


def attempts(files: Iterable[Served], parent: int) -> list[str]:
    """The forbidden actions that succeed; empty if the sandbox holds."""
    tried: dict[str, Callable[[], None]] = {
        "read another file": _read_another,
        "open a socket": _open_socket,
        "start a process": _start_process,
        "run a program": _run_program,
        "send a signal": lambda: _signal(parent),
    }
    for item in files:
        tried |= {
            f"open the database {item.name} for writing": partial(_write_database, item.link),
            f"append to the database {item.name}": partial(_append_database, item.link),
            f"create a file beside the database {item.name}": partial(_create_beside, item.path),
        }
    could = []
    for what, attempt in tried.items():
        try:
            attempt()
        except OSError:
            continue
        could.append(what)
    if os.environ:
        could.append("read the server's environment")
    return could
