"""The memory of a site and its division: the number of processes, the share of each, and the memory of an SQL query.

The measure is the anonymous memory of all processes together, with shared pages counted once. The file's own pages,
which the system caches while memory is free, do not count; neither do models of live mode.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path

from atlas import Atlas
from atlas.cli.options import BYTES, read_quantity
from atlas.core.errors import AtlasError
from atlas.core.room import Room
from web.workers.sql.limits import MOST_WARM, Limits

MIB = 2**20

LEAST_DEFAULT = 512 * MIB
"""Default memory of a site on any machine; on a large one the default is a quarter of its memory."""

# Measured by `python -m benchmarks.load FILE --browse 10000`: see benchmarks/README.md.
_MASTER = 65 * MIB
"""The master's libraries, which the other processes share at first."""
_BROKER, _WARM = 10 * MIB, 20 * MIB
"""The process that starts queries, and each that waits for one."""
_WEB = 145 * MIB
"""A web process: its private part of the libraries, its threads' memory, the engine that draws charts."""
_TOKEN, _NEURON = 150, 60
"""Bytes that each process remembers of each token (its text) and of each neuron (kinds, norms, lists)."""
_WORK = 110 * MIB
"""A figure of the whole atlas during its computation, one at a time in a process; or a table during a download."""
_DOWNLOAD = 60 * MIB
"""Each further table during a download."""

_LEAST_BUFFERS, _MOST_BUFFERS = 48 * MIB, 256 * MIB
"""DuckDB's buffers of a process, of all files together. More does not make pages faster: the rest comes from the
system's cache of the file, which all processes share."""
_GOOD_BUFFERS = 128 * MIB
_WIDTH = 20 * 1024
"""Buffers for each number of a neuron's weights: DuckDB holds some vectors of 2,048 of them at once."""
_A_THREAD = 64 * MIB
"""Buffers for each of DuckDB's threads."""

_SQL = ((256 * MIB, 350 * MIB, MOST_WARM), (128 * MIB, 160 * MIB, 2), (48 * MIB, 64 * MIB, 1))
"""Choices for queries, from the most memory to the least: a query's buffers, its process's further memory, idle
workers."""


class SiteMemoryError(AtlasError):
    """An amount of memory cannot be read, or is not enough for the site."""


@dataclass(frozen=True)
class Budget:
    """The division of a site's memory."""

    total: int
    """Bytes of all processes together."""
    workers: int
    """Web processes."""
    share: int
    """Bytes that one of them may hold; one that exceeds it is replaced."""
    buffers: int
    """Bytes of DuckDB's buffers for each file, in each of them."""
    threads: int
    """DuckDB's threads for each file in each of them."""
    downloads: int
    """Downloads of whole tables at a time, in each of them."""
    limits: Limits | None
    """Limits of visitors' queries; None: there are no queries."""

    def room(self, folder: Path) -> Room:
        """Resources of an atlas in a web process."""
        return Room(self.buffers, self.threads, folder)


def machine_memory() -> int:
    """Bytes that this machine has, or that the container may use."""
    sizes = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    for limit in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        try:
            sizes.append(int(Path(limit).read_text()))
        except (OSError, ValueError):  # there is no such limit
            continue
    return min(sizes)


def read_memory(text: str | None) -> int:
    """Bytes of `--memory`: '512MiB', '1GB' or '25%' of the machine; None: a quarter, at least LEAST_DEFAULT.

    Raises:
        SiteMemoryError: the text is not of that form.
    """
    if text is None:
        return max(LEAST_DEFAULT, machine_memory() // 4)
    share = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*%\s*", text)
    size = float(share[1]) / 100 * machine_memory() if share else read_quantity(text, BYTES)
    if not size or (share and float(share[1]) > 100):
        raise SiteMemoryError(
            f"--memory {text!r} is not an amount of memory: expected one like 512MiB or 1GB, or a share of the "
            "machine's like 25%."
        )
    return int(size)


def divide(
    total: int,
    atlases: Sequence[Atlas],
    *,
    workers: int | None = None,
    downloads: int = 2,
    limits: Limits | None,
    sql_memory: bool = False,
) -> Budget:
    """Divide a site's memory. `workers`: number of web processes; None: two, or one where there is no room for two.
    `downloads`: most whole tables that each sends at a time. `limits`: those of visitors' queries, None for no queries;
    their memory follows from the total unless `sql_memory` is true.

    Raises:
        SiteMemoryError: the memory is too small; the message says how much is needed.
    """
    remembered = sum(a.info.d_vocab * _TOKEN + a.info.n_neurons * _NEURON for a in atlases)
    fewest = len(atlases) * max((max(_LEAST_BUFFERS, a.info.d_model * _WIDTH) for a in atlases), default=0)
    least = []
    for number, sent, queries in product(
        (2, 1) if workers is None else (workers,),
        sorted({downloads, min(downloads, 1)}, reverse=True),
        _queries(limits, sql_memory),
    ):
        own = _WEB + remembered + _WORK + max(0, sent - 1) * _DOWNLOAD
        fixed = _MASTER + number * own + (0 if queries is None else _for_queries(queries, len(atlases)))
        division = number, sent, queries, own, min(max(_MOST_BUFFERS, fewest), (total - fixed) // number)
        if division[-1] >= max(_GOOD_BUFFERS, fewest):
            break
        least.append((fixed + number * fewest, division))
    else:
        needed, division = min(least, key=lambda item: item[0])
        if needed > total:
            raise SiteMemoryError(_too_little(total, needed, atlases, workers, limits, sql_memory))
    number, sent, queries, own, buffers = division
    each = buffers // max(1, len(atlases))
    return Budget(
        total, number, own + buffers, each, max(1, min(os.cpu_count() or 1, each // _A_THREAD)), sent, queries
    )


def _for_queries(limits: Limits, files: int) -> int:
    """Bytes of all processes that run queries; a running one was an idle worker before."""
    return _BROKER + files * limits.ready * _WARM + limits.slots * (limits.data - _WARM)


def _queries(limits: Limits | None, sql_memory: bool) -> Iterator[Limits | None]:
    """Limits of queries, from the most to the least."""
    if limits is None:
        yield None
        return
    for running in dict.fromkeys((limits.slots, limits.running or 1)):
        for memory, beyond, warm in _SQL:
            buffers = limits.memory if sql_memory else memory
            yield replace(limits, running=running, memory=buffers, beyond=beyond, warm=warm)


def _too_little(
    total: int, needed: int, atlases: Sequence[Atlas], workers: int | None, limits: Limits | None, sql_memory: bool
) -> str:
    names = ", ".join(atlas.info.slug for atlas in atlases) or "a site"
    ways = ["allow as much"]
    if limits is not None:
        ways.append("serve without visitors' SQL (--no-sql)")
    if sql_memory or (limits is not None and limits.running > 1):
        ways.append("lower the limits of queries (--sql-memory, --sql-workers)")
    if workers is not None and workers > 1:
        ways.append("ask for fewer --workers")
    if len(atlases) > 1:
        ways.append("serve fewer files")
    return (
        f"--memory {total // MIB}MiB is not enough to serve {names}: expected {math.ceil(needed / MIB)}MiB at least. "
        f"{ways[0].capitalize()}{'; or ' + '; or '.join(ways[1:]) if ways[1:] else ''}."
    )
