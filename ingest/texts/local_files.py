"""Texts of local files: Parquet, JSON Lines, JSON, CSV, TSV and plain text, compressed or not.

Files are read here rather than through `datasets.load_dataset("parquet", data_files=...)`: that writes a second copy
of everything into its cache before the first row (streaming avoids the copy), and its error for an odd row does not say
which row. pyarrow streams Parquet from disk in blocks. CSV and JSON go through the standard library: pyarrow's readers
refuse rows longer than their block and files whose *other* columns change type, and name no lines. All are far faster
than any tokenizer.
"""

from __future__ import annotations

import csv
import io
import itertools
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet

from ingest.errors import DatasetError
from ingest.texts.corpus import checked, is_string_type, is_text, skip_rows
from ingest.texts.data_files import data_suffix
from ingest.texts.text_file import NOT_TEXT, open_text, undecodable

READ_ROWS = 256
_COLUMN_SEARCH_ROWS = 1000
_PARQUET_BUFFER_BYTES = 1 << 20
_JSON_TYPES = {dict: "object", list: "array", bool: "boolean", int: "number", float: "number"}

csv.field_size_limit(1 << 30)  # The module's own limit is 128 kB; this one only stops a quote that is never closed.


@dataclass(frozen=True)
class LocalFiles:
    """The texts of `column` in files of one format, one file after the other."""

    files: tuple[Path, ...]
    column: str

    def arrays(self, start_row: int = 0) -> Iterator[pa.LargeStringArray]:
        """Texts from `start_row` on, counted through all files.

        Raises:
            DatasetError: a file is broken, lacks the column, or the column does not hold strings.
        """
        return skip_rows(itertools.chain.from_iterable(map(self._read, self.files)), start_row)

    def _read(self, path: Path) -> Iterator[pa.LargeStringArray]:
        try:
            yield from _READERS[data_suffix(path)](path, self.column)
        except UnicodeDecodeError as error:
            raise DatasetError(undecodable(path, error)) from error
        except (pa.ArrowInvalid, OSError, *NOT_TEXT) as error:
            raise DatasetError(f"The file {path.name!r} cannot be read: {error}. Check that it is whole.") from error


def missing_column(source: str, column: str, columns: list[str]) -> DatasetError:
    """The error for a missing column."""
    return DatasetError(
        f"{source} has no column {column!r}; it has {', '.join(map(repr, columns)) or 'none'}. "
        "Choose one with --text-column."
    )


def wrong_type(source: str, column: str, kind: str, place: str = "") -> DatasetError:
    """The error for a column that does not hold text, at a place ('line 3') if it does elsewhere."""
    where, remedy = (f" in {place}", "Correct that row, or choose another column") if place else ("", "Choose another")
    return DatasetError(
        f"The column {column!r} of {source} is of type {kind}{where}, expected string. {remedy} with --text-column."
    )


def half_character(source: str, place: str) -> DatasetError:
    """The error for a string with a lone surrogate, which JSON's escapes can write."""
    return DatasetError(
        f'{place} of {source} holds half a character (a lone surrogate, as in "\\ud800"), which is no text. '
        "Correct that row."
    )


def _read_parquet(path: Path, column: str) -> Iterator[pa.LargeStringArray]:
    # Page by page: pre-buffering would hold a whole row group, which is often the whole file.
    with pa.parquet.ParquetFile(path, buffer_size=_PARQUET_BUFFER_BYTES, pre_buffer=False) as file:
        schema = file.schema_arrow
        _check_columns(path, column, schema.names)
        if not is_string_type(schema.field(column).type):
            raise wrong_type(repr(path.name), column, str(schema.field(column).type))
        row = 0
        for batch in file.iter_batches(READ_ROWS, columns=[column]):
            yield checked(batch.column(0), repr(path.name), row)
            row += len(batch)


def _check_columns(path: Path, column: str, columns: list[str]) -> None:
    if column not in columns:
        raise missing_column(f"The file {path.name!r}", column, columns)
    if columns.count(column) > 1:
        raise DatasetError(f"The file {path.name!r} has {columns.count(column)} columns {column!r}, expected one.")


def _read_csv(path: Path, column: str, delimiter: str = ",") -> Iterator[pa.LargeStringArray]:
    """Every value is text, numbers too; an empty field is the empty text; a blank line is no row."""
    with open_text(path, newline="") as stream:
        rows = _csv_rows(path, csv.reader(stream, delimiter=delimiter, strict=True))
        _, header = next(rows, (0, None))
        if header is None:
            raise DatasetError(f"The file {path.name!r} is empty: expected a line of column names, then rows.")
        _check_columns(path, column, header)
        place = header.index(column)

        def texts() -> Iterator[str]:
            for line, row in rows:
                if len(row) != len(header):
                    raise DatasetError(
                        f"Line {line} of {path.name!r} has {len(row)} fields, expected {len(header)} as in its header. "
                        "Quote texts that hold a separator or a line end."
                    )
                yield row[place]

        for batch in _batched(texts()):
            yield pa.array(batch, pa.large_string())


def _csv_rows(path: Path, reader: Any) -> Iterator[tuple[int, list[str]]]:
    """Rows of a `csv.reader` with the line that each begins in, from 1."""
    line = 1
    while True:
        try:
            row = next(reader, None)
        except csv.Error as error:
            raise DatasetError(
                f"The row from line {line} of {path.name!r} on is not CSV: {error}. A text that begins with a quote "
                "ends with one, and every quote in it is doubled."
            ) from error
        if row is None:
            return
        if row:
            yield line, row
        line = reader.line_num + 1


def _read_tsv(path: Path, column: str) -> Iterator[pa.LargeStringArray]:
    return _read_csv(path, column, "\t")


def _read_text(path: Path, column: str) -> Iterator[pa.LargeStringArray]:
    """One line is one text, as `datasets` has it: empty lines are empty texts, the line's end is not part of it."""
    if column != "text":
        raise missing_column(f"The file {path.name!r}", column, ["text"])
    with open_text(path) as stream:
        for lines in _batched(line.removesuffix("\n") for line in stream):
            yield pa.array(lines, pa.large_string())


def _read_json(path: Path, column: str) -> Iterator[pa.LargeStringArray]:
    """One object a line, or one array of objects (which is read whole). A row without the column is NULL."""
    with open_text(path) as stream:
        is_array = next((char for line in stream for char in line.lstrip()[:1]), "") == "["
    with open_text(path) as stream:
        rows = _json_array(path, stream) if is_array else _json_lines(path, stream)
        columns: dict[str, None] = {}
        n_rows = 0
        for batch in _batched(rows):
            if column not in columns:
                for _, row in batch:
                    columns |= dict.fromkeys(row)
            n_rows += len(batch)
            if column not in columns and n_rows >= _COLUMN_SEARCH_ROWS:
                break
            yield pa.array([_json_text(path, column, place, row) for place, row in batch], pa.large_string())
        if n_rows and column not in columns:
            raise missing_column(f"The file {path.name!r}", column, list(columns))


def _json_lines(path: Path, stream: io.TextIOWrapper) -> Iterator[tuple[str, dict]]:
    for number, line in enumerate(stream, start=1):
        if line.isspace():
            continue
        try:
            row = json.loads(line)
        except ValueError as error:
            raise DatasetError(
                f"Line {number} of {path.name!r} is not JSON: {error}. Expected one object a line, or one array."
            ) from error
        yield f"Line {number}", _json_object(path, f"Line {number}", row)


def _json_array(path: Path, stream: io.TextIOWrapper) -> Iterator[tuple[str, dict]]:
    text = stream.read()
    try:
        rows = json.loads(text)
    except ValueError as error:
        raise DatasetError(f"The file {path.name!r} is not JSON: {error}. Check that it is whole.") from error
    for number, row in enumerate(rows, start=1):
        yield f"Element {number}", _json_object(path, f"Element {number}", row)


def _json_object(path: Path, place: str, row: object) -> dict:
    if not isinstance(row, dict):
        raise DatasetError(f"{place} of {path.name!r} is {json.dumps(row)[:40]}, expected an object of columns.")
    return row


def _json_text(path: Path, column: str, place: str, row: dict) -> str | None:
    text = row.get(column)
    if text is not None and not isinstance(text, str):
        raise wrong_type(repr(path.name), column, _JSON_TYPES[type(text)], place.lower())
    if text is not None and not is_text(text):
        raise half_character(repr(path.name), place)
    return text


def _batched(items: Iterator) -> Iterator[list]:
    items = iter(items)
    while batch := list(itertools.islice(items, READ_ROWS)):
        yield batch


_READERS: dict[str, Callable[[Path, str], Iterator[pa.LargeStringArray]]] = {
    ".parquet": _read_parquet,
    ".jsonl": _read_json,
    ".json": _read_json,
    ".csv": _read_csv,
    ".tsv": _read_tsv,
    ".txt": _read_text,
}
