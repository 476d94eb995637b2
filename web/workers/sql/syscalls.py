"""The kernel's calls that a worker keeps while it runs a query; found by running queries with fewer."""

from __future__ import annotations

ALLOWED = (
    # Memory. mmap and mprotect are allowed too, but for nothing that could be executed.
    "brk",
    "madvise",
    "mremap",
    "munmap",
    # The database file, which is open, and the answer.
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
    # Waiting, time and chance.
    "futex",
    "sched_yield",
    "clock_gettime",
    "clock_getres",
    "clock_nanosleep",
    "nanosleep",
    "gettimeofday",
    "restart_syscall",
    "getrandom",
    # What it is: DuckDB asks for the number of processors and how much it may use.
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
"""Calls allowed on one descriptor: the broker's, by which the query comes."""
