"""Open a dataset: a built-in one, local files, or a name on the Hugging Face Hub."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa
import xxhash

from ingest.errors import DatasetError
from ingest.texts import hub
from ingest.texts.builtin import EMBEDDED
from ingest.texts.corpus import Scan, Source, scan
from ingest.texts.data_files import find_files, is_saved_dataset
from ingest.texts.local_files import READ_ROWS, LocalFiles, missing_column
from ingest.texts.token_file import TokenFile


@dataclass(frozen=True)
class RowBatch:
    """Consecutive rows. `texts[i]` is row `first_row + i`, NULL as the empty text."""

    first_row: int
    texts: list[str]


@dataclass(frozen=True)
class Dataset:
    """The texts of one column of one split, in order, readable any number of times.

    `name` is the file's own name for local files, so that the same file elsewhere is the same dataset. `split` is None
    for embedded ones. `fingerprint` (32 hex digits) is of the texts in order; for streams of name, configuration,
    split, column and revision. `n_rows` is None when it is known only at the end of the stream.
    """

    name: str
    config: str | None
    split: str | None
    text_column: str
    fingerprint: str
    n_rows: int | None
    source: Source = field(repr=False)
    tokens: TokenFile | None = field(default=None, repr=False)
    """The rows' token ids, where another process makes them."""

    def rows(self, start_row: int = 0) -> Iterator[tuple[int, str]]:
        """(source_row, text) from `start_row` on, in dataset order; a NULL is the empty text.

        Raises:
            DatasetError: the source breaks off.
        """
        for batch in self.row_batches(start_row):
            yield from enumerate(batch.texts, start=batch.first_row)

    def row_batches(self, start_row: int = 0) -> Iterator[RowBatch]:
        """As `rows`, at most 256 at a time.

        Raises:
            DatasetError: the source breaks off.
        """
        if start_row < 0:
            raise ValueError(f"start_row is {start_row}, expected 0 or more")
        first_row = start_row
        for array in _guarded(self.name, self.source, start_row):
            for start in range(0, len(array), READ_ROWS):
                texts = array[start : start + READ_ROWS].to_pylist()
                yield RowBatch(first_row, [text or "" for text in texts])
                first_row += len(texts)


def open_dataset(
    name: str,
    *,
    config: str | None = None,
    split: str | None = "train",
    text_column: str = "text",
    revision: str | None = None,
    stream: bool = False,
) -> Dataset:
    """Open a dataset and check that it can be read.

    `name` is `pydoc` (the language reference that comes with CPython, a text a topic in order of topic),
    `vital-articles` (introductions of Wikipedia's, from a package: see `ingest.texts.builtin`), a file ending in
    .parquet, .jsonl, .json, .csv, .tsv or .txt (one line one text), a glob of such files (in order of name), a
    folder of them (its splits and configurations: see `ingest.texts.data_files`), a folder written by `datasets`'
    save_to_disk(), or a name on the Hub. A dataset that is not streamed from the Hub is read through once: that
    gives its fingerprint, and a broken row is an error now, not hours into a run.

    Raises:
        DatasetError: the dataset, its split or its column is not there, the column is not text, or there are no rows.
    """
    if name in EMBEDDED:
        _refuse_hub_options(name, config, split, revision)
        if text_column != "text":
            raise missing_column(f"The dataset {name!r}", text_column, ["text"])
        return _scanned(EMBEDDED[name].label, None, None, text_column, EMBEDDED[name].texts())
    if is_saved_dataset(name):
        _refuse_hub_options(name, config, None, revision)
        label = Path(name).expanduser().resolve().name
        texts = hub.load_saved_texts(label, name, split=split, text_column=text_column)
        return _scanned(label, None, texts.split, text_column, texts)
    folder = Path(name).expanduser().is_dir()
    data_files = find_files(name, config=config, split=split) if folder else find_files(name)
    if data_files is not None:
        _refuse_hub_options(name, None if folder else config, None if folder else split, revision)
        label = Path(name).expanduser().name or Path(name).resolve().name
        return _scanned(
            label, data_files.config, data_files.split, text_column, LocalFiles(data_files.files, text_column)
        )
    texts = hub.load_texts(name, config=config, split=split, text_column=text_column, revision=revision, stream=stream)
    if not texts.streamed:
        return _scanned(name, config, texts.split, text_column, texts)
    identity = [name, config, texts.split, text_column, hub.resolve_revision(name, revision)]
    return Dataset(
        name=name,
        config=config,
        split=texts.split,
        text_column=text_column,
        fingerprint=xxhash.xxh3_128_hexdigest(json.dumps(identity).encode()),
        n_rows=texts.declared_rows,
        source=texts,
    )


def _scanned(name: str, config: str | None, split: str | None, text_column: str, source: Source) -> Dataset:
    whole: Scan = scan(_guarded(name, source, 0))
    if not whole.n_rows:
        raise DatasetError(f"The dataset {name!r} has no rows. Expected at least one text.")
    return Dataset(
        name=name,
        config=config,
        split=split,
        text_column=text_column,
        fingerprint=whole.fingerprint,
        n_rows=whole.n_rows,
        source=source,
    )


def _guarded(name: str, source: Source, start_row: int) -> Iterator[pa.Array]:
    row = start_row
    try:
        for array in source.arrays(start_row):
            yield array
            row += len(array)
    except DatasetError:
        raise
    except Exception as error:  # decoders, decompressors and the network have no common base
        cause = " ".join(str(error).split()) or type(error).__name__
        raise DatasetError(
            f"Reading the dataset {name!r} failed after row {row}: {cause}. Check the source and run again."
        ) from error


def _refuse_hub_options(name: str, config: str | None, split: str | None, revision: str | None) -> None:
    if config is not None or revision is not None:
        option, value = ("config", config) if config is not None else ("revision", revision)
        raise DatasetError(
            f"{name!r} is not on the Hub and has no {option}s, but {option} {value!r} was asked for. Leave it out."
        )
    if split not in (None, "train"):
        raise DatasetError(
            f"{name!r} has no splits, but split {split!r} was asked for. Leave out --split; --texts A:B reads a part."
        )
