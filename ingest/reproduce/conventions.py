"""Comparison of an atlas's settings with the post's: figures are comparable only where both agree."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from atlas.core.info import AtlasInfo
from ingest.errors import OptionError

_SHAPE = ("n_layers", "d_model", "d_mlp", "d_vocab")
_DATA = ("dataset_name", "dataset_split", "text_column", "context_length", "overflow", "bos_counted", "dtype")
_MISSING = 0.01
"""Share of the texts that may be missing: rows without tokens are no texts."""


def check_shape(name: str, shape: Mapping[str, int], published: Mapping[str, Any]) -> None:
    """Refuse a model of another shape than the figures' model.

    Raises:
        OptionError: names the first number that differs.
    """
    for column in _SHAPE:
        if shape[column] != published[column]:
            raise OptionError(
                f"The figures are of {published['name']} ({column} {published[column]:,}), and {name!r} has {column} "
                f"{shape[column]:,}: there is nothing to compare. Give that model, or an atlas of it."
            )


def shape_of(info: AtlasInfo) -> dict[str, int]:
    """The model's shape in an atlas."""
    return {column: getattr(info, column) for column in _SHAPE}


def readout_differs(info: AtlasInfo, conventions: Mapping[str, Any]) -> str | None:
    """The reason why values that depend on the readout cannot be compared; None: they can."""
    return _differs("The atlas has", {"readout": info.readout}, conventions)


def data_differs(info: AtlasInfo, conventions: Mapping[str, Any]) -> str | None:
    """The reason why counts over the data cannot be compared; None: they can."""
    columns = {column: getattr(info, column) for column in _DATA}
    return _differs("The atlas has", columns, conventions) or texts_missing(info.n_texts, conventions)


def texts_missing(n_texts: int, conventions: Mapping[str, Any]) -> str | None:
    """The reason why a number of texts is not the whole dataset; None: it is."""
    expected = conventions["n_texts"]
    if abs(n_texts - expected) <= _MISSING * expected:
        return None
    return f"{n_texts:,} texts were read; the post read {expected:,}."


def dataset_differs(name: str, conventions: Mapping[str, Any]) -> str | None:
    """The reason why a dataset is not the post's; None: it is."""
    return _differs("The run has", {"dataset_name": name}, conventions)


def _differs(who: str, columns: Mapping[str, Any], conventions: Mapping[str, Any]) -> str | None:
    parts = [
        f"{column} {value!r} (the post: {conventions[column]!r})"
        for column, value in columns.items()
        if value != conventions[column]
    ]
    return f"{who} {', '.join(parts)}." if parts else None
