"""A statement answers the same whether it is run with parameters or as the text that is shown."""

from __future__ import annotations

from pathlib import Path

import duckdb
import pytest
import sqlalchemy as sa

from atlas import open_atlas
from atlas.core.statements import ANSWERED_FROM_MEMORY, Composed, Statement, literal, where


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


def test_values_of_a_composed_query_read_back():
    texts = ["it's", "100%", "back\\slash", 'quo"te', "ORDER  BY\nLIMIT x FROM y", ":name $name", "é\u202e"]
    numbers = [0.1, -2.5e-7, 1e300, 16777217.0, 5]
    columns = [sa.literal(value).label(f"c{place}") for place, value in enumerate([*texts, *numbers])]
    written = Composed(sa.select(*columns).where(sa.literal(1) == 1).limit(1)).shown()
    assert duckdb.execute(written).fetchone() == (*texts, *numbers)
    assert written.splitlines()[-2:] == ["WHERE 1 = 1", "LIMIT 1"]


def test_conditions_have_a_line_each():
    a, b = sa.column("a"), sa.column("b")
    assert where([]) == ""
    assert where([a > 0.5, (b == "x") | b.is_(None)], "  ") == "\n  WHERE a > 0.5e0\n    AND (b = 'x' OR b IS NULL)"


def test_a_subquery_has_its_lines_indented():
    t = sa.table("token", sa.column("token_id"), sa.column("text"))
    page = sa.select(t).where(t.c.text == "FROM (SELECT", t.c.token_id.in_([1, 2])).limit(1).subquery("p")
    assert (
        Composed(sa.select(page.c.text).order_by(page.c.text)).shown()
        == """SELECT p.text
FROM (
    SELECT token.token_id AS token_id, token.text AS text
    FROM token
    WHERE token.text = 'FROM (SELECT'
      AND token.token_id IN (1, 2)
    LIMIT 1
) AS p
ORDER BY p.text"""
    )


def test_people_read_names(tiny_gpt2_atlas):
    t = sa.table("token", sa.column("token_id"), sa.column("text"))
    statement = Composed(sa.select(t.c.token_id).limit(1), named=sa.select(t.c.text).limit(1))
    assert statement.shown() == "SELECT token.text\nFROM token\nLIMIT 1"
    with open_atlas(tiny_gpt2_atlas) as atlas:
        assert len(statement.rows(atlas)) == 1


def test_every_answer_from_memory_has_its_test():
    for name in ANSWERED_FROM_MEMORY.values():
        module, test = name.split(".")
        assert f"\ndef {test}(" in (Path(__file__).parent / f"{module}.py").read_text(encoding="utf-8"), name


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
