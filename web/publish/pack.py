"""Archives of pages that are read by ranges, and their index.

`pages-000.bin`, `pages-001.bin`, …: packed pages (see `dictionaries`), one behind the other. `index.bin`: blocks
of lines `address archive offset length`, sorted by address, each block compressed (gzip). `start.bin`: the first
address of each block, with its offset and length, and the dictionaries. A reader fetches `start.bin` once, then a
block, then a page.
"""

from __future__ import annotations

import gzip
import json
import struct
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from atlas.core.files import flush, temporary_beside

MOST = 48 * 1024 * 1024
"""Bytes of an archive: hosts that keep files in git take no more than 50 MB without a warning."""
_BLOCK = 128
"""Addresses of a block of the index: what a page and its parts need is mostly in one."""


@dataclass(frozen=True)
class Entry:
    """A page that was made: its address, 'html', 'json' or 'png', whether it is a file of its own, and its content."""

    address: str
    kind: str
    plain: bool
    content: bytes


def write_chunk(path: Path, entries: Iterable[Entry]) -> None:
    """Keep the pages of a job in a file, which is there when it is whole."""
    entries = list(entries)
    head = json.dumps([(entry.address, entry.kind, entry.plain, len(entry.content)) for entry in entries]).encode()
    temporary = temporary_beside(path)
    temporary.write_bytes(b"".join([struct.pack("<I", len(head)), head, *(entry.content for entry in entries)]))
    flush(temporary)
    temporary.rename(path)


def read_chunk(path: Path) -> Iterator[Entry]:
    """The pages of a job."""
    with path.open("rb") as file:
        head = json.loads(file.read(*struct.unpack("<I", file.read(4))))
        for address, kind, plain, length in head:
            yield Entry(address, kind, plain, file.read(length))


def name_of(address: str, kind: str) -> str:
    """The address of a page's HTML or of its data."""
    path, mark, query = address.partition("?")
    return f"{path}{'' if kind == 'html' else '.json'}{mark}{query}"


class Archives:
    """The archives of an atlas while they are written; `dictionaries`: those of the pages."""

    def __init__(self, folder: Path, dictionaries: list[str]) -> None:
        folder.mkdir(parents=True)
        self._folder, self._dictionaries = folder, dictionaries
        self._number, self._size = 0, 0
        self._lines: list[tuple[str, int, int, int]] = []
        self._file = self._open()

    def __enter__(self) -> Archives:
        return self

    def __exit__(self, error: object, *_: object) -> None:
        """Write the index, unless the archives are not whole."""
        if error is None:
            self.close()
        else:
            with suppress(OSError):  # a full disk takes no rest
                self._file.close()

    def _open(self) -> BinaryIO:
        return (self._folder / f"pages-{self._number:03}.bin").open("wb")

    def add(self, address: str, content: bytes) -> None:
        """Add a compressed page."""
        if self._size and self._size + len(content) > MOST:
            self._file.close()
            self._number, self._size = self._number + 1, 0
            self._file = self._open()
        self._file.write(content)
        self._lines.append((address, self._number, self._size, len(content)))
        self._size += len(content)

    def close(self) -> None:
        """Write the index, and what a reader needs first: the index's index, and the dictionaries of the pages."""
        self._file.close()
        self._lines.sort()
        blocks, offset = [], 0
        with (self._folder / "index.bin").open("wb") as file:
            for start in range(0, len(self._lines), _BLOCK):
                lines = self._lines[start : start + _BLOCK]
                block = compressed("\n".join(f"{a} {n} {o} {size}" for a, n, o, size in lines).encode())
                file.write(block)
                blocks.append((lines[0][0], offset, len(block)))
                offset += len(block)
        first = {"blocks": blocks, "dictionaries": self._dictionaries}
        text = json.dumps(first, ensure_ascii=False, separators=(",", ":"))
        (self._folder / "start.bin").write_bytes(compressed(text.encode()))


def compressed(content: bytes) -> bytes:
    """As gzip, which browsers open by themselves; the same bytes every time."""
    return gzip.compress(content, compresslevel=9, mtime=0)


uncompressed = gzip.decompress
