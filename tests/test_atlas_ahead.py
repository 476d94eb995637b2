"""What is read ahead for a range of ids is what each id's own query answers."""

from __future__ import annotations

import importlib
import pkgutil

import pytest

import atlas.topics
from atlas import open_atlas
from atlas.core.ahead import Ahead
from atlas.core.statements import Statement
from atlas.topics.neuron import neurons_by_id

NAMES = [module.name for module in pkgutil.walk_packages(atlas.topics.__path__, "atlas.topics.")]
MODULES = [importlib.import_module(name) for name in NAMES]
STATEMENTS = {
    f"{module.__name__.removeprefix('atlas.topics.')}.{name}": value
    for module in MODULES
    for name, value in vars(module).items()
    if isinstance(value, Statement) and value.each is not None
}
IDS = range(3, 41)


def test_statements_that_can_be_read_ahead():
    assert len(STATEMENTS) > 15


@pytest.fixture(scope="module")
def ahead(optional_atlas):
    with open_atlas(optional_atlas) as plain, open_atlas(optional_atlas) as reading:
        reading.ahead = Ahead(reading)
        yield plain, reading


@pytest.mark.parametrize("statement", STATEMENTS.values(), ids=STATEMENTS)
def test_a_range_has_the_rows_of_each_id(ahead, statement):
    plain, reading = ahead
    name = "neuron_id" if "neuron_id" in statement.each else "token_id"
    others = {"kind": "max"} if "$kind" in statement.sql else {}
    reading.ahead.turn_to(name, IDS)
    for one in (*IDS, IDS[-1] + 1):
        assert statement.rows(reading, **{name: one}, **others) == statement.rows(plain, **{name: one}, **others)


def test_records_are_made_once_and_the_same(ahead):
    plain, reading = ahead
    assert neurons_by_id(reading, [5, 3, 999_999, 5]) == neurons_by_id(plain, [3, 5])
    assert neurons_by_id(reading, [3])[3] is neurons_by_id(reading, [7, 3])[3]
    assert neurons_by_id(plain, [3])[3] is not neurons_by_id(plain, [3])[3]
