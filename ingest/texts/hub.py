"""Texts of the Hugging Face Hub (and of folders written by save_to_disk), through the `datasets` library."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import datasets
import huggingface_hub
import pyarrow as pa

from ingest.errors import DatasetError
from ingest.texts.corpus import checked, is_text
from ingest.texts.data_files import split_error
from ingest.texts.local_files import half_character, missing_column, wrong_type

_MAP_ROWS = 1000  # slices of a memory-mapped table: costs nothing but the call
_STREAM_ROWS = 256
_SPLITS_IN_MESSAGE = re.compile(r"(?:Should be one of|Available splits:) (\[.*?\])")


@dataclass(frozen=True)
class HubTexts:
    """The texts of one column of one split, held by a `datasets.Dataset` or `datasets.IterableDataset`."""

    name: str
    data: datasets.Dataset | datasets.IterableDataset
    split: str | None
    column: str

    @property
    def streamed(self) -> bool:
        """Whether rows come over the network as they are read."""
        return isinstance(self.data, datasets.IterableDataset)

    @property
    def declared_rows(self) -> int | None:
        """Number of rows as the Hub declares it, None when it does not."""
        declared = (self.data.info.splits or {}).get(self.split)
        return declared.num_examples or None if declared else None

    def arrays(self, start_row: int = 0) -> Iterator[pa.LargeStringArray]:
        """Texts from `start_row` on.

        Raises:
            DatasetError: a row holds no text.
        """
        data, row = self.data.skip(start_row) if start_row else self.data, start_row
        if data.features is None:
            # A stream of unknown types is inferred batch by batch, and one batch of NULLs would contradict the next.
            for rows in data.iter(_STREAM_ROWS):
                for place, text in enumerate(rows[self.column], row):
                    if text is not None and not isinstance(text, str):
                        raise wrong_type(repr(self.name), self.column, type(text).__name__, f"row {place}")
                    if text is not None and not is_text(text):
                        raise half_character(repr(self.name), f"Row {place}")
                row += len(rows[self.column])
                yield pa.array(rows[self.column], pa.large_string())
            return
        tables = data.select_columns([self.column]).with_format("arrow")
        for table in tables.iter(_STREAM_ROWS if self.streamed else _MAP_ROWS):
            for chunk in table.column(self.column).chunks:
                yield checked(chunk, repr(self.name), row)
                row += len(chunk)


def load_texts(
    name: str, *, config: str | None, split: str | None, text_column: str, revision: str | None, stream: bool
) -> HubTexts:
    """Load a dataset of the Hub and check its text column.

    Raises:
        DatasetError: it cannot be loaded, has no such split or column, or the column does not hold strings.
    """
    try:
        loaded = datasets.load_dataset(name, config, split=split, revision=revision, streaming=stream)
    except Exception as error:  # the Hub, the network and the dataset's own files raise any exception
        raise _load_error(name, config, split, revision, error) from error
    return _checked(name, *_one_split(name, split, loaded), text_column)


def load_saved_texts(name: str, path: str, *, split: str | None, text_column: str) -> HubTexts:
    """Load a folder written by `datasets`' save_to_disk().

    Raises:
        DatasetError: as `load_texts`.
    """
    try:
        loaded = datasets.load_from_disk(path)
    except Exception as error:
        raise DatasetError(f"The folder {path!r} cannot be read by datasets.load_from_disk: {_line(error)}") from error
    return _checked(name, *_one_split(name, split, loaded), text_column)


def resolve_revision(name: str, revision: str | None) -> str:
    """The Hub's current commit of a revision (None: the default branch); the revision itself where unknown."""
    try:
        sha = huggingface_hub.HfApi().dataset_info(name, revision=revision, timeout=10).sha
    except Exception:  # no network, repository or permission: the fingerprint then lacks the commit
        sha = None
    return sha or revision or ""


def _one_split(
    name: str, split: str | None, loaded: Any
) -> tuple[datasets.Dataset | datasets.IterableDataset, str | None]:
    """The data of a split, and the split's name. Without a split, `datasets` gives a dictionary of all."""
    if not isinstance(loaded, dict):
        return loaded, split
    if split is None and len(loaded) == 1:
        split = next(iter(loaded))
    if split in loaded:
        return loaded[split], split
    raise split_error(name, split, str(list(loaded)))


def _checked(name: str, data: datasets.Dataset | datasets.IterableDataset, split: str | None, column: str) -> HubTexts:
    source = f"The dataset {name!r}"
    if data.features is not None:
        _check_feature(name, dict(data.features), column)
    if isinstance(data, datasets.IterableDataset):
        try:
            first = next(iter(data.take(1)), None)
        except Exception as error:
            raise DatasetError(
                f"{source} cannot be streamed: {_line(error)} Try again, or leave out --max-texts to download it whole."
            ) from error
        if first is None:
            raise DatasetError(f"{source} has no rows. Choose another split with --split.")
        if column not in first:
            raise missing_column(source, column, list(first))
        if not isinstance(first[column], str | None):
            raise wrong_type(repr(name), column, type(first[column]).__name__)
    return HubTexts(name, data, split, column)


def _check_feature(name: str, features: dict[str, Any], column: str) -> None:
    if column not in features:
        raise missing_column(f"The dataset {name!r}", column, list(features))
    feature = features[column]
    if not isinstance(feature, datasets.Value) or feature.dtype not in ("string", "large_string", "string_view"):
        type_name = feature.dtype if isinstance(feature, datasets.Value) else str(feature)
        raise wrong_type(repr(name), column, type_name)


def _load_error(
    name: str, config: str | None, split: str | None, revision: str | None, error: Exception
) -> DatasetError:
    if splits := _SPLITS_IN_MESSAGE.search(str(error)):
        return split_error(name, split, splits.group(1))
    call = ", ".join(
        [repr(name), *([repr(config)] if config else []), f"split={split!r}"]
        + ([f"revision={revision!r}"] if revision else [])
    )
    return DatasetError(
        f"The dataset {name!r} cannot be loaded: {_line(error)} There is no local file of that name either. "
        f"Tried datasets.load_dataset({call}). Check the spelling, the network (and that HF_HUB_OFFLINE is not set), "
        "and for gated or private datasets log in with `hf auth login`; `--dataset pydoc` needs no network."
    )


def _line(error: Exception) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    return text[:400].rstrip(".") + "."
