"""What the URL of a ranking says: which pairs or tokens, in which order, which page. Read from it and written."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Any

from flask import request

from atlas import Atlas
from atlas.core.display import read_shown
from atlas.topics.pair import RankingFilter
from web.site.errors import BadRequestError

PER_PAGE = 100

_NUMBER = re.compile(r"-?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][-+]?[0-9]{1,3})?")


@dataclass(frozen=True, kw_only=True)
class Ranking:
    """All that a ranking depends on; `parameters` is the same as the URL has it, but for the page."""

    where: RankingFilter
    sort: str
    order: str
    page: int
    parameters: dict[str, Any]

    @property
    def shown(self) -> dict[str, Any]:
        """How the page's rows are sorted, and which they are: arguments of a ranking's query."""
        return self.rows(PER_PAGE, (self.page - 1) * PER_PAGE)

    def rows(self, limit: int, offset: int) -> dict[str, Any]:
        """The same of other rows."""
        return {"sort": self.sort, "descending": self.order == "desc", "limit": limit, "offset": offset}


def read_ranking(atlas: Atlas, sorts: tuple[str, ...], score: str) -> Ranking:
    """The ranking that the query string says: sorted by the first of `sorts` unless it says otherwise, ranks ascending
    and all else descending; `score` is what `min_{score}` bounds. An empty parameter, as of a form's, says nothing.

    Raises:
        BadRequestError: a value is malformed or out of range.
    """
    last = atlas.info.n_layers - 1
    layers = [_whole(name, f"a layer, 0 to {last}", last) for name in ("layer_min", "layer_max")]
    if None not in layers and layers[0] > layers[1]:
        raise BadRequestError(f"layer_min={layers[0]} is above layer_max={layers[1]}: expected it not to be.")
    sort = _choice("sort", sorts) or sorts[0]
    usual = "asc" if sort == "rank" else "desc"
    order = _choice("order", ("desc", "asc")) or usual
    every = _choice("all", ("0", "1")) == "1"
    token = request.args.get("token") or None
    predicted, least = _whole("min_predicted", "a whole number from 0"), _number(f"min_{score}")
    parameters = {
        "all": 1 if every else None,
        "layer_min": layers[0],
        "layer_max": layers[1],
        "token": token,
        "min_predicted": predicted,
        f"min_{score}": least,
        "sort": None if sort == sorts[0] else sort,
        "order": None if order == usual else order,
    }
    page = _whole("page", "a whole number from 1", least=1) or 1
    return Ranking(
        where=RankingFilter(
            every=every,
            layer_min=layers[0],
            layer_max=layers[1],
            token=None if token is None else read_shown(token),
            min_predicted=predicted,
            min_score=least,
        ),
        sort=sort,
        order=order,
        page=page,
        parameters={name: value for name, value in parameters.items() if value is not None},
    )


def _wrong(name: str, text: str, expected: str) -> BadRequestError:
    return BadRequestError(f"{name}={text!r} is not right: expected {expected}.")


def _choice(name: str, choices: tuple[str, ...]) -> str | None:
    text = request.args.get(name) or None
    if text is not None and text not in choices:
        raise _wrong(name, text, f"one of {', '.join(choices)}")
    return text


def _whole(name: str, expected: str, most: int = 2**31 - 1, least: int = 0) -> int | None:
    text = request.args.get(name) or None
    if text is None:
        return None
    if not re.fullmatch("[0-9]{1,10}", text) or not least <= int(text) <= most:
        raise _wrong(name, text, expected)
    return int(text)


def _number(name: str) -> float | None:
    text = request.args.get(name) or None
    if text is None:
        return None
    if not _NUMBER.fullmatch(text) or not math.isfinite(float(text)):
        raise _wrong(name, text, "a number")
    return int(text) if re.fullmatch("[0-9]{1,15}", text) else float(text)
