"""Display of the columns of the table `neuron`: one list for pages, filters, rankings and the terminal.

A column's meaning, unit and range are in schema.sql.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

from atlas.core.display import column_decimals, show_decimals, show_number, show_share


@dataclass(frozen=True)
class Column:
    """A column of numbers, or of tokens or neurons by id, and how it is shown.

    `form` is 'number', 'signed' (coloured by sign), 'share' (a percentage), 'count', 'token', 'neuron' or 'words'.
    `group` is what the number is about. `shown` names the places that show it: 'list' (lists of neurons, unless other
    columns are asked for), 'index' (which also filters by it), 'layer' (which also sorts by it), 'compare', 'terminal',
    and 'strip', the few figures at the head of a neuron's page. `first` is the initial order when a list is sorted by
    it. `meaning` is for a column that the table does not have: lists add it to their rows, and do not sort by it.
    `fixed` are the decimals of a number that has a scale of its own. Magnitudes below `noise` are rounding errors of a
    number that is 0: they are shown as 0 and have no percentile.
    """

    name: str
    form: str = "number"
    group: str = ""
    shown: tuple[str, ...] = ()
    words: str = ""
    first: str = "desc"
    meaning: str = ""
    fixed: int | None = None
    noise: float = 0.0

    @cached_property
    def label(self) -> str:
        """Its name in words."""
        return self.words or self.name.replace("_", " ")

    @cached_property
    def number(self) -> bool:
        """Whether it holds a quantity, which has percentiles and is aligned right."""
        return self.form not in ("token", "neuron", "words")

    @cached_property
    def whole(self) -> bool:
        """Whether its values are whole numbers."""
        return self.form in ("token", "neuron", "count")

    @cached_property
    def field(self) -> str:
        """The field of the record Neuron (of Glance: one with a meaning of its own) that holds it."""
        return self.name.removesuffix("_id") if self.form == "token" else self.name

    def show(self, value: float | int | None, decimals: int | None = None) -> str:
        """A number of the column as text, to `decimals` or to four digits (shares: three); `–` for None."""
        if value is not None and self.is_noise(value):
            return "0"
        if value is None or decimals is None or self.form == "count":
            return show_share(value) if self.form == "share" else show_number(value)
        return f"{show_decimals(100 * value, decimals)}%" if self.form == "share" else show_decimals(value, decimals)

    def is_noise(self, value: float) -> bool:
        """Whether a value is a rounding error of 0."""
        return abs(value) < self.noise

    def decimals(self, values: Iterable[float | int | None]) -> int:
        """Decimals for all of a list's values, which give the greatest of them four digits (shares: three)."""
        if self.fixed is not None:
            return self.fixed
        if self.form == "share":
            return column_decimals((None if value is None else 100 * value for value in values), 3)
        return column_decimals(values)


_LISTS = ("list", "index", "layer")
_TABLES = ("index", "layer", "compare", "terminal")
_EVERYWHERE = (*_TABLES, "strip")

COLUMNS = (
    Column("neuron_id", "neuron", "id", ("list", "index"), "neuron", "asc"),
    Column("index", "neuron", "place", ("layer",), "neuron", "asc"),
    Column("best_token_id", "token", "congruence", _LISTS, "best token", "asc"),
    Column("best_congruence", "signed", "congruence", ("list", *_EVERYWHERE)),
    Column("token_gap", "number", "congruence", ("list", *_EVERYWHERE)),
    Column("worst_token_id", "token", "congruence", ("index", "layer"), "worst token", "asc"),
    Column("worst_congruence", "signed", "congruence", _EVERYWHERE, first="asc"),
    Column("token_gap_bottom", "number", "congruence", _TABLES),
    Column("hub_count", "count", "congruence", _TABLES),
    Column("mean_congruence", "signed", "congruence", ("compare",)),
    Column("congruence_mean", "signed", "congruence", noise=1e-5),
    Column("congruence_std", "number", "congruence"),
    Column("congruence_skewness", "signed", "congruence"),
    Column("congruence_kurtosis", "number", "congruence", ("list", "index", "layer", "compare", "strip")),
    Column("w_in_norm", "number", "weights", ("compare",), "input norm"),
    Column("w_gate_norm", "number", "weights", (), "gate norm"),
    Column("w_out_norm", "number", "weights", _EVERYWHERE, "output norm"),
    Column("in_out_cosine", "signed", "weights", ("index", "compare", "terminal", "strip"), "in-out cosine", fixed=3),
    Column("gate_out_cosine", "signed", "weights", (), "gate-out cosine", fixed=3),
    Column("activation_min", "signed", "activation", ("list", *_TABLES), first="asc"),
    Column("activation_mean", "signed", "activation", ("compare", "terminal")),
    Column("activation_max", "signed", "activation", ("list", *_TABLES)),
    Column("activation_std", "number", "activation", _TABLES),
    Column("activation_skewness", "signed", "activation"),
    Column("activation_kurtosis", "number", "activation", ("index", "compare")),
    Column("positive_fraction", "share", "activation", _TABLES),
    Column("unembedding_null_fraction", "share", "entropy", ("index",), "null fraction"),
    Column("entropy_change", "signed", "entropy", ("index",)),
    Column("entropy_change_by_norm", "signed", "entropy", (), "entropy change by norm"),
    Column("unigram_divergence_change", "signed", "entropy", ("index",)),
    Column("n_ablated", "count", "entropy", (), "positions ablated"),
)
"""All columns, in the order of every list. The table's `layer`, `name` and `dead` are not shown as columns."""

COLUMN = {column.name: column for column in COLUMNS}
"""By name."""


GLANCE_COLUMNS = (
    Column(
        "verdict",
        "words",
        "glance",
        _LISTS,
        meaning="Its verdict in a few words: the token that its firing predicts, or that it writes where it fires.",
    ),
    Column(
        "auroc",
        "number",
        "glance",
        _LISTS,
        "AUROC",
        fixed=2,
        meaning="Area under the ROC curve of its activation as a predictor of positions at which the model predicts "
        "the verdict's token; 0.5 is chance. Empty: no token, or too few positions.",
    ),
    Column(
        "fires_on",
        "token",
        "glance",
        _LISTS,
        "fires on",
        meaning="The token on which it fires in most of its top texts, on the side of the verdict; “various” where "
        "that is fewer than three texts.",
    ),
    Column(
        "attribution",
        "number",
        "glance",
        ("index",),
        meaning="Mean magnitude of its attribution: how far, on the mean over positions, the logit of what the model "
        "predicts would move if the neuron were set to its mean. Empty: attribution was off.",
    ),
)
"""Columns that lists of neurons add to those of the table; see the record Glance."""

LIST_COLUMNS = (COLUMNS[0], *GLANCE_COLUMNS, *(column for column in COLUMNS[1:] if "index" in column.shown))
"""All columns that a list of neurons can show, in order."""

USUAL_COLUMNS = tuple(column for column in LIST_COLUMNS if "list" in column.shown)
"""Those that it shows unless others are asked for."""


def columns_of(place: str) -> tuple[Column, ...]:
    """The columns that a place shows, in order."""
    return tuple(column for column in COLUMNS if place in column.shown)


def column_names(columns: tuple[Column, ...], *, numbers: bool = False) -> tuple[str, ...]:
    """Names of columns; with `numbers` only of those that hold quantities."""
    return tuple(column.name for column in columns if column.number or not numbers)
