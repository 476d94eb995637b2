"""Text files of a user: a byte order mark gives the encoding, which is UTF-8 without one; nothing is guessed.

Decoding is strict. When it fails, the file is read a second time to find the line and guess the encoding: the guess is
used for advice only, never for reading.
"""

from __future__ import annotations

import bz2
import codecs
import gzip
import io
import itertools
import re
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any, cast

import charset_normalizer

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

COMPRESSIONS = (".gz", ".bz2", ".zst")
"""Suffixes of compressed files."""

NOT_TEXT = (UnicodeDecodeError, zstd.ZstdError, EOFError)
"""Exceptions besides OSError that reading a text file may raise."""

# The marks of UTF-32 begin as those of UTF-16 do: they come first.
_MARKS = {
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
_HEAD = 4096
_MANY_NULS = 0.2
"""Least share of NUL bytes in UTF-16 or UTF-32 without a mark: ASCII in UTF-16 has a half."""
_SAMPLE_LINES, _SAMPLE_BYTES = 50, 1 << 16
_ESCAPED, _NULS = re.compile("[\udc80-\udcff]"), re.compile("\0")
_DAMAGED = "ingest-damaged"
codecs.register_error(_DAMAGED, lambda error: ("\udcff", cast(UnicodeDecodeError, error).end))
_NULS_SAID = "many NUL bytes"
_NAMES = {
    "cp1252": "Windows-1252 (Latin-1)",
    "cp1250": "Windows-1250",
    "cp1251": "Windows-1251",
    "cp1253": "Windows-1253",
    "koi8_r": "KOI8-R",
    "gb18030": "GB18030",
    "big5": "Big5",
    "cp932": "CP932 (Shift-JIS)",
    "euc_jp": "EUC-JP",
    "euc_kr": "EUC-KR",
    "utf_16_le": "UTF-16LE",
    "utf_16_be": "UTF-16BE",
    "utf_32_le": "UTF-32LE",
    "utf_32_be": "UTF-32BE",
}
_WESTERN, _CENTRAL = ["cp1252"], ["cp1250"]  # The common one first: the two differ in a few letters.
_DENSE = ["cp1251", "koi8_r", "cp1253", "gb18030", "cp932", "euc_jp", "euc_kr", "big5", "cp1252", "cp1250"]
_UTF16, _UTF32 = ["utf_16_le", "utf_16_be"], ["utf_32_le", "utf_32_be"]


def open_bytes(path: Path) -> Any:
    """A binary stream of the file, decompressed if its name ends in one of COMPRESSIONS: any window of Zstandard, any
    number of members or frames.

    Raises:
        OSError: it cannot be opened, or (while reading) is damaged.
        EOFError: (while reading) it is cut short.
        ZstdError: (while reading) it is no Zstandard.
    """
    suffix = path.suffix.lower()
    if suffix == ".gz":
        return gzip.open(path)
    if suffix == ".bz2":
        return bz2.open(path)
    if suffix == ".zst":
        most = zstd.DecompressionParameter.window_log_max
        return zstd.ZstdFile(path, options={most: most.bounds()[1]})
    return path.open("rb")


def open_text(path: Path, *, newline: str | None = None) -> io.TextIOWrapper:
    """The file's text, decoded strictly by its byte order mark (which is left out), or as UTF-8 without one.

    `newline` is that of `open`: None makes every line end a newline, "" leaves them.

    Raises:
        UnicodeDecodeError: (perhaps while reading) it is not text of that encoding; `undecodable` says more.
        OSError, EOFError, ZstdError: as `open_bytes`.
    """
    stream = io.BufferedReader(open_bytes(path), _HEAD)
    try:
        head = stream.peek(_HEAD)
        encoding = next((name for mark, name in _MARKS.items() if head.startswith(mark)), "utf-8")
        if encoding == "utf-8" and head.count(0) > _MANY_NULS * len(head):
            raise UnicodeDecodeError("utf-8", head, head.index(0), head.index(0) + 1, _NULS_SAID)
        return io.TextIOWrapper(stream, encoding=encoding, newline=newline)
    except BaseException:
        stream.close()
        raise


def read_text(path: Path) -> str:
    """The whole text of a file, line ends as they are.

    Raises:
        As `open_text`.
    """
    with open_text(path, newline="") as stream:
        return stream.read()


def undecodable(path: Path, error: UnicodeDecodeError) -> str:
    """One sentence for a file that `open_text` could not decode: the line, the likely encoding, the remedy."""
    if error.encoding not in ("utf-8", "utf-8-sig"):  # A file with a mark has that encoding, but is damaged.
        name = "-".join(re.split("[-_]", error.encoding.upper())[:2])
        where = f"Line {_first_damaged(path, error.encoding)} of {str(path)!r}"
        return f"{where} is not {name}, as its byte order mark says ({error.reason}). Fix that line."
    number, line, sample = _first_bad(path, _NULS if error.reason == _NULS_SAID else _ESCAPED)
    looks = guess(sample)
    where = f"Line {number} of {str(path)!r} is not UTF-8"
    if looks is None:
        return f"{where} ({_shown(line)}), and no known encoding fits. Correct that line."
    if looks == "utf_8":
        return f"{where} ({_shown(line)}), while the text around it is: the file is damaged there. Fix that line."
    unpacked = ", after decompressing it" if path.suffix.lower() in COMPRESSIONS else ""
    return (
        f"{where} ({_shown(line)}); it looks like {_NAMES[looks]}. Convert the file{unpacked}: "
        f"iconv -f {_NAMES[looks].split()[0].upper()} -t UTF-8 OLD > NEW"
    )


def guess(raw: bytes) -> str | None:
    """Python's name of the likely encoding of bytes that are not UTF-8; "utf_8": damaged UTF-8; None: unknown."""
    if raw.count(0) > _MANY_NULS / 2 * len(raw):
        groups = [_UTF32 if raw.count(0) > len(raw) / 2 else _UTF16]
    else:
        text = raw.decode("utf-8", "replace")
        if sum(ord(char) > 127 for char in text) > 2 * text.count("\ufffd"):
            return "utf_8"
        runs = re.findall(rb"[\x80-\xff]+", raw)
        alone = sum(len(run) == 1 for run in runs)
        # Accents stand alone among ASCII; letters of other scripts stand together.
        groups = [_WESTERN, _CENTRAL] if 2 * alone > sum(map(len, runs)) else [_DENSE + (_UTF16 if 0 in raw else [])]
    for group in groups:
        best = charset_normalizer.from_bytes(raw[: len(raw) & ~3] or raw, cp_isolation=group).best()
        if best is not None and best.encoding in _NAMES:
            return best.encoding
    return None


def _first_bad(path: Path, bad: re.Pattern[str]) -> tuple[int, bytes, bytes]:
    """Number (from 1) and bytes of the first line in which something matches, and a sample of such lines."""
    number, first, sample = 0, b"", b""
    stream = io.TextIOWrapper(open_bytes(path), encoding="utf-8", errors="surrogateescape", newline="")
    with stream, suppress(OSError, *NOT_TEXT):  # Damage beyond that line does not matter here.
        lines = ((place, line) for place, line in enumerate(stream, 1) if bad.search(line))
        for place, line in itertools.islice(lines, _SAMPLE_LINES):
            raw = line.encode("utf-8", "surrogateescape")
            if not number:
                number, first = place, raw
            sample += raw
            if len(sample) > _SAMPLE_BYTES:
                break
    return number, first, sample[:_SAMPLE_BYTES]


def _first_damaged(path: Path, encoding: str) -> int:
    """Number (from 1) of the first line that is not in the byte order mark's encoding."""
    stream = io.TextIOWrapper(open_bytes(path), encoding=encoding, errors=_DAMAGED, newline="")
    with stream, suppress(OSError, *NOT_TEXT):
        return next((number for number, line in enumerate(stream, 1) if _ESCAPED.search(line)), 0)
    return 0


def _shown(line: bytes) -> str:
    """The undecodable part of a line with its surroundings."""
    bad = re.search(rb"\0|[\x80-\xff]+", line)
    try:
        line.decode("utf-8")
    except UnicodeDecodeError as error:
        start = error.start
    else:
        start = bad.start() if bad else 0
    return repr(line[max(0, start - 12) : start + 12])[1:]
