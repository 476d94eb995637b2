"""Texts of local files: Parquet, JSON Lines, JSON, CSV, TSV and plain text, compressed or not.

Files are read here rather than through `datasets.load_dataset("parquet", data_files=...)`: that writes a second copy
of everything into its cache before the first row (streaming avoids the copy), and in both modes a row that is not
UTF-8 is either an exception or, with `encoding_errors="replace"`, no longer distinguishable from one that is. pyarrow
streams Parquet and CSV from disk in blocks and hands over the bytes as they are. JSON goes through the standard
library: pyarrow's reader refuses lone surrogates, objects longer than its block, and files whose *other* columns change
type. Both are far faster than any tokenizer.
"""

from __future__ import annotations

import glob
import io
import itertools
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from ingest.corpus import is_string_type, skip_rows, to_arrow
from ingest.errors import DatasetError

READ_ROWS = 256
_COLUMN_SEARCH_ROWS = 1000
_CSV_BLOCK_BYTES = 16 << 20  # a row has to fit in a block
_PARQUET_BUFFER_BYTES = 1 << 20
_COMPRESSIONS = (".gz", ".bz2", ".zst")
_SAVED_DATASET = ("state.json", "dataset_dict.json")
_JSON_TYPES = {dict: "object", list: "array", bool: "boolean", int: "number", float: "number"}


@dataclass(frozen=True)
class LocalFiles:
    """The texts of `column` in files of one format, one file after the other."""

    files: tuple[Path, ...]
    column: str

    def arrays(self, start_row: int = 0) -> Iterator[pa.Array]:
        """Texts from `start_row` on, counted through all files.

        Raises:
            DatasetError: a file is broken, lacks the column, or the column does not hold strings.
        """
        return skip_rows(itertools.chain.from_iterable(map(self._read, self.files)), start_row)

    def _read(self, path: Path) -> Iterator[pa.Array]:
        try:
            yield from _READERS[data_suffix(path)](path, self.column)
        except (pa.ArrowInvalid, OSError, EOFError) as error:
            raise DatasetError(f"The file {path.name!r} cannot be read: {error}. Check that it is whole.") from error


def find_files(name: str) -> tuple[Path, ...] | None:
    """The files that a dataset's name means: a file, a directory of files, or a glob; None: it names no local files.

    Raises:
        DatasetError: the name is a path, but to nothing that can be read.
    """
    path = Path(name).expanduser()
    if path.is_file():
        files = [path]
    elif path.is_dir():
        files = sorted(file for file in path.iterdir() if file.is_file() and data_suffix(file))
    elif glob.has_magic(name):
        files = sorted(Path(file) for file in glob.glob(str(path), recursive=True) if Path(file).is_file())
    elif data_suffix(path) or name.startswith((".", "/", "~")):
        raise DatasetError(f"There is no file {name!r}. Check the path given to --dataset.")
    else:
        return None
    if not files:
        raise DatasetError(f"There is no data file at {name!r}: expected files ending in {_suffixes()}.")
    suffixes = sorted({data_suffix(file) or file.suffix for file in files})
    if len(suffixes) > 1:
        raise DatasetError(
            f"{name!r} holds files of several formats ({', '.join(suffixes)}). Name one, as in '*{suffixes[0]}'."
        )
    if data_suffix(files[0]) is None:
        raise DatasetError(f"The file {name!r} ends in {suffixes[0]!r}: expected one of {_suffixes()}.")
    return tuple(files)


def is_saved_dataset(name: str) -> bool:
    """Whether the name is a folder written by `datasets`' save_to_disk()."""
    return any((Path(name).expanduser() / mark).is_file() for mark in _SAVED_DATASET)


def data_suffix(path: Path) -> str | None:
    """Suffix that says a file's format, under any compression ('.jsonl' of 'a.jsonl.gz'). None: no format we read."""
    suffixes = [suffix.lower() for suffix in path.suffixes]
    if suffixes and suffixes[-1] in _COMPRESSIONS:
        suffixes.pop()
        if suffixes[-1:] == [".parquet"]:
            return None
    return suffixes[-1] if suffixes and suffixes[-1] in _READERS else None


def missing_column(source: str, column: str, columns: list[str]) -> DatasetError:
    """The error for a column that is not there."""
    return DatasetError(
        f"{source} has no column {column!r}; it has {', '.join(map(repr, columns)) or 'none'}. "
        "Choose one with --text-column."
    )


def wrong_type(source: str, column: str, found: str) -> DatasetError:
    """The error for a column that does not hold text."""
    return DatasetError(
        f"The column {column!r} of {source} is of type {found}, expected string. Choose another with --text-column."
    )


def _suffixes() -> str:
    return f"{', '.join(_READERS)} (all but .parquet also with {', '.join(_COMPRESSIONS)})"


def _open_text(path: Path) -> io.TextIOWrapper:
    # surrogateescape keeps bytes that are not UTF-8, so that they can be counted later; -sig drops a byte order mark.
    stream = pa.input_stream(str(path), compression="detect")
    return io.TextIOWrapper(stream, encoding="utf-8-sig", errors="surrogateescape")


def _read_parquet(path: Path, column: str) -> Iterator[pa.Array]:
    # Page by page: pre-buffering would hold a whole row group, which is often the whole file.
    with pa.parquet.ParquetFile(path, buffer_size=_PARQUET_BUFFER_BYTES, pre_buffer=False) as file:
        schema = file.schema_arrow
        if column not in schema.names:
            raise missing_column(f"The file {path.name!r}", column, schema.names)
        if not is_string_type(schema.field(column).type):
            raise wrong_type(repr(path.name), column, str(schema.field(column).type))
        for batch in file.iter_batches(READ_ROWS, columns=[column]):
            yield batch.column(0)


def _read_csv(path: Path, column: str, delimiter: str = ",") -> Iterator[pa.Array]:
    """Every value is text, numbers too; an empty field is the empty text."""
    parse = pa.csv.ParseOptions(delimiter=delimiter, newlines_in_values=True)
    read = pa.csv.ReadOptions(block_size=_CSV_BLOCK_BYTES)
    convert = pa.csv.ConvertOptions(
        include_columns=[column], column_types={column: pa.large_string()}, check_utf8=False, strings_can_be_null=False
    )

    def open_csv(convert_options: pa.csv.ConvertOptions) -> pa.csv.CSVStreamingReader:
        stream = pa.input_stream(str(path), compression="detect")
        return pa.csv.open_csv(stream, read_options=read, parse_options=parse, convert_options=convert_options)

    try:
        reader = open_csv(convert)
    except pa.ArrowKeyError as error:
        with open_csv(pa.csv.ConvertOptions(check_utf8=False)) as header:
            raise missing_column(f"The file {path.name!r}", column, header.schema.names) from error
    with reader:
        for batch in reader:
            yield batch.column(0)


def _read_tsv(path: Path, column: str) -> Iterator[pa.Array]:
    return _read_csv(path, column, "\t")


def _read_text(path: Path, column: str) -> Iterator[pa.Array]:
    """One line is one text, as `datasets` has it: empty lines are empty texts, the line's end is not part of it."""
    if column != "text":
        raise missing_column(f"The file {path.name!r}", column, ["text"])
    with _open_text(path) as stream:
        for lines in _batched(line.removesuffix("\n") for line in stream):
            yield to_arrow(lines)


def _read_json(path: Path, column: str) -> Iterator[pa.Array]:
    """One object a line, or one array of objects (which is read whole). A row without the column is NULL."""
    with _open_text(path) as stream:
        is_array = next((char for line in stream for char in line.lstrip()[:1]), "") == "["
    with _open_text(path) as stream:
        rows = _json_array(path, stream) if is_array else _json_lines(path, stream)
        columns: dict[str, None] = {}
        n_rows = 0
        for batch in _batched(rows):
            if column not in columns:
                for row in batch:
                    columns |= dict.fromkeys(row)
            n_rows += len(batch)
            if column not in columns and n_rows >= _COLUMN_SEARCH_ROWS:
                break
            yield to_arrow([_json_text(path, column, row) for row in batch])
        if n_rows and column not in columns:
            raise missing_column(f"The file {path.name!r}", column, list(columns))


def _json_lines(path: Path, stream: io.TextIOWrapper) -> Iterator[dict]:
    for number, line in enumerate(stream, start=1):
        if line.isspace():
            continue
        try:
            row = json.loads(line)
        except ValueError as error:
            raise DatasetError(
                f"Line {number} of {path.name!r} is not JSON: {error}. Expected one object a line, or one array."
            ) from error
        yield _json_object(path, f"Line {number}", row)


def _json_array(path: Path, stream: io.TextIOWrapper) -> Iterator[dict]:
    try:
        rows = json.load(stream)
    except ValueError as error:
        raise DatasetError(f"The file {path.name!r} is not JSON: {error}. Check that it is whole.") from error
    for number, row in enumerate(rows, start=1):
        yield _json_object(path, f"Element {number}", row)


def _json_object(path: Path, place: str, row: object) -> dict:
    if not isinstance(row, dict):
        raise DatasetError(f"{place} of {path.name!r} is {json.dumps(row)[:40]}, expected an object of columns.")
    return row


def _json_text(path: Path, column: str, row: dict) -> str | None:
    text = row.get(column)
    if text is not None and not isinstance(text, str):
        raise wrong_type(repr(path.name), column, _JSON_TYPES[type(text)])
    return text


def _batched(items: Iterator) -> Iterator[list]:
    items = iter(items)
    while batch := list(itertools.islice(items, READ_ROWS)):
        yield batch


_READERS: dict[str, Callable[[Path, str], Iterator[pa.Array]]] = {
    ".parquet": _read_parquet,
    ".jsonl": _read_json,
    ".json": _read_json,
    ".csv": _read_csv,
    ".tsv": _read_tsv,
    ".txt": _read_text,
}
