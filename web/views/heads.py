"""Heads of the tables of neurons: what each column means, and where a click on it leads."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from atlas import Atlas
from atlas.topics.neuron_columns import Column
from atlas.topics.tables import column_comments


@dataclass(frozen=True)
class Head:
    """A column's head: what the schema says of it, the list sorted by it (None: it does not sort), and how the list is
    sorted by it now ('ascending', 'descending' or None)."""

    column: Column
    definition: str
    url: str | None
    sorted: str | None


def heads(
    atlas: Atlas, columns: Sequence[Column], sort: str, order: str, url: Callable[[str, str], str | None]
) -> tuple[Head, ...]:
    """Heads of a table sorted by `sort` in the order `order` ('asc' or 'desc'); `url` addresses the list by a column's
    name and an order. A click on the column that sorts turns the order round."""
    definitions = column_comments(atlas, "neuron")
    turned = "asc" if order == "desc" else "desc"
    return tuple(
        Head(
            column,
            column.meaning or definitions[column.name],
            None if column.meaning else url(column.name, turned if column.name == sort else column.first),
            f"{order}ending" if column.name == sort else None,
        )
        for column in columns
    )
