"""Sandbox layers: the permissions that a worker drops before it gets a visitor's query.

Each layer is applied by a function that returns a description, or raises `MissingError` where this machine lacks it.
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

# Files that DuckDB reads at its start, for the number of processors and the memory. It does not start without them.
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
    """Clear the server's environment variables."""
    os.environ.clear()
    return "empty"


def die_with(parent: int) -> str:
    """Let the kernel kill the worker when the broker ends, however it ends."""
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # the broker ended before prctl was called
        os._exit(0)
    return "SIGKILL"


def no_new_privileges() -> str:
    """Prevent programs from gaining privileges, and other processes of the user from inspecting this one."""
    _prctl(_PR_SET_NO_NEW_PRIVS, 1)
    _prctl(_PR_SET_DUMPABLE, 0)
    return "set"


def landlock(databases: Iterable[Path]) -> str:
    """Allow opening only the databases, and only for reading; forbid TCP and signals to other processes where the
    kernel supports it."""
    try:
        from py_landlock import AccessFs, Landlock
        from py_landlock.errors import LandlockError
    except ImportError as error:
        raise MissingError(f"py-landlock is not installed ({error})") from error
    try:
        rules = Landlock(strict=False)
        version = rules.abi_version
        # Not by `add_path_rule`, which resolves links: the file behind a link in /proc may have no path.
        rules._pending_path_rules += [(database, AccessFs.READ_FILE) for database in databases]
        for name in filter(os.path.exists, _ABOUT_THE_MACHINE):
            rules.add_path_rule(name, access=AccessFs.READ_FILE | (AccessFs.READ_DIR if os.path.isdir(name) else 0))
        rules.apply()
    except (LandlockError, OSError, AttributeError) as error:
        raise MissingError(f"the kernel refuses it: {error}") from error
    return f"version {version}"


def resource_limits(limits: Limits, files: int) -> str:
    """Forbid core files and writes into files, and bound processor time and memory."""
    wanted = {
        "RLIMIT_CORE": 0,
        "RLIMIT_FSIZE": 0,
        "RLIMIT_CPU": int(limits.seconds) + 2,
        "RLIMIT_DATA": limits.data,
        "RLIMIT_AS": limits.address_space,
        "RLIMIT_NOFILE": 14 + 2 * files,  # each file is held, and open in DuckDB
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
    """Give pages priority over queries, and let the kernel kill queries first where memory runs out."""
    os.nice(_NICE)
    try:
        Path("/proc/self/oom_score_adj").write_text("1000")
    except OSError as error:
        raise MissingError(f"the kernel refuses it: {error.strerror}") from error
    return f"nice {_NICE}, first to go"


@cache
def _filter() -> Any:
    """Make the seccomp filter, once in the broker; a worker only loads it."""
    try:
        import pyseccomp
    except (ImportError, RuntimeError, OSError) as error:
        raise MissingError(f"pyseccomp or the library it needs, libseccomp.so.2, is not installed ({error})") from error
    # A forbidden call fails with EPERM, so that DuckDB reports an error instead of crashing.
    rules = pyseccomp.SyscallFilter(pyseccomp.ERRNO(1))
    rules.set_attr(pyseccomp.Attr.CTL_TSYNC, 1)  # applies to DuckDB's existing threads too
    for name in ALLOWED:
        _allow(rules, pyseccomp, name)
    for name in ("mmap", "mprotect"):
        _allow(rules, pyseccomp, name, pyseccomp.Arg(2, pyseccomp.MASKED_EQ, _PROT_EXEC, 0))
    for name, descriptor in RECEIVING.items():
        _allow(rules, pyseccomp, name, pyseccomp.Arg(0, pyseccomp.EQ, descriptor))
    return rules


def _allow(made: Any, pyseccomp: Any, name: str, *conditions: Any) -> None:
    number = pyseccomp.resolve_syscall(pyseccomp.Arch.NATIVE, name)
    if number >= 0:  # architectures differ in their calls: aarch64 has no poll, for example
        made.add_rule(pyseccomp.ALLOW, number, *conditions)


def seccomp() -> str:
    """Allow only the system calls that a running query needs: no file, socket, process or thread can be opened or
    started."""
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
            continue  # each worker reports it


def _load_landlock() -> None:
    import py_landlock  # noqa: F401


def put_on(
    layers: Iterable[tuple[str, Callable[[], str]]], without: frozenset[str] = frozenset()
) -> dict[str, dict[str, str | bool]]:
    """Apply layers in their order; for each, return whether it is on, and a description or the reason why not."""
    states: dict[str, dict[str, str | bool]] = {}
    for name, layer in layers:
        try:
            if name in without:
                raise MissingError("left out by a test")
            states[name] = {"on": True, "detail": layer()}
        except MissingError as error:
            states[name] = {"on": False, "detail": str(error)}
    return states
