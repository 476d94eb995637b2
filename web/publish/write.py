"""Write a published copy: pages are made by several processes, kept job by job, and renamed into place."""

from __future__ import annotations

import gc
import json
import os
import re
import shutil
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import get_context, parent_process
from pathlib import Path
from threading import Thread

import duckdb

from atlas import Atlas
from atlas.core.errors import AtlasError
from atlas.core.files import appearing_folder, check_place, is_left_over, temporary_beside
from web.publish.crawlers import crawler_files
from web.publish.dictionaries import Dictionaries
from web.publish.engine import FOLDER, Engine
from web.publish.folder import STATE, fill
from web.publish.hosts import NOWHERE, Hosting, HostLimitError
from web.publish.pack import Entry, read_chunk, write_chunk
from web.publish.plan import Choose, Job, Plan, every, make_plan
from web.publish.render import Pages
from web.publish.sizes import file_sizes, size_report
from web.site.app import create_app
from web.site.public_url import PublicUrlError, read_public_url

_SAMPLE = 256
"""Pages from which dictionaries are made; of few a tenth, but at least 32."""

Progress = Callable[[int, int], None]


class PublishError(AtlasError):
    """The folder of a copy cannot be written, or holds what no `atlas publish` wrote."""


def publish_site(
    files: Iterable[Path],
    folder: Path,
    *,
    base_url: str | None = None,
    choose: Choose = every,
    paged: bool = True,
    data: bool = False,
    file: bool = True,
    engine: Engine | None = None,
    saved: Path | None = None,
    report: bool = False,
    hosting: Hosting = NOWHERE,
    workers: int = 1,
    progress: Progress = lambda done, total: None,
) -> str:
    """Write the site of some atlas files to a folder, and return a report of its sizes. The folder is replaced when
    everything is written. What was made before an interruption is used again; nothing is written where the folder has
    these pages already. `choose` says which neurons and tokens, `paged` whether lists are followed,
    `data` whether pages have their data, `file` whether the atlas files are in the copy, `report` whether each atlas
    has its report (`atlas report`); `engine` runs SQL on the files in the browser; `saved` is the file of saved queries
    and lists, whose short links get pages; `hosting` names hosts whose files and limits count; `progress` is told the
    jobs that are done, and all.

    Raises:
        PublishError: the folder holds something else, or cannot be written.
        HostLimitError: the copy is too large for a host.
        AtlasError: a file cannot be served, or `base_url` is not the address of a site.
    """
    files = tuple(path.absolute() for path in files)
    base_url = None if base_url is None else read_base_url(base_url)
    folder = Path(os.path.abspath(folder))
    before = _state(folder)
    app = create_app(files)
    atlases: dict[str, Atlas] = app.extensions["atlases"]
    try:
        plan = make_plan(
            app,
            files,
            base_url,
            choose,
            paged=paged,
            data=data,
            file=file,
            engine=FOLDER if engine else None,
            saved=saved,
            report=report,
            beside=hosting,
        )
        if before is not None and before["digest"] == plan.digest:
            return f"{folder} has these pages already; nothing is written.\n{size_report(folder, folder, atlases)}"
        with _explained(folder):
            sizes = _write(plan, folder, before, atlases, engine, hosting, workers, progress)
    finally:
        for atlas in atlases.values():
            atlas.close()
    return f"{folder} is written.\n{sizes}"


def _write(
    plan: Plan,
    folder: Path,
    before: dict | None,
    atlases: dict[str, Atlas],
    engine: Engine | None,
    hosting: Hosting,
    workers: int,
    progress: Progress,
) -> str:
    """Make the pages of a plan, and write the copy in place of an earlier one, whose state is `before`; its sizes."""
    kept = _kept(folder, plan)
    dictionaries = _dictionaries(plan, kept)
    try:
        hosting.check_estimate(plan, dictionaries)
    except HostLimitError:
        shutil.rmtree(kept)
        raise
    _make(plan, kept, dictionaries, workers, progress)
    beside = crawler_files(plan, atlases) | hosting.files(plan.base_url, atlases)
    with appearing_folder(folder) as place:
        entries = (entry for job in plan.jobs for entry in read_chunk(kept / job.name))
        fill(place, folder, plan, entries, dictionaries, before, beside, engine)
        hosting.check(file_sizes(place))
        sizes = size_report(place, folder, atlases)
    shutil.rmtree(kept)
    return sizes


@contextmanager
def _explained(folder: Path) -> Iterator[None]:
    """Errors of the disk and of processes as ones for people."""
    try:
        yield
    except (OSError, duckdb.Error) as error:
        raise PublishError(
            f"{str(folder)!r} cannot be written: {getattr(error, 'strerror', None) or error}. What was there is as it "
            "was. Free some space or choose another folder; the same command goes on with the pages that are made."
        ) from error
    except BrokenProcessPool as error:
        raise PublishError(
            "A process that makes pages was ended from outside, perhaps for want of memory. Give the command again, "
            "with fewer --workers; it goes on with the pages that are made."
        ) from error


def read_base_url(text: str) -> str:
    """The address of a copy, such as 'https://someone.github.io/atlas', without a slash at its end.

    Raises:
        PublicUrlError: it is no such address.
    """
    match = re.fullmatch(r"(.*?[^/])((?:/[A-Za-z0-9._~-]+)*)/?", text)
    site, path = (match[1], match[2]) if match and "//" in match[1] else (text, "")
    try:
        return "://".join(read_public_url(site)) + path
    except PublicUrlError:
        raise PublishError(
            f"{text!r} is not the address of a copy; expected http or https, a host and perhaps a path, as in "
            "https://someone.github.io/atlas."
        ) from None


def _state(folder: Path) -> dict | None:
    """What an earlier command wrote here; None: nothing is here.

    Raises:
        PublishError: something else is here, or the folder above is not there.
    """
    if not folder.parent.is_dir():
        raise PublishError(f"The folder {str(folder.parent)!r} does not exist. Create it first.")
    if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
        raise PublishError(f"{str(folder)!r} is not a folder; expected one that is empty or does not exist.")
    check_place(folder)
    if not folder.exists() or not any(folder.iterdir()):
        return None
    try:
        return json.loads((folder / STATE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        raise PublishError(
            f"{str(folder)!r} is not empty, and no `atlas publish` wrote it: it is not replaced. Choose another folder."
        ) from None


def _kept(folder: Path, plan: Plan) -> Path:
    """Where the pages of a plan are kept until all are made: those of another plan are removed, and what a killed
    command left."""
    kept = folder.with_name(f"{folder.name}.pages-{plan.digest}")
    for other in folder.parent.iterdir():
        if (other.name.startswith(f"{folder.name}.pages-") and other != kept) or is_left_over(other, folder):
            shutil.rmtree(other, ignore_errors=True)
    kept.mkdir(exist_ok=True)
    return kept


_maker: tuple[Pages, Dictionaries] | None = None
"""The site of this process, and the dictionaries of its pages."""


def _start(plan: Plan, dictionaries: Dictionaries) -> None:
    global _maker
    _maker = Pages(plan), dictionaries


def _start_worker(plan: Plan, dictionaries: Dictionaries) -> None:
    end_with_parent()
    _start(plan, dictionaries)


def end_with_parent() -> None:
    """End this process as soon as the one that started it is gone: it would wait for work forever."""
    parent = parent_process()

    def wait() -> None:
        assert parent is not None
        parent.join()
        os._exit(1)

    Thread(target=wait, daemon=True).start()


def _run(job: Job, path: Path) -> None:
    assert _maker is not None
    pages, dictionaries = _maker
    entries = []
    gc.collect()
    gc.freeze()  # what is kept between jobs is not walked again
    for address, kind, content in pages.of(job):
        plain = job.kind != "packed" and "?" not in address
        entries.append(Entry(address, kind, plain, content if plain else dictionaries.packed(content.decode())))
    write_chunk(path, entries)


def _dictionaries(plan: Plan, kept: Path) -> Dictionaries:
    """The dictionaries of a plan's pages, from some of them; those that pages were packed with before, if any were."""
    path = kept / "dictionaries.bin"
    if not path.exists():
        packed = [address for job in plan.jobs if job.kind == "packed" for address in job.addresses]
        n = max(32, min(_SAMPLE, len(packed) // 10))
        sample = Job("sample", "packed", tuple(packed[:: max(1, len(packed) // n)]))
        dictionaries = Dictionaries.of(content.decode() for _, kind, content in Pages(plan).of(sample))
        temporary = temporary_beside(path)
        temporary.write_bytes(dictionaries.file())
        temporary.rename(path)
    return Dictionaries.read(path.read_bytes())


def _make(plan: Plan, kept: Path, dictionaries: Dictionaries, workers: int, progress: Progress) -> None:
    """Make the pages of every job that is not done."""
    jobs = [job for job in plan.jobs if not (kept / job.name).exists()]
    done = len(plan.jobs) - len(jobs)
    progress(done, len(plan.jobs))
    with _runner(plan, dictionaries, min(workers, len(jobs))) as run:
        for _ in run(_run, jobs, [kept / job.name for job in jobs]):
            done += 1
            progress(done, len(plan.jobs))


@contextmanager
def _runner(plan: Plan, dictionaries: Dictionaries, workers: int) -> Iterator[Callable]:
    """`map`, in this process or in several."""
    if workers < 2:
        _start(plan, dictionaries)
        yield map
        return
    # Spawned: the files are open here, and DuckDB's threads do not survive a fork.
    with ProcessPoolExecutor(workers, get_context("spawn"), _start_worker, (plan, dictionaries)) as pool:
        yield pool.map
