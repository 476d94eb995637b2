"""Records as columns, the basis of Arrow tables, data frames and printed tables."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import fields, is_dataclass
from html import escape
from typing import Any

from rich.table import Table
from rich.text import Text

from atlas.core.display import show_number, show_value, visible
from atlas.core.errors import AtlasError
from atlas.core.units import NeuronRef, Token

SHOWN = 20
"""Rows of a printed table."""


class MissingLibraryError(AtlasError):
    """A library that the method needs is not installed."""


def flat(record: Any) -> dict[str, Any]:
    """A record's fields as columns: a token as its text and its id, a neuron as its name and its id, other records by
    their own fields, as the views of an atlas have them."""
    if not is_dataclass(record):
        return {"value": record}
    row: dict[str, Any] = {}
    for field in fields(record):
        row |= _cells(field.name, getattr(record, field.name))
    return row


def rows_of(record: Any) -> dict[str, list[Any]]:
    """A record's fields as rows: the columns `column` and `value`."""
    row = flat(record)
    return {"column": list(row), "value": list(row.values())}


def _cells(name: str, value: Any) -> dict[str, Any]:
    if isinstance(value, Token):
        return {name: value.text, f"{name}_id": value.token_id}
    if isinstance(value, NeuronRef):
        return {name: value.name, f"{name}_id": value.neuron_id}
    if isinstance(value, tuple):
        if value and isinstance(value[0], Token):
            return {name: [item.text for item in value], f"{name}_ids": [item.token_id for item in value]}
        return {name: [flat(item) if is_dataclass(item) else item for item in value]}
    if is_dataclass(value):
        return {f"{name}_{column}": cell for column, cell in flat(value).items()}
    return {name: value}


def columns_of(records: Iterable[Any]) -> dict[str, list[Any]]:
    """Records of one kind as columns; a missing value (such as the id of a token that is None) is None."""
    rows = [flat(record) for record in records]
    names = list(dict.fromkeys(name for row in rows for name in row))
    return {name: [row.get(name) for row in rows] for name in names}


def to_arrow(columns: Mapping[str, list[Any]]) -> Any:
    """Columns as a `pyarrow.Table`."""
    import pyarrow

    return pyarrow.table(dict(columns))


def to_pandas(columns: Mapping[str, list[Any]]) -> Any:
    """Columns as a `pandas.DataFrame`.

    Raises:
        MissingLibraryError: pandas is not installed.
    """
    try:
        import pandas
    except ImportError as error:
        raise MissingLibraryError(
            "pandas is not installed, and a data frame needs it: pip install pandas. `.to_arrow()` does without it."
        ) from error
    return pandas.DataFrame(dict(columns))


def show_cell(value: Any) -> str:
    """A value as a printed table shows it, with invisible characters escaped."""
    if isinstance(value, list):
        text = ", ".join(show_cell(item) for item in value[:SHOWN])
        return f"{text}, …" if len(value) > SHOWN else text
    text = show_value(value)
    return text.replace(" ", "␣", 1) if text.startswith(" ") else text


def _read(columns: Mapping[str, list[Any]]) -> dict[str, list[Any]]:
    """The columns to print: an id beside its name is left out."""
    return {
        name: values[:SHOWN]
        for name, values in columns.items()
        if not (name.endswith("_id") and name.removesuffix("_id") in columns)
    }


def _is_number(values: list[Any]) -> bool:
    return all(value is None or (isinstance(value, int | float) and not isinstance(value, bool)) for value in values)


def rich_table(title: str, columns: Mapping[str, list[Any]], total: int) -> Table:
    """The first rows for a terminal."""
    n = len(next(iter(columns.values()), []))
    caption = f"{min(n, SHOWN)} of {show_number(total)}" if total > SHOWN else None
    table = Table(title=visible(title), caption=caption, title_justify="left", box=None, padding=(0, 2, 0, 0))
    first_rows = _read(columns)
    for name, values in first_rows.items():
        number = _is_number(values)
        table.add_column(Text(visible(name)), justify="right" if number else "left", overflow="fold", no_wrap=number)
    for row in zip(*first_rows.values(), strict=True):
        table.add_row(*(Text(show_cell(value)) for value in row))
    return table


def html_table(title: str, columns: Mapping[str, list[Any]], total: int) -> str:
    """The first rows for a notebook, everything escaped."""
    first_rows = _read(columns)
    heads = "".join(f"<th>{escape(visible(name))}</th>" for name in first_rows)
    rows = "".join(
        "<tr>" + "".join(f"<td>{escape(show_cell(value))}</td>" for value in row) + "</tr>"
        for row in zip(*first_rows.values(), strict=True)
    )
    caption = escape(visible(title)) + (f" ({SHOWN} of {show_number(total)})" if total > SHOWN else "")
    return f"<table><caption>{caption}</caption><thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table>"
