"""`python -m tests.killed_publish FILE DIR`: publishes again and again, each time in a process that is killed, and
prints how each ended. The processes are forked before anything is opened, so that the site is imported once."""

from __future__ import annotations

import multiprocessing
import os
import re
import signal
import sys
import time
from pathlib import Path

from atlas.core import files
from web.publish import folder, plan, write
from web.publish.plan import Chosen
from web.views.crawlers import fixed

KEPT_JOBS = 3
"""Jobs that are done when the first process is killed."""


def few(slug: str) -> None:
    """Of an atlas's fixed pages publish some: each costs time."""
    some = re.compile(rf"/{slug}(?:/neurons|/study/an)?$")
    plan.fixed = lambda ref, atlas: [url for url in fixed(ref, atlas) if some.match(url)]


def kill(*_arguments: object) -> None:
    """As by `kill -9`."""
    os.kill(os.getpid(), signal.SIGKILL)


def while_rendering(done: int, _total: int) -> None:
    """Progress that ends at a job."""
    if done == KEPT_JOBS:
        kill()


def while_packing() -> None:
    """At the first page that is put into an archive."""
    folder.Archives.add = kill


def before_the_exchange() -> None:
    """When everything is written and on the disk."""
    files._exchange = kill


def publish(file: Path, place: Path, chosen: Chosen, **options: object) -> None:
    """The command that is killed."""
    write.publish_site([file], place, choose=lambda atlas, pages: chosen, paged=False, **options)


def orphan(numbers: str) -> None:
    """A process of a pool whose parent is killed; it writes its number, and would stay for a minute."""
    Path(numbers).write_text(str(os.getpid()))
    write.end_with_parent()
    time.sleep(60)


def leave_orphan(numbers: str) -> None:
    """Start the process of a pool, and be killed."""
    multiprocessing.get_context("fork").Process(target=orphan, args=(numbers,)).start()
    while not Path(numbers).exists() or not Path(numbers).read_text():
        time.sleep(0.01)
    kill()


def ended(work: object) -> int:
    """The exit code of some work in a process of its own; negative: the signal that ended it."""
    child = os.fork()
    if child == 0:
        work()
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def main(file: Path, place: Path, plain: str, *packed: str) -> None:
    """Kill a publication at three moments, and the parent of a pool's process."""
    few(plain.split("/")[1])
    chosen = Chosen([plain], list(packed))

    def prepared(prepare):
        prepare()
        publish(file, place, chosen)

    print(ended(lambda: publish(file, place, chosen, progress=while_rendering)))
    print(ended(lambda: prepared(while_packing)))
    print(ended(lambda: prepared(before_the_exchange)))
    print(ended(lambda: leave_orphan(f"{place}.orphan")))


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:3]), *sys.argv[3:])
