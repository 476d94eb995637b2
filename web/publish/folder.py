"""The folder of a published copy: files, archives, what the worker reads, and archives of earlier builds."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from pathlib import Path

import vl_convert

from atlas import Atlas
from web.publish.dictionaries import Dictionaries
from web.publish.engine import Engine
from web.publish.pack import Archives, Entry, compressed, name_of
from web.publish.plan import Plan
from web.publish.render import CARD, HTML, Pages
from web.publish.search_index import search_index
from web.publish.sql import add_engine, add_file, link
from web.site import bundle, urls
from web.site.published import COPY, copy_script

STATE = Path("static", "published.json")
"""What the copy holds; the worker reads it, and so does the next `atlas publish`."""
WORKER = "worker.js"
"""The service worker: at the root, since it answers for everything below."""


def fill(
    place: Path,
    folder: Path,
    plan: Plan,
    entries: Iterable[Entry],
    dictionaries: Dictionaries,
    before: dict | None,
    beside: Mapping[str, str],
    engine: Engine | None,
) -> None:
    """Write a copy at `place` from the pages that were made; `folder` is the copy that it replaces, `before` its state;
    None: it replaces nothing. `beside`: further files, by name; `engine` runs SQL."""
    with ExitStack() as stack:
        archives = {
            slug: stack.enter_context(Archives(_archive(place, slug, plan.folder(slug)), dictionaries.texts))
            for slug in plan.builds
        }
        for entry in entries:
            if entry.plain:
                _write(place / path_of(entry.address, entry.kind), entry.content)
            slug = re.split(r"[/.]", entry.address)[1]
            if entry.kind != CARD and slug in archives:
                content = dictionaries.packed(entry.content.decode()) if entry.plain else entry.content
                archives[slug].add(name_of(entry.address, entry.kind), content)
    pages = Pages(plan)
    state: dict = {"digest": plan.digest, "atlases": {}}
    for slug, atlas in pages.atlases.items():
        earlier = _keep_earlier(place, folder, plan, slug, before)
        state["atlases"][slug] = _state_of(atlas) | {
            "builds": {**earlier, plan.builds[slug]: {"folder": plan.folder(slug), "prefix": plan.published.prefix}}
        }
        index = json.dumps(search_index(atlas, plan.tokens(slug)), ensure_ascii=False, separators=(",", ":"))
        (_archive(place, slug, plan.folder(slug)) / "search.bin").write_bytes(compressed(index.encode("utf-8")))
    if plan.published.file:
        for slug in pages.atlases:
            add_file(place, folder, plan, slug, state, before)
    _write(place / STATE, json.dumps(state, indent=1).encode())
    _static(place, state)
    if engine is not None:
        add_engine(place, engine)
    _write(place / "404.html", pages.absent())
    for name, text in beside.items():
        _write(place / name, text.encode("utf-8"))
    (place / ".nojekyll").touch()  # GitHub Pages would leave files out


def _state_of(atlas: Atlas) -> dict:
    info = atlas.info
    return {"build": info.build_id, "model": info.model_name, "layers": info.n_layers, "width": info.d_mlp}


def _archive(place: Path, slug: str, folder: str) -> Path:
    return place / "static" / "atlases" / slug / folder


def _keep_earlier(place: Path, folder: Path, plan: Plan, slug: str, before: dict | None) -> dict[str, dict]:
    """Carry over the archives of earlier builds, which are not copied but linked where the disk can, and the Vega that
    their charts name; returns what the state says of each."""
    builds = ((before or {}).get("atlases", {}).get(slug) or {}).get("builds", {})
    earlier = {build: item for build, item in builds.items() if build != plan.builds[slug]}
    for item in earlier.values():
        name = item["folder"]
        shutil.copytree(_archive(folder, slug, name), _archive(place, slug, name), copy_function=link)
    for vega in folder.glob("static/vega-*.js") if earlier else ():
        shutil.copyfile(vega, place / "static" / vega.name)
    return earlier


def path_of(address: str, kind: str) -> str:
    """The file of a page. Hosts lead from `/x` to `x/index.html` without being told; few know `x.html`."""
    path = address.strip("/")
    return f"{path}/index.html".lstrip("/") if kind == HTML else f"{path}.{'card.png' if kind == CARD else kind}"


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def _static(place: Path, state: dict) -> None:
    """The site's own files; the worker begins with the state."""
    for source in urls.STATIC.iterdir():
        shutil.copyfile(source, place / f"static/{source.name}")
    worker = (place / "static" / WORKER).rename(place / WORKER)
    worker.write_text(f"const PUBLISHED = {json.dumps(state)};\n{worker.read_text()}")
    (place / "static" / COPY).write_bytes(copy_script())
    name = f"vega-{vl_convert.__version__}.js"  # type: ignore[attr-defined]  # its stubs lack it
    _write(place / "static" / name, bundle.bundle()[0])
