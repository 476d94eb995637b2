"""What a copy takes, by kind of file."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path

from atlas import Atlas

_KINDS = {
    r"\.html$": "pages that are files",
    r"\.card\.png$": "cards",
    r"^static/atlases/.*/pages-\d+\.bin$": "archives of pages",
    r"^static/atlases/.*/search[^/]*$": "search",
    r"\.duckdb$": "atlas files",
    r"^static/atlases/": "index of the archives",
    r"^static/duckdb-": "DuckDB for browsers",
    r"^static/|\.js$": "scripts and styles",
    r"\.json$": "data of pages that are files",
}
"""The first that a file's path has."""


def file_sizes(folder: Path) -> dict[str, int]:
    """Bytes of every file below a folder, by its path in there."""
    return {name: path.stat().st_size for name, path in _files(folder)}


def size_report(place: Path, earlier: Path, atlases: Mapping[str, Atlas]) -> str:
    """Lines on a copy at `place`: its files by kind, and which of them are new; `earlier` is the copy that it replaces,
    of which it may have files (the same ones, linked)."""
    there = {path.stat().st_ino for _, path in _files(earlier)}
    sizes, numbers, old = Counter[str](), Counter[str](), 0
    for name, path in _files(place):
        kind = next((words for pattern, words in _KINDS.items() if re.search(pattern, name)), "other files")
        found = path.stat()
        sizes[kind] += found.st_size
        numbers[kind] += 1
        old += found.st_size if found.st_ino in there else 0
    total, files = sum(sizes.values()), sum(atlas.path.stat().st_size for atlas in atlases.values())
    lines = [f"{size / 1e6:10.1f} MB {numbers[kind]:6,}  {kind}" for kind, size in sizes.most_common()]
    new = f"{(total - old) / 1e6:,.1f} MB new, {old / 1e6:,.1f} MB of the earlier copy"
    all_files = f"{total / 1e6:10.1f} MB {numbers.total():6,}  in all: {new}; {total / files:.2f} times the atlas files"
    return "\n".join([*lines, all_files])


def _files(folder: Path) -> Iterator[tuple[str, Path]]:
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            yield path.relative_to(folder).as_posix(), path
