"""What the system takes away from a worker before a visitor's query reaches it.

Each layer is put on by a function that answers what it did, or raises `MissingError` where this machine lacks it.
Numbers of prctl are those of Linux's `include/uapi/linux/prctl.h`.
"""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import sys
from collections.abc import Callable, Iterable
from functools import cache
from pathlib import Path
from typing import Any

from web.workers.sql.limits import Limits
from web.workers.sql.syscalls import ALLOWED, RECEIVING

_PR_SET_PDEATHSIG, _PR_SET_DUMPABLE, _PR_SET_NO_NEW_PRIVS = 1, 4, 38
_PROT_EXEC = 4

# What DuckDB reads as it starts: how many processors and how much memory there are. Without these it does not start.
_ABOUT_THE_MACHINE = (
    "/proc/self/cgroup",
    "/proc/stat",
    "/proc/meminfo",
    "/sys/devices/system/cpu/online",
    "/sys/fs/cgroup",
)

_NICE = 15
_MIB = 2**20


class MissingError(Exception):
    """This machine has no such layer; the text says why."""


def _prctl(option: int, value: int) -> None:
    if sys.platform != "linux":
        raise MissingError(f"Linux only; this is {sys.platform}")
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(option, ctypes.c_ulong(value), ctypes.c_ulong(0), ctypes.c_ulong(0), ctypes.c_ulong(0)):
        raise MissingError(os.strerror(ctypes.get_errno()))


def empty_environment() -> str:
    """No variable of the server is left."""
    os.environ.clear()
    return "empty"


def die_with(parent: int) -> str:
    """The worker is killed when the broker ends, however it ends."""
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it ended before it could be asked for
        os._exit(0)
    return "SIGKILL"


def no_new_privileges() -> str:
    """No program could gain privileges, and no other process of the user can look into this one."""
    _prctl(_PR_SET_NO_NEW_PRIVS, 1)
    _prctl(_PR_SET_DUMPABLE, 0)
    return "set"


def landlock(databases: Iterable[Path]) -> str:
    """Of all files only the databases can be opened, and those only for reading; no TCP, no signals to others where
    the kernel knows how."""
    try:
        from py_landlock import AccessFs, Landlock
        from py_landlock.errors import LandlockError
    except ImportError as error:
        raise MissingError(f"py-landlock is not installed ({error})") from error
    try:
        rules = Landlock(strict=False)
        version = rules.abi_version
        # Not by `add_path_rule`, which resolves links: the file that a link of the system's opens may have no path.
        rules._pending_path_rules += [(database, AccessFs.READ_FILE) for database in databases]
        for name in filter(os.path.exists, _ABOUT_THE_MACHINE):
            rules.add_path_rule(name, access=AccessFs.READ_FILE | (AccessFs.READ_DIR if os.path.isdir(name) else 0))
        rules.apply()
    except (LandlockError, OSError, AttributeError) as error:
        raise MissingError(f"the kernel refuses it: {error}") from error
    return f"version {version}"


def resource_limits(limits: Limits, files: int) -> str:
    """No core file, no byte into any file, bounded processor time and memory."""
    wanted = {
        "RLIMIT_CORE": 0,
        "RLIMIT_FSIZE": 0,
        "RLIMIT_CPU": int(limits.seconds) + 2,
        "RLIMIT_DATA": limits.data,
        "RLIMIT_AS": limits.address_space,
        "RLIMIT_NOFILE": 14 + 2 * files,  # each is held, and open in DuckDB
        "RLIMIT_MEMLOCK": 0,
        "RLIMIT_MSGQUEUE": 0,
    }
    for name, most in wanted.items():
        kind = getattr(resource, name, None)
        if kind is not None:
            hard = resource.getrlimit(kind)[1]
            most = most if hard == resource.RLIM_INFINITY else min(most, hard)
            resource.setrlimit(kind, (most, most))
    return f"{limits.data // _MIB} MiB of data"


def be_nice() -> str:
    """Pages go before queries, and where memory runs out the queries go first."""
    os.nice(_NICE)
    try:
        Path("/proc/self/oom_score_adj").write_text("1000")
    except OSError as error:
        raise MissingError(f"the kernel does not take it: {error.strerror}") from error
    return f"nice {_NICE}, first to go"


@cache
def _filter() -> Any:
    """The seccomp filter, made once in the broker; a worker only loads it."""
    try:
        import pyseccomp
    except (ImportError, RuntimeError, OSError) as error:
        raise MissingError(f"pyseccomp or the library it needs, libseccomp.so.2, is not installed ({error})") from error
    # What is not allowed fails as forbidden, so that DuckDB says so instead of dying.
    made = pyseccomp.SyscallFilter(pyseccomp.ERRNO(1))
    made.set_attr(pyseccomp.Attr.CTL_TSYNC, 1)  # threads that DuckDB started already are bound too
    for name in ALLOWED:
        _allow(made, pyseccomp, name)
    for name in ("mmap", "mprotect"):
        _allow(made, pyseccomp, name, pyseccomp.Arg(2, pyseccomp.MASKED_EQ, _PROT_EXEC, 0))
    for name, descriptor in RECEIVING.items():
        _allow(made, pyseccomp, name, pyseccomp.Arg(0, pyseccomp.EQ, descriptor))
    return made


def _allow(made: Any, pyseccomp: Any, name: str, *conditions: Any) -> None:
    number = pyseccomp.resolve_syscall(pyseccomp.Arch.NATIVE, name)
    if number >= 0:  # another architecture has other calls: aarch64 has no poll, say
        made.add_rule(pyseccomp.ALLOW, number, *conditions)


def seccomp() -> str:
    """Of the kernel's several hundred calls those remain that a running query needs: no file, socket, process or
    thread can be opened or started."""
    try:
        _filter().load()
    except OSError as error:
        raise MissingError(f"the kernel refuses it: {error}") from error
    return f"{len(ALLOWED) + len(RECEIVING) + 2} calls"


def prepare() -> None:
    """Load in the broker what every worker uses, so that no worker needs to read a library."""
    for load in (_filter, _load_landlock):
        try:
            load()
        except (MissingError, ImportError):
            continue  # each worker says so


def _load_landlock() -> None:
    import py_landlock  # noqa: F401


def put_on(
    layers: Iterable[tuple[str, Callable[[], str]]], without: frozenset[str] = frozenset()
) -> dict[str, dict[str, str | bool]]:
    """Put on layers in their order; for each, whether it is on, and what it is or why not."""
    states: dict[str, dict[str, str | bool]] = {}
    for name, layer in layers:
        try:
            if name in without:
                raise MissingError("left out by a test")
            states[name] = {"on": True, "detail": layer()}
        except MissingError as error:
            states[name] = {"on": False, "detail": str(error)}
    return states
