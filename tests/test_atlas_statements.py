"""A statement answers the same whether it is run with parameters or as the text that is shown."""

from __future__ import annotations

import duckdb
import pytest

from atlas import open_atlas
from atlas.core.statements import Statement, literal


@pytest.mark.parametrize(
    "value", [None, True, False, 0, -7, 0.1, 1e300, -0.0, float("inf"), "it's", "a $name", "\\", [1, 2], [], ["a'b"]]
)
def test_a_literal_is_the_value(value):
    (answer,) = duckdb.execute(f"SELECT {literal(value)}").fetchone()
    assert answer == value
    assert type(answer) is type(value)


def test_a_value_without_a_literal_is_refused():
    with pytest.raises(TypeError, match="no literal in SQL"):
        literal(object())


def test_what_is_shown_answers_what_runs(tiny_gpt2_atlas):
    statement = Statement(
        'SELECT name, \'$layer\' AS plain, "index" AS "$layer" -- $layer\nFROM neuron\n'
        "WHERE layer >= $layer AND name <> $name AND neuron_id IN $ids"
    )
    values = {"layer": 0, "name": "it's", "ids": [3, 5, 7]}
    with open_atlas(tiny_gpt2_atlas) as atlas:
        rows = statement.rows(atlas, **values)
        assert rows
        assert list(atlas.query(statement.shown(**values)).rows) == list(rows)
    with pytest.raises(KeyError):
        statement.shown(layer=1)
