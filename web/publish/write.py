"""The folder of a published copy: pages are made by several processes, kept job by job, and renamed into place."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path

import vl_convert

from atlas import Atlas
from atlas.core.errors import AtlasError
from atlas.core.files import appearing_folder, check_place, write_texts
from web.publish.pack import Archives, Entry, compressed, name_of, read_chunk, write_chunk
from web.publish.phrases import Phrases
from web.publish.plan import Choose, Job, Plan, every, make_plan
from web.publish.render import CARD, HTML, Pages
from web.publish.search_index import search_index
from web.site import bundle, urls
from web.site.app import create_app
from web.site.public_url import PublicUrlError, read_public_url

STATE = Path("static", "published.json")
"""What the copy holds; the worker reads it, and so does the next `atlas publish`."""
WORKER = "worker.js"
"""The service worker: at the root, since it answers for everything below."""

PHRASES = "phrases.bin"
_SAMPLE = 100
"""Pages, at most, from which phrases are taken."""

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
    data: bool = True,
    workers: int = 1,
    progress: Progress = lambda done, total: None,
) -> str:
    """Write the site of some atlas files to a folder, and return a report of its sizes. The folder is replaced when
    everything is written. What was made before an interruption is used again; nothing is written where the folder has
    these pages already. `choose` says which neurons and tokens, `paged` whether lists are followed to their ends,
    `data` whether packed neurons and tokens have their data; `progress` is told the jobs that are done, and all.

    Raises:
        PublishError: the folder holds something else, or cannot be written.
        AtlasError: a file cannot be served, or `base_url` is not the address of a site.
    """
    files = tuple(path.absolute() for path in files)
    base_url = None if base_url is None else read_base_url(base_url)
    folder = Path(os.path.abspath(folder))
    before = _state(folder)
    app = create_app(files)
    atlases: dict[str, Atlas] = app.extensions["atlases"]
    try:
        plan = make_plan(app, files, base_url, choose, paged=paged, data=data)
        if before is not None and before["digest"] == plan.digest:
            return f"{folder} has these pages already; nothing is written.\n{size_report(folder, atlases)}"
        kept = _kept(folder, plan)
        phrases = _phrases(plan, kept)
        _make(plan, kept, phrases, workers, progress)
        try:
            with appearing_folder(folder) as place:
                _fill(place, folder, plan, kept, phrases, before, atlases)
        except OSError as error:
            raise PublishError(f"{str(folder)!r} cannot be written: {error.strerror or error}.") from error
    finally:
        for atlas in atlases.values():
            atlas.close()
    shutil.rmtree(kept)
    return f"{folder} is written.\n{size_report(folder, atlases)}"


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
    """Where the pages of a plan are kept until all are made: those of another plan are removed."""
    kept = folder.with_name(f"{folder.name}.pages-{plan.digest}")
    for other in folder.parent.glob(f"{folder.name}.pages-*"):
        if other != kept:
            shutil.rmtree(other, ignore_errors=True)
    kept.mkdir(exist_ok=True)
    return kept


_maker: tuple[Pages, Phrases] | None = None
"""The site of this process, and the phrases of its pages."""


def _start(plan: Plan, phrases: Phrases) -> None:
    global _maker
    _maker = Pages(plan), phrases


def _run(job: Job, path: Path) -> None:
    assert _maker is not None
    pages, phrases = _maker
    entries = (
        Entry(address, kind, job.kind != "packed" and "/part/" not in address and "?" not in address, content)
        for address, kind, content in pages.of(job)
    )
    write_chunk(path, (entry if entry.plain else replace(entry, content=_packed(entry, phrases)) for entry in entries))


def _packed(entry: Entry, phrases: Phrases) -> bytes:
    """A page as it lies in an archive."""
    content = entry.content
    return compressed(phrases.shortened(content.decode("utf-8")).encode("utf-8") if entry.kind == HTML else content)


def _phrases(plan: Plan, kept: Path) -> Phrases:
    """The phrases of a plan's pages, from some of them; those that pages were packed with before, if any were."""
    path = kept / PHRASES
    if not path.exists():
        packed = [address for job in plan.jobs if job.kind == "packed" for address in job.addresses]
        sample = Job("sample", "packed", tuple(packed[:: len(packed) // _SAMPLE + 1]))
        pages = [content.decode("utf-8") for _, kind, content in Pages(plan).of(sample) if kind == HTML]
        write_texts({path: "\0".join(Phrases.of(pages).texts)})
    return Phrases(path.read_text(encoding="utf-8").split("\0"))


def _make(plan: Plan, kept: Path, phrases: Phrases, workers: int, progress: Progress) -> None:
    """Make the pages of every job that is not done."""
    jobs = [job for job in plan.jobs if not (kept / job.name).exists()]
    done = len(plan.jobs) - len(jobs)
    progress(done, len(plan.jobs))
    with _runner(plan, phrases, min(workers, len(jobs))) as run:
        for _ in run(_run, jobs, [kept / job.name for job in jobs]):
            done += 1
            progress(done, len(plan.jobs))


@contextmanager
def _runner(plan: Plan, phrases: Phrases, workers: int) -> Iterator[Callable]:
    """`map`, in this process or in several."""
    if workers < 2:
        _start(plan, phrases)
        yield map
        return
    # Spawned: the files are open here, and DuckDB's threads do not survive a fork.
    with ProcessPoolExecutor(workers, get_context("spawn"), _start, (plan, phrases)) as pool:
        yield pool.map


def _fill(
    place: Path,
    folder: Path,
    plan: Plan,
    kept: Path,
    phrases: Phrases,
    before: dict | None,
    atlases: dict[str, Atlas],
) -> None:
    """Write a copy at `place`; `folder` is the one that it replaces."""
    archives = {slug: Archives(_archive(place, slug, plan.folder(slug))) for slug in plan.builds}
    for job in plan.jobs:
        for entry in read_chunk(kept / job.name):
            if entry.plain:
                _write(place / path_of(entry.address, entry.kind), entry.content)
            if entry.kind != CARD and job.kind != "site":
                content = _packed(entry, phrases) if entry.plain else entry.content
                archives[entry.address.split("/")[1]].add(name_of(entry.address, entry.kind), content)
    for archive in archives.values():
        archive.close()
    state: dict = {"digest": plan.digest, "atlases": {}}
    for slug, atlas in atlases.items():
        earlier = _keep_earlier(place, folder, plan, slug, before)
        builds = {**earlier, plan.builds[slug]: {"folder": plan.folder(slug), "prefix": plan.published.prefix}}
        info = atlas.info
        state["atlases"][slug] = {
            "build": info.build_id,
            "model": info.model_name,
            "layers": info.n_layers,
            "width": info.d_mlp,
            "builds": builds,
        }
        pages = plan.published.addresses
        tokens = frozenset(
            int(match[1]) for address in pages if (match := re.fullmatch(rf"/{slug}/token/([0-9]+)", address))
        )
        index = json.dumps(search_index(atlas, tokens), ensure_ascii=False, separators=(",", ":"))
        archive = _archive(place, slug, plan.folder(slug))
        (archive / "search.bin").write_bytes(compressed(index.encode("utf-8")))
        (archive / PHRASES).write_bytes(compressed("\0".join(phrases.texts).encode("utf-8")))
    _write(place / STATE, json.dumps(state, indent=1).encode())
    _static(place)
    _write(place / "404.html", Pages(plan).absent())
    (place / ".nojekyll").touch()  # GitHub Pages would leave files out


def _archive(place: Path, slug: str, folder: str) -> Path:
    return place / "static" / "atlases" / slug / folder


def _keep_earlier(place: Path, folder: Path, plan: Plan, slug: str, before: dict | None) -> dict[str, dict]:
    """Carry over the archives of earlier builds, which are not copied but linked where the disk can, and the Vega that
    their charts name; returns what the state says of each."""
    builds = ((before or {}).get("atlases", {}).get(slug) or {}).get("builds", {})
    earlier = {build: item for build, item in builds.items() if build != plan.builds[slug]}
    for item in earlier.values():
        name = item["folder"]
        shutil.copytree(_archive(folder, slug, name), _archive(place, slug, name), copy_function=_link)
    for vega in folder.glob("static/vega-*.js") if earlier else ():
        shutil.copyfile(vega, place / "static" / vega.name)
    return earlier


def _link(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


def path_of(address: str, kind: str) -> str:
    """The file of a page. Hosts lead from `/x` to `x/index.html` without being told; few know `x.html`."""
    path = address.strip("/")
    return f"{path}/index.html".lstrip("/") if kind == HTML else f"{path}.{'card.png' if kind == CARD else kind}"


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def _static(place: Path) -> None:
    """The site's own files."""
    for source in urls.STATIC.iterdir():
        shutil.copyfile(source, place / (WORKER if source.name == WORKER else f"static/{source.name}"))
    name = f"vega-{vl_convert.__version__}.js"  # type: ignore[attr-defined]  # its stubs lack it
    _write(place / "static" / name, bundle.bundle()[0])


_KINDS = {"index.html": "pages that are files", ".png": "cards", ".bin": "archives", ".json": "data", ".js": "scripts"}


def size_report(folder: Path, atlases: dict[str, Atlas]) -> str:
    """What a copy takes, by kind of file, beside the atlas files."""
    sizes: Counter[str] = Counter()
    for path in folder.rglob("*"):
        if path.is_file():
            kind = next((words for ending, words in _KINDS.items() if path.name.endswith(ending)), "other files")
            sizes[kind] += path.stat().st_size
    total, files = sum(sizes.values()), sum(atlas.path.stat().st_size for atlas in atlases.values())
    lines = [f"{size / 1e6:10.1f} MB  {kind}" for kind, size in sizes.most_common()]
    return "\n".join([*lines, f"{total / 1e6:10.1f} MB  in all: {total / files:.2f} times the atlas files"])
