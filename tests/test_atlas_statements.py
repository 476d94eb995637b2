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
        "WHERE layer = $layer AND name <> $name AND neuron_id IN $ids"
    )
    values = {"layer": 1, "name": "it's", "ids": [100, 105, 110]}
    with open_atlas(tiny_gpt2_atlas) as atlas:
        rows = statement.rows(atlas, **values)
        assert rows
        assert list(atlas.query(statement.shown(**values)).rows) == list(rows)
    with pytest.raises(KeyError):
        statement.shown(layer=1)


def test_parts_for_readers_are_shown_and_not_run(tiny_gpt2_atlas):
    statement = Statement(
        'SELECT l.rank/*+, t."text" AS token, $word AS word*/\n'
        "FROM neuron_token AS l/*+ JOIN token AS t USING (token_id)*/\n"
        "WHERE l.neuron_id = $neuron_id /* for all */ AND l.rank <= 3 AND l.direction = 'top'/*+\nORDER BY l.rank*/"
    )
    with open_atlas(tiny_gpt2_atlas) as atlas:
        assert sorted(statement.rows(atlas, neuron_id=7)) == [(1,), (2,), (3,)]
        answer = atlas.query(statement.shown(neuron_id=7, word="$rank"))
    assert answer.columns == ("rank", "token", "word")
    assert [(row[0], row[2]) for row in answer.rows] == [(1, "$rank"), (2, "$rank"), (3, "$rank")]
