"""System calls that a worker may use while it runs a query, determined by running queries with fewer."""

from __future__ import annotations

ALLOWED = (
    # Memory. mmap and mprotect are allowed too, but not for executable memory.
    "brk",
    "madvise",
    "mremap",
    "munmap",
    # The open database file, and the answer.
    "read",
    "readv",
    "pread64",
    "preadv",
    "lseek",
    "fstat",
    "write",
    "writev",
    "close",
    "poll",
    "ppoll",
    # Waiting, time and random numbers.
    "futex",
    "sched_yield",
    "clock_gettime",
    "clock_getres",
    "clock_nanosleep",
    "nanosleep",
    "gettimeofday",
    "restart_syscall",
    "getrandom",
    # Identity and limits: DuckDB asks for the number of processors and for its limits.
    "getpid",
    "gettid",
    "getppid",
    "sched_getaffinity",
    "getrusage",
    "sysinfo",
    "uname",
    "getcpu",
    # Signals to itself, so that a crash is a crash; the alarm that ends the query.
    "rt_sigaction",
    "rt_sigprocmask",
    "rt_sigreturn",
    "sigaltstack",
    "tgkill",
    "setitimer",
    "rseq",
    "set_robust_list",
    # The end.
    "exit",
    "exit_group",
)

RECEIVING = {"recvmsg": 3}
"""Calls allowed on one descriptor only: the broker's, which delivers the query."""
