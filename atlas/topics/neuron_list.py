"""The index of neurons: selections, and pages of them by cursor."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import sqlalchemy as sa

from atlas.core.db import Atlas
from atlas.core.errors import QueryError
from atlas.core.parameter import Cursor
from atlas.core.statements import Composed
from atlas.core.units import Bound
from atlas.topics.kind import KINDS, kind_ids
from atlas.topics.neuron import NEURON_COLUMNS, Neuron, make_neuron
from atlas.topics.neuron_columns import column_names, columns_of


@dataclass(frozen=True)
class NeuronSelection:
    """A selection of neurons: those that meet every condition that is not None; layer ranges include both ends.

    `exclusive` is 'top' or 'bottom' (in an exclusive pair of that direction), 'any' (of either) or 'none'; `kind` is
    'prediction', 'suppression', 'partition', 'other' (none of these), 'hub', 'detector' or 'entropy'.
    """

    layer_min: int | None = None
    layer_max: int | None = None
    best_token_id: int | None = None
    worst_token_id: int | None = None
    dead: bool | None = None
    exclusive: str | None = None
    kind: str | None = None
    bounds: tuple[Bound, ...] = ()


@dataclass(frozen=True)
class NeuronIndex:
    """A page of a selection: `rows` from place `offset` of `total`; the cursors of its neighbours, None at the ends."""

    rows: tuple[Neuron, ...]
    total: int
    offset: int
    next: Cursor | None
    previous: Cursor | None


NEURON_TABLE = sa.table("neuron", *(sa.column(name) for name in NEURON_COLUMNS))
_TEXT = sa.table("token", sa.column("token_id"), sa.column("text"))
KIND_TABLE = sa.table("neuron_kind", sa.column("neuron_id"), sa.column("kind"), sa.column("hub"), sa.column("entropy"))
DETECTOR_TABLE = sa.table("token_detector", sa.column("neuron_id"))
PAIR_TABLE = sa.table("exclusive_pair", sa.column("neuron_id"), sa.column("direction"))

_SHOWN = columns_of("index")

RANGE_COLUMNS = column_names(_SHOWN, numbers=True)
"""Columns that a Bound may bound."""

INDEX_SORTS = column_names(_SHOWN)
"""Columns by which the index sorts, in the order in which it shows them."""

WHOLE_COLUMNS = frozenset(column.name for column in _SHOWN if column.whole)
"""Those of them that hold whole numbers."""

EXCLUSIVE = ("top", "bottom", "any", "none")
"""Values of NeuronSelection.exclusive."""

EXPORT_COLUMNS = tuple(
    name for column in NEURON_COLUMNS for name in ((column, column[:-3]) if column.endswith("token_id") else (column,))
)
"""Columns of `neuron_rows`: those of the table `neuron`, with the text of each token after its id."""


def neuron_conditions(selection: NeuronSelection) -> list[sa.ColumnElement[bool]]:
    """The conditions of a selection, in terms of NEURON_TABLE.

    Raises:
        QueryError: a bound names no column of RANGE_COLUMNS, or `exclusive` or `kind` is an unknown word.
    """
    n = NEURON_TABLE.c
    conditions = []
    if selection.layer_min is not None:
        conditions.append(n.layer >= selection.layer_min)
    if selection.layer_max is not None:
        conditions.append(n.layer <= selection.layer_max)
    if selection.best_token_id is not None:
        conditions.append(n.best_token_id == selection.best_token_id)
    if selection.worst_token_id is not None:
        conditions.append(n.worst_token_id == selection.worst_token_id)
    if selection.dead is not None:
        conditions.append(n.dead if selection.dead else sa.not_(n.dead))
    if selection.exclusive is not None:
        conditions.append(_exclusive(selection.exclusive))
    if selection.kind is not None:
        conditions.append(_kind(selection.kind))
    for bound in selection.bounds:
        if bound.column not in RANGE_COLUMNS:
            raise QueryError(f"Cannot bound neurons by {bound.column!r}; bound one of {', '.join(RANGE_COLUMNS)}.")
        column = n[bound.column]
        conditions.append(column >= bound.value if bound.op == "gte" else column <= bound.value)
    return conditions


def known_conditions(atlas: Atlas, selection: NeuronSelection) -> list[sa.ColumnElement[bool]]:
    """As `neuron_conditions`, with token detectors by their ids, which are in memory: computing them takes 0.1 s, and a
    page runs several queries.

    Raises:
        QueryError: as `neuron_conditions`.
    """
    if selection.kind != "detector":
        return neuron_conditions(selection)
    return [
        *neuron_conditions(replace(selection, kind=None)),
        NEURON_TABLE.c.neuron_id.in_(kind_ids(atlas, "detector")),
    ]


def neurons_statement(
    atlas: Atlas,
    selection: NeuronSelection,
    columns: Sequence[str] = INDEX_SORTS,
    *,
    sort: str,
    descending: bool,
    limit: int,
    offset: int = 0,
) -> Composed:
    """A page of the neurons of a selection: rows of NEURON_COLUMNS. The SQL for people shows `columns`, with names and
    texts in place of ids.

    Raises:
        QueryError: the selection names no column (see `neuron_conditions`).
    """
    n, best, worst = NEURON_TABLE.c, _TEXT.alias("best").c, _TEXT.alias("worst").c
    names = {
        "neuron_id": n.name.label("neuron"),
        "index": n.name.label("neuron"),
        "best_token_id": best.text.label("best_token"),
        "worst_token_id": worst.text.label("worst_token"),
    }
    joined = NEURON_TABLE.join(best.text.table, best.token_id == n.best_token_id)
    joined = joined.join(worst.text.table, worst.token_id == n.worst_token_id)
    order = ((n[sort].desc() if descending else n[sort].asc()).nulls_last(), n.neuron_id)

    def page(select: sa.Select, conditions: list[sa.ColumnElement[bool]]) -> sa.Select:
        return select.where(*conditions).order_by(*order).limit(limit).offset(offset or None)

    return Composed(
        page(sa.select(*n), known_conditions(atlas, selection)),
        page(sa.select(*(names.get(c, n[c]) for c in columns)).select_from(joined), neuron_conditions(selection)),
    )


def page_of_neurons(
    atlas: Atlas,
    selection: NeuronSelection,
    total: int,
    *,
    sort: str = "best_congruence",
    descending: bool = True,
    after: Cursor | None = None,
    before: Cursor | None = None,
    limit: int = 100,
) -> NeuronIndex:
    """The neurons of a selection that come next `after` a cursor, or last `before` one; neither: the first ones.

    `total` is how many neurons the selection has (`neuron_facets` counts them). A page that starts past an end is
    empty and has no neighbours.

    Raises:
        QueryError: `sort` is no column of INDEX_SORTS, or the selection names no column.
    """
    rows = _rows(atlas, selection, sort, descending, after=after, before=before, limit=limit)
    if not rows:
        return NeuronIndex((), total, 0, None, None)
    neurons = tuple(make_neuron(atlas, row) for row in rows)
    first, last = _cursor(rows[0], sort), _cursor(rows[-1], sort)
    offset = 0
    if after is not None or before is not None:
        ahead = _beyond(sort, descending, first, forward=False)
        count = sa.select(sa.func.count()).select_from(NEURON_TABLE).where(*known_conditions(atlas, selection), ahead)
        offset = atlas.select(count)[0][0]
    more = offset + len(neurons) < total
    return NeuronIndex(neurons, total, offset, last if more else None, first if offset else None)


def neuron_rows(
    atlas: Atlas, selection: NeuronSelection, *, sort: str = "best_congruence", descending: bool = True
) -> Iterator[tuple]:
    """Every neuron of a selection as a row of EXPORT_COLUMNS, in order, with a few thousand in memory at a time.

    Raises:
        QueryError: `sort` is no column of INDEX_SORTS, or the selection names no column.
    """
    tokens, width = atlas.tokens, len(NEURON_COLUMNS)
    places = [place for place in range(width) if NEURON_COLUMNS[place].endswith("token_id")]
    after = None
    while rows := _rows(atlas, selection, sort, descending, after=after, limit=_BATCH):
        for row in rows:
            wide = list(row)
            for place in reversed(places):  # from the right: an insertion moves only what is already done
                wide.insert(place + 1, tokens[row[place]].text)
            yield tuple(wide)
        after = _cursor(rows[-1], sort)


_BATCH = 8192


def _exclusive(word: str) -> sa.ColumnElement[bool]:
    if word not in EXCLUSIVE:
        raise QueryError(f"Cannot select neurons by exclusive {word!r}; expected one of {', '.join(EXCLUSIVE)}.")
    pairs = sa.select(PAIR_TABLE.c.neuron_id)
    if word in ("top", "bottom"):
        pairs = pairs.where(PAIR_TABLE.c.direction == word)
    return NEURON_TABLE.c.neuron_id.not_in(pairs) if word == "none" else NEURON_TABLE.c.neuron_id.in_(pairs)


def _kind(word: str) -> sa.ColumnElement[bool]:
    if word not in KINDS:
        raise QueryError(f"Cannot select neurons by kind {word!r}; expected one of {', '.join(KINDS)}.")
    k = KIND_TABLE.c
    if word == "detector":
        return NEURON_TABLE.c.neuron_id.in_(sa.select(DETECTOR_TABLE.c.neuron_id))
    condition = k[word] if word in ("hub", "entropy") else k.kind.is_(None) if word == "other" else k.kind == word
    return NEURON_TABLE.c.neuron_id.in_(sa.select(k.neuron_id).where(condition))


def _cursor(row: tuple, sort: str) -> Cursor:
    return Cursor(row[NEURON_COLUMNS.index(sort)], row[NEURON_COLUMNS.index("neuron_id")])


def _beyond(sort: str, descending: bool, cursor: Cursor, *, forward: bool) -> sa.ColumnElement[bool]:
    """The condition of the neurons after a cursor (`forward`) or before it."""
    column, neuron_id = NEURON_TABLE.c[sort], NEURON_TABLE.c.neuron_id
    tie = neuron_id > cursor.neuron_id if forward else neuron_id < cursor.neuron_id
    if cursor.value is None:  # NULLs come last: everything that is not NULL comes before
        return column.is_(None) & tie if forward else column.is_not(None) | tie
    past = column < cursor.value if descending == forward else column > cursor.value
    beyond = past | ((column == cursor.value) & tie)
    return beyond | column.is_(None) if forward else beyond


def _rows(
    atlas: Atlas,
    selection: NeuronSelection,
    sort: str,
    descending: bool,
    *,
    after: Cursor | None = None,
    before: Cursor | None = None,
    limit: int,
) -> list[tuple]:
    """Rows of NEURON_COLUMNS, in the list's order for either direction of search."""
    if sort not in INDEX_SORTS:
        raise QueryError(f"Cannot sort neurons by {sort!r}; sort by one of {', '.join(INDEX_SORTS)}.")
    n = NEURON_TABLE.c
    statement = neurons_statement(atlas, selection, sort=sort, descending=descending, limit=limit).select
    for cursor, forward in ((after, True), (before, False)):
        if cursor is not None:
            statement = statement.where(_beyond(sort, descending, cursor, forward=forward))
    if before is None:
        return [tuple(row) for row in atlas.select(statement)]
    column = n[sort].asc() if descending else n[sort].desc()
    rows = atlas.select(statement.order_by(None).order_by(column.nulls_first(), n.neuron_id.desc()))
    return [tuple(row) for row in reversed(rows)]
