"""The site under load, on loopback: pages, API and SQL from many clients, alone and beside hostile ones.

    python -m benchmarks.load FILE [--clients 8] [--seconds 15] [--hostile 16] [--pause 0.25]
    python -m benchmarks.load FILE --browse 10000 [--memory 512MiB] [--clients 4] [--longest 1800]

Starts `atlas serve` on a copy of FILE and prints, for each of four runs, requests a second, latencies by kind and every
error: clients that never pause (what the server can do); clients that pause between requests, as people do; the same
beside hostile clients, who never pause; the same again while a process of the site is told to end, one is killed, and
the file is replaced by another build and by junk. Then what the promises of docs/operating.md came to. The clients are
processes of their own, but on the same cores: a server alone on its machine does better. What is not an option here
is one of `atlas serve`.

With --browse it asks for so many random pages of every kind instead, and prints the memory of all processes of the site
against what --memory promises (see benchmarks/load_memory.py); it exits with 1 if they held more.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb

from atlas import open_atlas
from benchmarks import load_memory
from benchmarks.load_clients import Asked, Target, attack, clients, visit
from web.server.memory import read_memory
from web.workers.sql.limits import LATEST

PAGE_P95, GROWTH = 0.3, 50
"""Promises: seconds of the 95th percentile of pages beside hostile clients; MiB that a web process grows by."""

SQL_SECONDS = 2.0
NO_PAGE = ("sql", "static")
ANOTHER = "0123456789ab"
"""Build of the copy that replaces the file."""


def percentile(values: list[float], share: float) -> float:
    """The value that `share` of the values do not exceed."""
    return sorted(values)[min(len(values) - 1, int(share * len(values)))]


def resident(pid: int) -> float:
    """MiB that a process holds."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


def web_processes(server: int) -> list[int]:
    """The processes that answer: children of the server that are no broker."""
    children = Path(f"/proc/{server}/task/{server}/children").read_text().split()
    return [int(pid) for pid in children if b"web.workers.sql.broker" not in Path(f"/proc/{pid}/cmdline").read_bytes()]


@contextmanager
def serving(path: Path, options: list[str]) -> Iterator[tuple[subprocess.Popen, Target]]:
    """`atlas serve`, and how to reach it."""
    code = "from web.server.command import serve; serve()"
    arguments = [str(path), "--port", "0", "--sql-seconds", str(SQL_SECONDS), *options]
    with subprocess.Popen([sys.executable, "-c", code, *arguments], stdout=subprocess.PIPE, text=True) as process:
        try:
            match = re.search(r"http://([^:]+):(\d+)/", process.stdout.readline())
            with open_atlas(path) as atlas:
                info = atlas.info
            target = Target(match[1], int(match[2]), info.slug, info.n_layers, info.d_mlp, info.d_vocab)
            threading.Thread(target=process.stdout.read, daemon=True).start()
            urllib.request.urlopen(f"http://{target.host}:{target.port}/healthz", timeout=60).close()
            yield process, target
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(timeout=60)


def run(
    target: Target, seconds: float, number: int, pause: float, hostile: int = 0, meanwhile: Callable | None = None
) -> tuple[Asked, Asked, float]:
    """What visitors and hostile clients saw in so many seconds, and how many it really were."""
    with clients(attack, target, hostile) as bad, clients(visit, target, number, pause) as good:
        start = time.perf_counter()
        if meanwhile is not None:
            meanwhile()
        time.sleep(max(0.0, seconds - (time.perf_counter() - start)))
        spent = time.perf_counter() - start
    return good, bad, spent


def show(title: str, good: Asked, bad: Asked, spent: float) -> None:
    """A run's figures: a line a kind, then the errors."""
    every = [value for values in good.took.values() for value in values]
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    print(f"\n{title}: {len(every) / spent:.0f} requests/s, {len(every)} in {spent:.0f} s; load average {load}")
    print(f"{'ms':<14}{'n':>7}{'p50':>8}{'p95':>8}{'p99':>8}")
    for kind, values in [*sorted(good.took.items()), ("all pages", pages(good))]:
        figures = "".join(f"{1000 * percentile(values, share):>8.0f}" for share in (0.5, 0.95, 0.99))
        print(f"{kind:<14}{len(values):>7}{figures}")
    print(f"  {statuses(good)}; sent again {good.again}, lost {len(good.lost)} {sorted(set(good.lost))}")
    if bad.took:
        took = [value for values in bad.took.values() for value in values]
        print(f"  hostile: {len(took) / spent:.0f}/s, longest {max(took):.2f} s, {statuses(bad)}, lost {len(bad.lost)}")


def statuses(asked: Asked) -> str:
    """Answers by status; for visitors, what is no 200 by kind too."""
    numbers: dict[str, int] = {}
    for name, number in asked.statuses.items():
        status = name.rpartition(" ")[2]
        numbers[status] = numbers.get(status, 0) + number
    return ", ".join(f"{number} x {status}" for status, number in sorted(numbers.items()))


def pages(asked: Asked) -> list[float]:
    """Seconds of everything but SQL and static files."""
    return [value for kind, values in asked.took.items() if kind not in NO_PAGE for value in values]


def another_build(path: Path, folder: Path) -> Path:
    """A copy of an atlas that says it is another build."""
    copy = Path(shutil.copy(path, folder / "another.duckdb"))
    copy.chmod(0o644)
    with duckdb.connect(str(copy)) as connection:
        connection.execute("UPDATE atlas SET build_id = ?", [ANOTHER])
        connection.execute("CHECKPOINT")
    return copy


def health(target: Target) -> dict:
    """What `/healthz` says."""
    with urllib.request.urlopen(f"http://{target.host}:{target.port}/healthz", timeout=60) as response:
        return json.load(response)


def accidents(server: subprocess.Popen, target: Target, path: Path, another: Path, seconds: float) -> Callable:
    """Everything that may happen to a site, spread over a run."""

    def happen() -> None:
        pause = seconds / 6
        time.sleep(pause)
        os.kill(web_processes(server.pid)[0], signal.SIGTERM)
        print("  a process told to end")
        time.sleep(pause)
        junk = path.with_suffix(".junk")
        junk.write_bytes(another.read_bytes()[: 1 << 20])
        os.replace(junk, path)
        time.sleep(pause)
        print(f"  half a file in its place: {health(target)['replaced']}")
        os.replace(another, path)
        start = time.perf_counter()
        while health(target)["atlases"][target.slug] != ANOTHER and time.perf_counter() - start < 60:
            time.sleep(0.1)
        print(f"  another build in its place: served after {time.perf_counter() - start:.1f} s")
        time.sleep(pause)
        os.kill(web_processes(server.pid)[-1], signal.SIGKILL)
        print("  a process killed")
        time.sleep(pause)

    return happen


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path)
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=15)
    parser.add_argument("--hostile", type=int, help="hostile clients: 16, or with --browse none, unless given")
    parser.add_argument("--pause", type=float, default=0.25, help="seconds between a client's requests, on average")
    parser.add_argument("--browse", type=int, metavar="N", help="only ask for N random pages, and print the memory")
    parser.add_argument("--longest", type=float, default=1800, help="seconds that --browse may take")
    parser.add_argument("--memory", help="as for `atlas serve`")
    parser.add_argument("--skip", default="", help="runs to leave out, of 'busy,calm,hostile,accidents'")
    arguments, options = parser.parse_known_args()  # the others are for `atlas serve`
    if arguments.hostile is None:
        arguments.hostile = 0 if arguments.browse else 16
    if arguments.memory is not None:
        options += ["--memory", arguments.memory]
    if arguments.browse:
        sys.exit(0 if browse(arguments, options) else 1)
    skipped = arguments.skip.split(",")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "served.duckdb"
        shutil.copy(arguments.file, path)
        another = another_build(path, Path(folder)) if "accidents" not in skipped else None
        with serving(path, options) as (server, target):
            shape = (target, arguments.seconds, arguments.clients)
            run(target, 3, arguments.clients, 0)  # warm
            if "busy" not in skipped:
                show("without pauses", *run(*shape, 0))
            if "calm" not in skipped:
                show("with pauses", *run(*shape, arguments.pause))
            if "hostile" not in skipped:
                good, bad, spent = run(*shape, arguments.pause, arguments.hostile)
                show(f"beside {arguments.hostile} hostile clients", good, bad, spent)
                before = [resident(pid) for pid in web_processes(server.pid)]
                run(target, arguments.seconds, 0, 0, arguments.hostile)
                after = [resident(pid) for pid in web_processes(server.pid)]
                promised(good, bad, max(now - then for now, then in zip(after, before, strict=True)))
            if another is not None:
                happen = accidents(server, target, path, another, arguments.seconds)
                show("with accidents", *run(*shape, arguments.pause, meanwhile=happen))


def browse(arguments: argparse.Namespace, options: list[str]) -> bool:
    """Random pages of the file where it lies; whether the bound held."""
    bound = read_memory(arguments.memory) / 2**20
    with serving(arguments.file, options) as (server, target), open_atlas(arguments.file) as atlas:
        pages = load_memory.Pages(arguments.file, atlas)
        with clients(attack, target, arguments.hostile):
            return load_memory.browse(
                server.pid, target, pages, arguments.browse, arguments.clients, arguments.longest, bound
            )


def promised(good: Asked, bad: Asked, growth: float) -> None:
    """What the promises came to."""
    p95 = percentile(pages(good), 0.95)
    longest = max(value for values in bad.took.values() for value in values)
    print(f"  pages p95 {1000 * p95:.0f} ms (promised: below {1000 * PAGE_P95:.0f})")
    print(f"  longest query {longest:.2f} s (promised: below {SQL_SECONDS + LATEST:g})")
    print(f"  hostile clients alone: a web process grew by {growth:.0f} MiB (promised: below {GROWTH})")


if __name__ == "__main__":
    main()
