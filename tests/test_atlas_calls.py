"""Calls: made from a function's signature, its records of filters and its hints; every topic's are listed."""

from __future__ import annotations

import importlib
import pkgutil
from dataclasses import dataclass
from typing import Annotated

import pytest

import atlas.topics
from atlas.api.calls import CALLS, TOPICS
from atlas.core.call import OF_ATLAS, Page, call, calls_of
from atlas.core.errors import ParameterError
from atlas.core.parameter import BoundsOf, Choice, Limit, Offset, Order, TokenId, Whole
from atlas.core.units import Bound, Listing


@dataclass(frozen=True, kw_only=True)
class Fruit:
    """A fruit."""

    least: Annotated[int, Whole("Least weight.")] | None = None
    bounds: Annotated[tuple[Bound, ...], BoundsOf("this", ("weight", "n"), frozenset({"n"}))] = ()


@call(OF_ATLAS + "/tokens/{token}/fruit", name="fruit", python="demo.token({token}).fruit()")
def ranked_fruit(
    atlas: object,
    token_id: TokenId,
    where: Annotated[Fruit, {"least": Whole("Least weight.", name="min_weight")}],
    *,
    sort: Annotated[str, Choice("Column that sorts.", ("weight", "n"))] = "weight",
    descending: Order = True,
    offset: Offset = 0,
    limit: Limit = 2,
    precision: int = 3,
) -> Listing[Fruit]:
    """Fruit by weight.

    Raises:
        TokenError: the id is out of range.
    """
    rows = [(token_id, where, sort, descending, precision)] * 5
    return Listing(tuple(rows[offset : offset + limit]), 5, offset, limit)


FRUIT = ranked_fruit.call


def test_parameters_are_read_from_the_signature():
    assert [d.name for d in FRUIT.parameters] == [
        "token",
        "min_weight",
        "sort",
        "order",
        "after",
        "limit",
        "weight.gte",
        "weight.lte",
        "n.gte",
        "n.lte",
    ]
    by_name = {d.name: d for d in FRUIT.parameters}
    assert by_name["token"].in_path
    assert by_name["token"].required
    assert [by_name[name].default for name in ("order", "after", "limit")] == ["desc", 0, 2]
    assert (FRUIT.name, FRUIT.summary, FRUIT.answer, FRUIT.row) == ("fruit", "Fruit by weight.", Page[Fruit], Fruit)


def test_a_call_hands_on_what_a_url_says():
    texts = {"token": "7", "min_weight": "3", "order": "asc", "weight.gte": "0.5", "n.lte": "9", "limit": "1"}
    page = FRUIT.ask({}, texts)
    where = Fruit(least=3, bounds=(Bound("weight", "gte", 0.5), Bound("n", "lte", 9)))
    assert page == Page(((7, where, "weight", False, 3),), 5, "1")
    assert FRUIT.ask({}, {"token": "7", "after": "4"}).after is None


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        ({}, "token is missing; expected a whole number"),
        ({"token": "7", "precision": "4"}, "There is no parameter 'precision' here"),
        ({"token": "7", "order": "up"}, "order='up' is invalid: expected one of asc, desc"),
        ({"token": "7", "n.gte": "1.5"}, "n.gte='1.5' is invalid: expected a whole number"),
    ],
)
def test_what_a_call_refuses(texts, message):
    with pytest.raises(ParameterError, match=message):
        FRUIT.ask({}, texts)


def test_every_topic_is_listed():
    walked = pkgutil.walk_packages(atlas.topics.__path__, "atlas.topics.")
    modules = {info.name: importlib.import_module(info.name) for info in walked}
    having = {name for name, module in modules.items() if hasattr(module, "TERMS") or list(calls_of(module))}
    assert having == {module.__name__ for module in TOPICS}
    assert sum(len(list(calls_of(module))) for module in TOPICS) + 1 == len(CALLS)  # and the glossary
