"""The declaration of a ranking, and what the URL of one asks for. `ranking_page` makes the views of it."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from flask import request

from atlas import Atlas
from atlas.core.display import column_decimals, read_shown
from atlas.core.info import AtlasInfo
from atlas.core.statements import Composed
from atlas.core.units import Listing
from atlas.topics.pair import RankingFilter
from web.site.errors import BadRequestError
from web.site.page import query_choice, query_int

_NUMBER = re.compile(r"-?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][-+]?[0-9]{1,3})?")


@dataclass(frozen=True)
class Choice:
    """A parameter with few values: each value and its label, the usual one first; it is offered if there are two.

    `also` are values that are read and not offered; `resets`: another value starts from the usual order.
    """

    name: str
    options: tuple[tuple[str | int, str], ...]
    also: tuple[str, ...] = ()
    resets: bool = False

    @property
    def usual(self) -> str | int:
        """The value where the URL has none."""
        return self.options[0][0]


EVERY = Choice("all", ((0, "ordinary tokens that occur"), (1, "every token")))
"""Every ranking's choice, the last."""

ORDER = ("direction", "side", "outcome", "exclusive", "columns", "all")
"""The order of choices in a URL."""


@dataclass(frozen=True)
class Column:
    """A column of the table: the rows' attribute `name`; it sorts if it is one of the ranking's sorts.

    `kind` says how a cell is shown: 'place' (in the list, from 1), 'number', 'metric' (0 to 1), 'signed', 'neuron',
    'curve' (the neuron, with the row's token first), 'token', 'side', 'family' (the row's family gap), or 'estimate'
    (the row's attribution with its standard error).
    `title` is the definition; None: the schema's.
    """

    name: str
    label: str
    kind: str = "number"
    title: str | None = None

    def decimals(self, rows: Iterable[Any]) -> int:
        """Decimals of its numbers, the same in all rows of a page."""
        if self.kind not in ("number", "signed"):
            return 3
        return column_decimals(getattr(row, self.name) for row in rows)


@dataclass(frozen=True)
class Sentence:
    """A text, and after it a link to another view of the atlas."""

    text: str
    link: str = ""
    view: str | None = None
    query: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Words:
    """What the page says: `note` above the table, `footnote` below."""

    lede: Sentence
    note: Sentence | None = None
    footnote: Sentence | None = None
    csv: str = "The whole selection as"


@dataclass(frozen=True, kw_only=True)
class Asked:
    """All that a page depends on: `chosen` holds the value of each choice, `sorts` the columns to sort by; `parameters`
    is the same as the URL has it, but for the page."""

    choices: tuple[Choice, ...]
    chosen: dict[str, Any]
    where: RankingFilter
    sorts: tuple[str, ...]
    sort: str
    order: str
    page: int
    parameters: dict[str, Any]

    @property
    def sorting(self) -> dict[str, Any]:
        """Arguments of a query that sort its rows."""
        return {"sort": self.sort, "descending": self.order == "desc"}


@dataclass(kw_only=True)
class Ranking:
    """A ranking of pairs or tokens: everything that its page, its JSON and its CSV are made from.

    `chosen` holds the values of the choices, by name. `listing` and `statement` are called with the atlas, what
    `where` makes of the URL, and `sort`, `descending`, `limit`, `offset`. `more` adds fields to a RankingPage.
    """

    name: str
    """The path, the view and the file."""
    title: str
    rows: str
    """What the rows are called in JSON and among the panels of SQL."""
    counted: str
    """What the heading counts."""
    table: str
    """Table or view of the schema that defines the columns."""
    score: str
    """What `min_{score}` bounds."""
    score_label: str
    choices: Callable[[AtlasInfo], tuple[Choice, ...]]
    sorts: Callable[[dict[str, Any]], tuple[str, ...]]
    """Columns to sort by, the usual one first."""
    columns: Callable[[AtlasInfo, dict[str, Any]], tuple[Column, ...]]
    words: Callable[[AtlasInfo, dict[str, Any]], Words]
    where: Callable[[Asked], tuple[Any, ...]]
    listing: Callable[..., Listing]
    statement: Callable[..., Composed]
    csv: str
    """Columns of the CSV, with spaces between."""
    chunk: int
    """Rows of a query for the CSV."""
    more: Callable[[Atlas, Ranking, Asked, Listing], dict[str, Any]] = lambda *_: {}
    data: Callable[[Any], dict[str, Any]] = lambda _: {}
    """JSON that other rankings do not have, of a RankingPage."""

    def find(self, atlas: Atlas, asked: Asked, limit: int, offset: int) -> Listing:
        """Some of the rows."""
        return self.listing(atlas, *self.where(asked), **asked.sorting, limit=limit, offset=offset)


def read_ranking(atlas: Atlas, ranking: Ranking) -> Asked:
    """What the query string asks for: the usual sort unless it says otherwise, ranks ascending and all else descending.
    An empty parameter, as of a form's, says nothing.

    Raises:
        BadRequestError: a value is malformed or out of range.
    """
    choices, last = (*ranking.choices(atlas.info), EVERY), atlas.info.n_layers - 1
    chosen = {choice.name: _chosen(choice) for choice in choices}
    sorts, score = ranking.sorts(chosen), f"min_{ranking.score}"
    layers = [_whole(name, most=last, expected=f"a layer, 0 to {last}") for name in ("layer_min", "layer_max")]
    if None not in layers and layers[0] > layers[1]:
        raise BadRequestError(f"layer_min={layers[0]} is above layer_max={layers[1]}: expected it not to be.")
    sort = _word("sort", sorts) or sorts[0]
    usual = "asc" if sort == "rank" else "desc"
    order = _word("order", ("desc", "asc")) or usual
    token = request.args.get("token") or None
    predicted, least = _whole("min_predicted"), _number(score)
    unusual = {choice.name: chosen[choice.name] for choice in choices if chosen[choice.name] != choice.usual}
    parameters = {name: unusual.get(name) for name in ORDER} | {
        "layer_min": layers[0],
        "layer_max": layers[1],
        "token": token,
        "min_predicted": predicted,
        score: least,
        "sort": None if sort == sorts[0] else sort,
        "order": None if order == usual else order,
    }
    return Asked(
        choices=choices,
        chosen=chosen,
        where=RankingFilter(
            every=chosen["all"] == 1,
            layer_min=layers[0],
            layer_max=layers[1],
            token=None if token is None else read_shown(token),
            min_predicted=predicted,
            min_score=least,
        ),
        sorts=sorts,
        sort=sort,
        order=order,
        page=_whole("page", least=1) or 1,
        parameters={name: value for name, value in parameters.items() if value is not None},
    )


def _word(name: str, words: Iterable[str]) -> str | None:
    return query_choice(name, tuple(filter(None, words)), "") if request.args.get(name) else None


def _chosen(choice: Choice) -> str | int:
    values = {str(value): value for value in (*(value for value, _ in choice.options), *choice.also)}
    word = _word(choice.name, values)
    return choice.usual if word is None else values[word]


def _whole(name: str, **bounds: Any) -> int | None:
    return query_int(name, None, **bounds) if request.args.get(name) else None


def _number(name: str) -> float | None:
    text = request.args.get(name) or None
    if text is None:
        return None
    if not _NUMBER.fullmatch(text) or not math.isfinite(float(text)):
        raise BadRequestError(f"{name}={text!r} is invalid: expected a number.")
    return int(text) if re.fullmatch("[0-9]{1,15}", text) else float(text)
