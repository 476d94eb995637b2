"""Display of the columns of the table `neuron`: one list for pages, filters, rankings and the terminal.

A column's meaning, unit and range are in schema.sql.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from atlas.core.display import show_number, show_share


@dataclass(frozen=True)
class Column:
    """A column of numbers, or of tokens or neurons by id, and how it is shown.

    `form` is 'number', 'signed' (coloured by sign), 'share' (a percentage), 'count', 'token' or 'neuron'. `group` is
    what the number is about. `shown` names the places that show it: 'index' (which also filters by it), 'layer',
    'compare', 'terminal', and 'strip', the few figures at the head of a neuron's page. `first` is the initial order
    when a list is sorted by it.
    """

    name: str
    form: str = "number"
    group: str = ""
    shown: tuple[str, ...] = ()
    words: str = ""
    first: str = "desc"

    @cached_property
    def label(self) -> str:
        """Its name in words."""
        return self.words or self.name.replace("_", " ")

    @cached_property
    def number(self) -> bool:
        """Whether it holds a quantity, which has percentiles and is aligned right."""
        return self.form not in ("token", "neuron")

    @cached_property
    def whole(self) -> bool:
        """Whether its values are whole numbers."""
        return self.form in ("token", "neuron", "count")

    @cached_property
    def field(self) -> str:
        """The field of the record Neuron that holds it."""
        return self.name.removesuffix("_id") if self.form == "token" else self.name

    def show(self, value: float | int | None) -> str:
        """A number of the column as text; `–` for None."""
        return show_share(value) if self.form == "share" else show_number(value)


_LISTS = ("index", "layer")
_TABLES = (*_LISTS, "compare", "terminal")
_EVERYWHERE = (*_TABLES, "strip")

COLUMNS = (
    Column("neuron_id", "neuron", "id", ("index",), "neuron", "asc"),
    Column("index", "neuron", "place", ("layer",), "neuron", "asc"),
    Column("best_token_id", "token", "congruence", _LISTS, "best token", "asc"),
    Column("best_congruence", "signed", "congruence", _EVERYWHERE),
    Column("token_gap", "number", "congruence", _EVERYWHERE),
    Column("worst_token_id", "token", "congruence", _LISTS, "worst token", "asc"),
    Column("worst_congruence", "signed", "congruence", _EVERYWHERE, first="asc"),
    Column("token_gap_bottom", "number", "congruence", _TABLES),
    Column("hub_count", "count", "congruence", _TABLES),
    Column("mean_congruence", "signed", "congruence", ("compare",)),
    Column("congruence_mean", "signed", "congruence"),
    Column("congruence_std", "number", "congruence"),
    Column("congruence_skewness", "signed", "congruence"),
    Column("congruence_kurtosis", "number", "congruence", ("index", "compare", "strip")),
    Column("w_in_norm", "number", "weights", ("compare",), "input norm"),
    Column("w_gate_norm", "number", "weights", (), "gate norm"),
    Column("w_out_norm", "number", "weights", _EVERYWHERE, "output norm"),
    Column("in_out_cosine", "signed", "weights", ("index", "compare", "terminal", "strip"), "in-out cosine"),
    Column("gate_out_cosine", "signed", "weights", (), "gate-out cosine"),
    Column("activation_min", "signed", "activation", _TABLES, first="asc"),
    Column("activation_mean", "signed", "activation", ("compare", "terminal")),
    Column("activation_max", "signed", "activation", _TABLES),
    Column("activation_std", "number", "activation", _TABLES),
    Column("activation_skewness", "signed", "activation"),
    Column("activation_kurtosis", "number", "activation", ("index", "compare")),
    Column("positive_fraction", "share", "activation", _TABLES),
)
"""All columns, in the order of every list. The table's `layer`, `name` and `dead` are not shown as columns."""

COLUMN = {column.name: column for column in COLUMNS}
"""By name."""


def columns_of(place: str) -> tuple[Column, ...]:
    """The columns that a place shows, in order."""
    return tuple(column for column in COLUMNS if place in column.shown)


def column_names(columns: tuple[Column, ...], *, numbers: bool = False) -> tuple[str, ...]:
    """Names of columns; with `numbers` only of those that hold quantities."""
    return tuple(column.name for column in columns if column.number or not numbers)
