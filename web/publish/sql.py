"""What SQL in a browser needs of a copy: the atlas file, its metadata as one, and DuckDB's engine."""

from __future__ import annotations

import os
import shutil
import struct
from pathlib import Path

from atlas.core.ranges import LAYOUT, copy_for_ranges, metadata_pages
from web.publish.engine import FOLDER, Engine
from web.publish.pack import compressed
from web.publish.plan import Plan
from web.site import urls
from web.site.urls import AtlasRef

CATALOG = "catalog.bin"
"""In an atlas's folder: size of the file, number of pages, their numbers, the pages (see `atlas.core.ranges`)."""


def add_engine(place: Path, engine: Engine) -> None:
    """Write the engine's files."""
    folder = place / "static" / FOLDER
    folder.mkdir()
    for name, content in engine.items():
        (folder / name).write_bytes(content)


def add_file(place: Path, folder: Path, plan: Plan, slug: str, state: dict, before: dict | None) -> None:
    """Write an atlas's file, at the server's own address, and its catalog; and take over those of earlier builds.

    `state` is told of each, `folder` and `before` are the copy that is replaced, and its state."""
    builds = state["atlases"][slug]["builds"]
    was = (before or {"atlases": {}})["atlases"].get(slug)
    earlier = {build: item for build, item in was["builds"].items() if item.get("file")} if was else {}
    for build in earlier:
        pinned = _path(AtlasRef(slug, build))
        there = folder / (_path(AtlasRef(slug)) if build == was["build"] else pinned)
        if not there.exists():
            continue
        if build != plan.builds[slug]:
            _take(there, place / pinned)
        elif earlier[build]["file"] == LAYOUT:
            _take(there, place / _path(AtlasRef(slug)))
    file = place / _path(AtlasRef(slug))
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        copy_for_ranges(plan.of_slug(slug), file)
    builds[plan.builds[slug]]["file"] = LAYOUT
    (place / "static" / "atlases" / slug / plan.folder(slug) / CATALOG).write_bytes(compressed(_catalog(file)))


def _path(ref: AtlasRef) -> str:
    return urls.to("atlas_file", ref).lstrip("/")


def _take(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    link(os.fspath(source), os.fspath(target))


def _catalog(file: Path) -> bytes:
    pages = metadata_pages(file)
    head = struct.pack(f"<dI{len(pages)}I", file.stat().st_size, len(pages), *pages)
    return b"".join([head, *pages.values()])


def link(source: str, target: str) -> None:
    """The same file under another name; a copy where the disk has no links."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)
