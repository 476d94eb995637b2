"""Standard output and standard error: all output is written, or an error is reported.

A pipe or a file gets UTF-8, whatever the locale; a terminal gets its own encoding, and PYTHONIOENCODING overrides both.
A character that the encoding lacks is written as `\\u6f22`, beyond the first plane as a surrogate pair, which JSON
reads as that character again.
"""

from __future__ import annotations

import codecs
import errno
import io
import os
import struct
import sys
from contextlib import suppress
from encodings import ascii
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console


STDOUT = "standard output"
_ESCAPES = "atlas-escapes"
_ASCII = "atlas-ascii"


def plain_console(*, stderr: bool = False, **options: Any) -> Console:
    """A console of rich that prints texts as they are: `[x]` and `:smile:` in a path mean nothing."""
    from rich.console import Console

    return Console(stderr=stderr, markup=False, emoji=False, **options)


def settle() -> None:
    """Configure this process's streams to write every character; call it once, before anything is printed."""
    codecs.register_error(_ESCAPES, _escaped)
    codecs.register(_find_codec)
    if sys.stdout is None:  # The parent process closed standard output: output must not be taken for written.
        nowhere = _Stdout(os.open(os.devnull, os.O_RDONLY), "w", closefd=False)
        sys.stdout = io.TextIOWrapper(io.BufferedWriter(nowhere), "utf-8")
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w")  # noqa: SIM115
    if sys.stdout is sys.__stdout__:
        sys.stdout = _named(sys.stdout)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(encoding=_encoding(stream), errors=_ESCAPES)


def finish() -> None:
    """Flush standard output.

    Raises:
        SystemExit: it cannot be written.
    """
    try:
        sys.stdout.flush()
    except OSError as error:
        give_up(error)
        raise SystemExit(1) from None


def give_up(error: OSError) -> None:
    """Report that standard output cannot be written, unless its reader closed the pipe, and print nothing more
    there."""
    if error.errno != errno.EPIPE:
        with suppress(OSError):
            print(f"Error: {refusal(error)}", file=sys.stderr)
    sys.stdout = open(os.devnull, "w")  # noqa: SIM115  # What is held back would be tried again at the end.


def refusal(error: OSError) -> str:
    """Describe an error of the operating system in one sentence."""
    cause = error.strerror or " ".join(str(error).split()) or type(error).__name__
    place = error.filename2 or error.filename
    if place == STDOUT:
        return f"The output cannot be written to {STDOUT}: {cause}."
    if place is None:
        return f"The operating system refused: {cause}."
    return f"{os.fsdecode(place) if isinstance(place, bytes) else str(place)!r} cannot be read or written: {cause}."


class _Stdout(io.FileIO):
    """File descriptor of standard output, whose errors name the stream."""

    def write(self, data: Any) -> int | None:
        try:
            return super().write(data)
        except OSError as error:
            raise OSError(error.errno, error.strerror, STDOUT) from error


def _named(stream: Any) -> Any:
    try:
        stream.flush()
        raw = _Stdout(stream.fileno(), "w", closefd=False)
    except (OSError, ValueError, AttributeError):  # No file, or one that is not open for writing.
        return stream
    return io.TextIOWrapper(
        io.BufferedWriter(raw),
        stream.encoding,
        stream.errors,
        line_buffering=stream.line_buffering,
        write_through=stream.write_through,
    )


def _encoding(stream: io.TextIOWrapper) -> str:
    if "PYTHONIOENCODING" not in os.environ and not stream.isatty():
        return "utf-8"
    # ASCII under another name: click writes UTF-8 where it sees the usual one.
    return _ASCII if codecs.lookup(stream.encoding).name == "ascii" else stream.encoding


def _escaped(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    units = struct.iter_unpack(">H", error.object[error.start : error.end].encode("utf-16-be", "surrogatepass"))
    return "".join(f"\\u{unit:04x}" for (unit,) in units), error.end


def _find_codec(name: str) -> codecs.CodecInfo | None:
    if name.replace("_", "-") != _ASCII:
        return None
    codec = ascii.getregentry()
    return codecs.CodecInfo(
        codec.encode,
        codec.decode,
        codec.streamreader,
        codec.streamwriter,
        codec.incrementalencoder,
        codec.incrementaldecoder,
        _ASCII,
    )
