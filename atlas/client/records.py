"""Lists of records that print themselves and turn into Arrow and pandas."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, Generic, TypeVar, overload

from rich.table import Table

from atlas.client.table import SHOWN, columns_of, html_table, rich_table, to_arrow, to_pandas
from atlas.core.answer.asking import QueryResult
from atlas.core.call import Page
from atlas.topics.curve import Curve, CurvePoint

Row = TypeVar("Row")


class Columns(ABC):
    """Base of records with columns: views for terminals and notebooks, and tables of other libraries."""

    title: str

    @abstractmethod
    def columns(self) -> dict[str, list[Any]]:
        """The values by column."""

    def to_arrow(self) -> Any:
        """The data as a `pyarrow.Table`."""
        return to_arrow(self.columns())

    def to_pandas(self) -> Any:
        """The data as a `pandas.DataFrame`.

        Raises:
            MissingLibraryError: pandas is not installed.
        """
        return to_pandas(self.columns())

    def __rich__(self) -> Table:
        return rich_table(self.title, *self._shown())

    def _repr_html_(self) -> str:
        return html_table(self.title, *self._shown())

    def _shown(self) -> tuple[Mapping[str, list[Any]], int]:
        columns = self.columns()
        return columns, len(next(iter(columns.values()), []))


class Records(Columns, Sequence[Row], Generic[Row]):
    """Records of one kind, in order."""

    def __init__(self, title: str, rows: Sequence[Row]) -> None:
        self.title = title
        self.rows = tuple(rows)

    @overload
    def __getitem__(self, place: int) -> Row: ...
    @overload
    def __getitem__(self, place: slice) -> Records[Row]: ...
    def __getitem__(self, place: int | slice) -> Row | Records[Row]:
        return Records(self.title, self.rows[place]) if isinstance(place, slice) else self.rows[place]

    def __len__(self) -> int:
        return len(self.rows)

    def __eq__(self, other: object) -> bool:
        return self.rows == other.rows if isinstance(other, Records) else NotImplemented

    def __hash__(self) -> int:
        return hash(self.rows)

    def __repr__(self) -> str:
        return f"<{self.title}: {len(self)}>"

    def columns(self) -> dict[str, list[Any]]:
        return columns_of(self.rows)


class CurveRecords(Records[CurvePoint]):
    """The points of one pair's curve, in order of activation; `record` is the curve itself, with its `candidate`."""

    def __init__(self, record: Curve) -> None:
        super().__init__(f"{record.candidate.neuron.name} and {record.candidate.token.shown}", record.points)
        self.record = record
        self.candidate = record.candidate


class Pages(Columns, Generic[Row]):
    """A long list, read page by page during iteration; `len` counts the whole list."""

    def __init__(self, title: str, read: Callable[[str | None], Page[Row]], limit: int | None) -> None:
        self.title = title
        self._read = read
        self._limit = limit
        self._first: Page[Row] | None = None

    def __iter__(self) -> Iterator[Row]:
        return islice(self._rows(), self._limit)

    def __len__(self) -> int:
        total = self._start().total
        return total if self._limit is None else min(total, self._limit)

    def __repr__(self) -> str:
        return f"<{self.title}: {len(self)}>"

    def columns(self) -> dict[str, list[Any]]:
        return columns_of(self)

    def _start(self) -> Page[Row]:
        if self._first is None:
            self._first = self._read(None)
        return self._first

    def _rows(self) -> Iterator[Row]:
        page = self._start()
        yield from page.rows
        while page.after is not None:
            page = self._read(page.after)
            yield from page.rows

    def _shown(self) -> tuple[Mapping[str, list[Any]], int]:
        return columns_of(islice(self, SHOWN)), len(self)


class Answer(Columns):
    """The answer of SQL: `names` of its columns and `rows`; `truncated` if the server left some out; `notes`: what to
    know of lists that it read which are cut, and of limits."""

    title = "SQL"

    def __init__(self, result: QueryResult, truncated: bool, notes: tuple[str, ...] = ()) -> None:
        self.names, self.rows, self.truncated, self.notes = result.columns, result.rows, truncated, notes

    def __iter__(self) -> Iterator[tuple[Any, ...]]:
        return iter(self.rows)

    def __len__(self) -> int:
        return len(self.rows)

    def __repr__(self) -> str:
        return f"<{self.title}: {len(self)}>"

    def columns(self) -> dict[str, list[Any]]:
        # The last of two columns with the same name wins.
        return {name: [row[place] for row in self.rows] for place, name in enumerate(self.names)}
