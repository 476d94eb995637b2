"""The schema's macros: their numbers are those of float64 arithmetic over the weights; what they refuse, they name."""

from __future__ import annotations

import shutil

import duckdb
import numpy as np
import pytest
from click.testing import CliRunner

from atlas import open_atlas
from atlas.cli.main import main
from atlas.core.db import answer_together
from atlas.core.errors import QueryError
from atlas.core.reads import Reads
from atlas.core.schema import macro_names, own_macros, schema_sql
from atlas.topics.cut_list import COMPLETE, CUT, notes_of, statement_notes
from atlas.topics.tables import schema_macros
from docs.outputs import DEMO

DIRECTION = (
    "SELECT neuron, congruence FROM congruence_with_direction(' an', ' a') "
    "WHERE layer >= (SELECT n_layers - 5 FROM atlas) ORDER BY congruence DESC LIMIT 1"
)
SELF_JOIN = (
    "SELECT x.neuron, x.congruence - y.congruence AS d FROM congruence AS x JOIN congruence AS y USING (neuron) "
    "WHERE x.token = ' an' AND y.token = ' a' ORDER BY d DESC"
)


@pytest.fixture
def weights(both):
    """An open atlas, and its w_out and readout as float64."""
    atlas, connection = both

    def matrix(sql):
        return np.array([row[0] for row in connection.execute(sql).fetchall()], dtype=np.float64)

    return (
        atlas,
        matrix("SELECT w_out FROM neuron_weight ORDER BY neuron_id"),
        matrix("SELECT readout FROM token_weight ORDER BY token_id"),
    )


def ranked(values):
    """Ids from the highest value down, ties by lower id."""
    return np.lexsort((np.arange(len(values)), -values))


def same(rows, values):
    """Whether rows (rank, id, value) hold every value, in an order that rounding alone can have changed."""
    ranks, ids, got = (np.array(column) for column in zip(*rows, strict=True))
    assert sorted(ids) == list(range(len(values)))
    assert list(ranks) == list(range(1, len(values) + 1))
    np.testing.assert_allclose(got, values[ids], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(values[ids], values[ranked(values)], rtol=1e-4, atol=1e-5)


def test_macros_agree_with_float64(weights):
    atlas, w_out, readout = weights
    texts = dict(atlas.rows('SELECT "text", min(token_id) FROM token WHERE "text" <> \'\' GROUP BY "text"'))
    (one, one_id), (other, other_id) = sorted(texts.items(), key=lambda item: item[1])[20:22]
    rows = atlas.query("SELECT rank, neuron_id, congruence FROM congruence_with($t) ORDER BY rank", {"t": one}).rows
    same(rows, w_out @ readout[one_id])
    by_id = atlas.query(f"SELECT rank, neuron_id, congruence FROM congruence_with({one_id}) ORDER BY rank").rows
    assert by_id == rows
    sql = "SELECT rank, neuron_id, congruence FROM congruence_with_direction($plus, $minus) ORDER BY rank"
    same(atlas.query(sql, {"plus": one, "minus": other}).rows, w_out @ (readout[one_id] - readout[other_id]))
    names = "SELECT rank, token_id, congruence FROM neuron_congruence('L1N7') ORDER BY rank"
    n = atlas.info.d_mlp + 7
    same(atlas.query(names).rows, readout @ w_out[n])
    norms = np.linalg.norm(w_out, axis=1)
    cosines = dict(atlas.query("SELECT neuron_id, cosine FROM similar_neurons('L1N7')").rows)
    assert sorted(cosines) == [i for i in range(len(w_out)) if i != n]
    expected = w_out @ w_out[n] / (norms * norms[n])
    np.testing.assert_allclose([cosines[i] for i in cosines], [expected[i] for i in cosines], rtol=1e-4, atol=1e-5)


def test_prediction_above_adds_up_the_curve(both):
    atlas, _ = both
    macro = "SELECT neuron_id, token_id, n, n_predicted, n_actual FROM prediction_above(0.5) ORDER BY ALL"
    curve = (
        "SELECT neuron_id, token_id, sum(n), sum(n_predicted), sum(n_actual) FROM prediction_curve "
        "WHERE lower >= 0.5 GROUP BY ALL ORDER BY ALL"
    )
    rows = atlas.query(macro).rows
    assert rows
    assert rows == atlas.query(curve).rows


@pytest.mark.parametrize(
    ("sql", "message"),
    [
        ("FROM congruence_with(' no such')", "no token with the text ' no such'. Write the token's text"),
        ("FROM congruence_with(-1)", "no token with the id -1"),
        ("FROM congruence_with(NULL)", "no token with the id NULL"),
        ("FROM neuron_congruence('L99N0')", "no neuron named 'L99N0'. Write a name such as L0N12"),
        ("SELECT neuron_id_of(-5)", "no neuron with the id -5"),
    ],
)
def test_unknown_tokens_and_neurons_are_errors(tiny_llama_atlas, sql, message):
    with open_atlas(tiny_llama_atlas) as atlas, pytest.raises(QueryError) as error:
        atlas.query(sql)
    assert message in str(error.value)


def test_the_file_has_the_macros_and_one_without_them_works_too(tiny_llama_atlas, tmp_path):
    sql = "SELECT neuron FROM neuron_congruence('L1N7') WHERE rank = 1"
    with duckdb.connect(str(tiny_llama_atlas), read_only=True) as plain:
        assert plain.execute(sql).fetchall() == [("L1N7",)]
    older = tmp_path / "older.duckdb"
    shutil.copyfile(tiny_llama_atlas, older)
    older.chmod(0o600)
    with duckdb.connect(str(older)) as connection:
        for macro in schema_macros():
            connection.execute(f"DROP MACRO {'TABLE ' if macro.columns else ''}{macro.name}")
        # A file cannot put a macro of its own in the place of the schema's.
        connection.execute("CREATE MACRO neuron_congruence(neuron) AS TABLE SELECT 'hostile' AS neuron, 1 AS rank")
    with open_atlas(older) as atlas:
        assert atlas.query(sql).rows == (("L1N7",),)
        assert atlas.answer(sql).rows == (["L1N7"],)


def test_without_weights_it_is_an_error(tiny_llama_atlas, tmp_path):
    path = tmp_path / "no_weights.duckdb"
    shutil.copyfile(tiny_llama_atlas, path)
    path.chmod(0o600)
    with duckdb.connect(str(path)) as connection:
        connection.execute("DELETE FROM neuron_weight; DELETE FROM token_weight; UPDATE atlas SET has_weights = FALSE")
    with open_atlas(path) as atlas:
        for call in ("congruence_with(5)", "congruence_with_direction(5, 6)", "neuron_congruence(1)"):
            with pytest.raises(QueryError, match="built with --no-weights"):
                atlas.query(f"FROM {call}")
        (note,) = statement_notes(atlas, "FROM congruence_with(5) WHERE layer > 1")
        assert "--no-weights" in note.text
        (note,) = statement_notes(atlas, "FROM congruence WHERE token = ' an'")
        assert note.sql is None


def test_another_atlass_macro_is_refused(tiny_llama_atlas, tiny_gpt2_atlas):
    with open_atlas(tiny_llama_atlas) as one, open_atlas(tiny_gpt2_atlas) as other:
        answer = answer_together([one, other], "SELECT count(*) FROM congruence_with(5)")
        assert answer.rows == ([144],)
        with pytest.raises(QueryError, match="without a database before it"):
            answer_together([one, other], 'SELECT count(*) FROM "tiny-gpt2".congruence_with(5)')


def test_every_view_of_a_cut_list_is_known():
    """Each view of the schema that reads a list that is cut has a note, or is known to be complete."""
    with duckdb.connect() as connection:
        connection.execute(schema_sql(8))
        views = connection.execute("SELECT view_name, sql FROM duckdb_views() WHERE NOT internal").fetchall()
        macros = {macro.name for macro in schema_macros()}
    assert macros == macro_names()
    reading = {
        view for view, sql in views if any(f" {name} " in sql.replace("(", " ").replace(")", " ") for name in CUT)
    }
    assert reading - {view for view in reading if view in CUT} <= COMPLETE
    assert own_macros().count("CREATE OR REPLACE TEMP MACRO") == len(macros)


@pytest.mark.parametrize(
    ("sql", "lists", "offer"),
    [
        (SELF_JOIN, "congruence stores", "FROM congruence_with_direction(' an', ' a')"),
        ("FROM congruence WHERE token = $t", "congruence stores", "FROM congruence_with($t)"),
        ("FROM congruence WHERE 'L1N7' = neuron", "congruence stores", "FROM neuron_congruence('L1N7')"),
        (
            "FROM token_neuron JOIN token USING (token_id) WHERE \"text\" IN ('it''s')",
            "token_neuron stores",
            "('it''s')",
        ),
        ("FROM main.congruence", "congruence stores", None),
        ("FROM prediction_curve JOIN pair_metric USING (neuron_id)", "prediction_curve and pair_metric store", None),
        ("FROM prediction_above(2)", "prediction_above stores", None),
        ("SELECT (SELECT count(*) FROM example)", "example stores", None),
    ],
)
def test_an_answer_from_a_cut_list_is_told(tiny_llama_atlas, sql, lists, offer):
    with open_atlas(tiny_llama_atlas) as atlas:
        (note,) = statement_notes(atlas, sql)
    assert note.text.startswith(f"{lists} each " if offer else lists)
    assert "absent" in note.text
    assert offer is None if note.sql is None else offer in note.sql


@pytest.mark.parametrize(
    "sql",
    [
        "FROM pair",
        "FROM token_exclusivity",
        "FROM congruence_with(5)",
        "WITH congruence AS (SELECT 1) FROM congruence",
        "DESCRIBE congruence",
        "EXPLAIN FROM congruence",
        "not SQL",
    ],
)
def test_a_complete_answer_has_no_notes(tiny_llama_atlas, sql):
    with open_atlas(tiny_llama_atlas) as atlas:
        assert statement_notes(atlas, sql) == ()


def test_notes_say_what_is_stored(tiny_llama_atlas, tiny_gpt2_atlas):
    with open_atlas(tiny_llama_atlas) as gated, open_atlas(tiny_gpt2_atlas) as ungated:
        (note,) = notes_of(gated.info, Reads(tables=("congruence",)))
        assert note.text == (
            "congruence stores each neuron's 20 highest and 20 lowest tokens; pairs outside are absent, not zero."
        )
        (note,) = notes_of(ungated.info, Reads(tables=("example",)))
        assert "each neuron's 6 highest texts" in note.text


def test_the_demos_question():
    """L25N1527 leads for " an" minus " a" in the demo, which the join of the cut lists does not find."""
    if not DEMO.exists():
        pytest.skip("there is no demo.duckdb; `make demo` builds it")
    with open_atlas(DEMO) as demo:
        if demo.info.slug != "smollm2-135m":
            pytest.skip("demo.duckdb is another model's")
        ((neuron, congruence),) = demo.query(DIRECTION).rows
        assert (neuron, round(congruence, 2)) == ("L25N1527", 15.31)
        assert "L25N1527" not in {row[0] for row in demo.query(SELF_JOIN).rows}


def test_the_command_line_says_it_on_standard_error(tiny_llama_atlas):
    result = CliRunner().invoke(main, ["sql", str(tiny_llama_atlas), SELF_JOIN, "--format", "csv"])
    assert result.exit_code == 0
    assert result.stdout.splitlines()[0] == "neuron,d"
    assert "pairs outside are absent, not zero. Without that limit: FROM congruence_with_direction(" in result.stderr
