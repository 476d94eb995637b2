"""Studies read back: what the queries, the terminal, the client and the API say is what the rows say."""

from __future__ import annotations

from pathlib import Path

import duckdb
import numpy as np
import pytest
from click.testing import CliRunner

import atlas as client
from atlas import open_atlas
from atlas.cli import main as cli
from atlas.core.errors import ParameterError, StudyNameError
from atlas.topics.curve import CURVES, neuron_candidates, token_curves
from atlas.topics.pair_standing import pair_standing
from atlas.topics.study.edges import EDGES, study_edges
from atlas.topics.study.lens import lens_jumps
from atlas.topics.study.neurons import ATTRIBUTION, DIRECT, study_neurons
from atlas.topics.study.records import StudyStep
from atlas.topics.study.study import (
    ASKS_FOR,
    STANDS_OUT,
    STUDIES,
    STUDY,
    find_study,
    list_studies,
    stands_out,
    steps_of,
    steps_statement,
    study_prompts,
    token_studies,
)
from tests.conftest import Built


@pytest.fixture
def opened(tiny_llama_atlas: Path):
    with open_atlas(tiny_llama_atlas) as atlas, duckdb.connect(str(tiny_llama_atlas), read_only=True) as connection:
        yield atlas, connection


def values(connection, kind, study="an"):
    sql = "SELECT neuron_id, variant, value FROM study_step WHERE study = ? AND kind = ?"
    return connection.execute(sql, [study, kind]).fetchall()


def test_the_list_and_a_name_that_is_not_there(opened, built_llama: Built):
    atlas, _ = opened
    assert [study.name for study in list_studies(atlas)] == ["an", "suite"]
    with pytest.raises(StudyNameError, match="There is no study 'pear' in 'tiny-llama'; there is an, suite"):
        find_study(atlas, "pear")
    with open_atlas(built_llama.atlas) as bare:
        assert list_studies(bare) == ()
        assert stands_out(bare, 5) == ()
        assert token_studies(bare, 5) == []
        with pytest.raises(StudyNameError, match="there is none: `atlas study` runs"):
            find_study(bare, "an")


def test_prompts_and_predictions(opened):
    atlas, connection = opened
    found = study_prompts(atlas, "suite", limit=7, offset=3)
    rows = connection.execute(
        "SELECT prompt, clean_token_ids, clean_logit_diff FROM study_prompt WHERE study = 'suite' ORDER BY prompt"
    ).fetchall()
    assert found.total == len(rows) == 60
    assert [(p.prompt, [t.token_id for t in p.clean_tokens], p.clean_logit_diff) for p in found.rows] == rows[3:10]
    for prompt in found.rows:
        sql = (
            "SELECT side, rank, token_id, logit, probability FROM study_prediction "
            "WHERE study = 'suite' AND prompt = ? ORDER BY side, rank"
        )
        expected = connection.execute(sql, [prompt.prompt]).fetchall()
        assert [(i.side, i.rank, i.token.token_id, i.logit, i.probability) for i in prompt.predictions] == expected


def test_neurons_are_ranked_and_counted(opened):
    atlas, connection = opened
    study = find_study(atlas, "an")
    recovery = {neuron: value for neuron, _, value in values(connection, "patch_neuron")}
    direct = {(neuron, variant): value for neuron, variant, value in values(connection, "direct_effect")}
    ranked = sorted(recovery, key=lambda neuron: (-abs(recovery[neuron]), neuron))
    found = study_neurons(atlas, study, 9)
    assert found.n == len(recovery) == 96
    assert [item.neuron.neuron_id for item in found.top] == ranked[:9]
    for item in found.top:
        neuron_id = item.neuron.neuron_id
        assert (item.recovery, item.rank) == (recovery[neuron_id], ranked.index(neuron_id) + 1)
        assert item.direct_effect_clean == direct[neuron_id, "clean"]
        assert item.direct_effect_corrupt == direct[neuron_id, "corrupt"]
        assert item.found == (neuron_id in [neuron.neuron_id for neuron in study.found_neurons])
    difference = study.clean_logit_diff - study.corrupt_logit_diff
    shares = {n: (direct[n, "clean"] - direct[n, "corrupt"]) / difference for n in recovery}
    assert [item.neuron.neuron_id for item in found.direct] == sorted(shares, key=lambda n: (-abs(shares[n]), n))[:9]
    estimate = {neuron: value for neuron, _, value in values(connection, "attribution")}
    every = estimate | recovery
    last = found.bars[-1].upper
    for bar in found.bars:
        inside = [v for v in every.values() if bar.lower <= v < bar.upper or (bar.upper == last == v)]
        assert len(inside) == bar.n
    assert sum(bar.n for bar in found.bars) == len(every) == found.n_estimated == 144
    assert sum(cell.n for cell in found.cells) == sum(cell.n for cell in found.agreement.cells) == 96
    assert [item.attribution for item in found.top] == [estimate[item.neuron.neuron_id] for item in found.top]
    pairs = [(estimate[n], recovery[n]) for n in recovery]
    assert found.agreement.pearson == pytest.approx(float(np.corrcoef(np.array(pairs).T)[0, 1]))
    assert found.agreement.spearman == pytest.approx(1)  # every estimate is a tenth too great
    assert found.agreement.worst.neuron.neuron_id == max(recovery, key=lambda n: abs(estimate[n] - recovery[n]))


def test_edges_greatest_first(opened):
    atlas, connection = opened
    found = study_edges(atlas, "an")
    rows = connection.execute(
        "SELECT source_neuron_id, target_neuron_id, estimate, exact FROM study_edge WHERE study = 'an'"
    ).fetchall()
    wanted = sorted(rows, key=lambda row: -abs(row[2]))
    assert [(e.source.neuron_id, e.target.neuron_id, e.estimate, e.exact) for e in found] == wanted
    assert [edge.value for edge in found] == [wanted[0][3], wanted[1][2]]
    with client.open(atlas.path) as demo:
        assert tuple(demo.study("an").edges()) == found
    with pytest.raises(StudyNameError):
        study_edges(atlas, "pear")


def test_where_neurons_and_tokens_stand_out(opened):
    atlas, connection = opened
    study = find_study(atlas, "an")
    best = study.found_neurons[0]
    first = stands_out(atlas, best.neuron_id)
    assert [(item.study.name, item.neuron.rank) for item in first] == [("an", 1), ("suite", 1)]
    assert stands_out(atlas, 0) == ()
    for neuron_id in (best.neuron_id, 0):
        rows = [(item.study.name, item.neuron.rank) for item in stands_out(atlas, neuron_id)]
        assert [row[:2] for row in atlas.query(STANDS_OUT.shown(neuron=neuron_id)).rows] == rows
    for token_id in range(atlas.info.d_vocab):
        names = [item.name for item in token_studies(atlas, token_id)]
        asked = [row[0] for row in atlas.query(ASKS_FOR.shown(token=token_id)).rows]
        assert list(dict.fromkeys(asked)) == names
    assert [item.name for item in token_studies(atlas, study.answer_token.token_id)] == ["an", "suite"]
    standing = pair_standing(atlas, best.neuron_id, study.answer_token.token_id)
    (dot,) = connection.execute(
        "SELECT list_sum(list_transform(list_zip(w_out::FLOAT[], readout::FLOAT[]), lambda x: x[1]::DOUBLE * x[2])) "
        "FROM neuron_weight, token_weight WHERE neuron_id = ? AND token_id = ?",
        [best.neuron_id, study.answer_token.token_id],
    ).fetchone()
    assert standing.congruence == pytest.approx(dot, abs=1e-4)
    assert (standing.direction, standing.token_rank) == ("top", 1)


def test_a_pair_in_no_list_has_its_congruence_from_the_weights(opened):
    atlas, connection = opened
    neuron_id, token_id = connection.execute(
        "SELECT n.neuron_id, t.token_id FROM neuron AS n, token AS t "
        "WHERE (n.neuron_id, t.token_id) NOT IN (SELECT (neuron_id, token_id) FROM neuron_token) "
        "AND (n.neuron_id, t.token_id) NOT IN (SELECT (neuron_id, token_id) FROM token_neuron) ORDER BY ALL LIMIT 1"
    ).fetchone()
    standing = pair_standing(atlas, neuron_id, token_id)
    w_out, readout = connection.execute(
        "SELECT w_out, readout FROM neuron_weight, token_weight WHERE neuron_id = ? AND token_id = ?",
        [neuron_id, token_id],
    ).fetchone()
    assert standing.congruence == pytest.approx(sum(a * b for a, b in zip(w_out, readout, strict=True)), abs=1e-4)
    assert standing.token_rank is standing.neuron_rank is None


def step(layer, site, value, variant="own_norm"):
    return StudyStep("logit_lens", variant, site, layer, None, None, value, None, None, 1)


def test_the_jump_of_the_lens():
    path = [step(0, "pre", 0.0), step(0, "mid", 1.0), step(1, "pre", 1.5), step(1, "mid", 1.0), step(1, "post", 4.0)]
    (jump,) = lens_jumps(reversed(path))
    assert (jump.layer, jump.part, jump.before, jump.after) == (1, "mlp", 1.0, 4.0)
    (jump,) = lens_jumps(path[:-1])
    assert (jump.layer, jump.part) == (0, "attention")
    (jump,) = lens_jumps([step(0, "pre", 0.0), step(1, "pre", 2.0), step(1, "post", 3.0)])
    assert (jump.layer, jump.part) == (0, "block")
    assert lens_jumps([step(0, "pre", 1.0), step(0, "mid", 0.5)]) == ()
    assert lens_jumps([]) == ()


def test_the_panels_answer(opened):
    atlas, _ = opened
    study = find_study(atlas, "an")
    assert [row[0] for row in atlas.query(STUDIES.shown()).rows] == ["an", "suite"]
    rows = atlas.query(DIRECT.shown(study="an", limit=9)).rows
    assert [row[0] for row in rows] == [item.neuron.name for item in study_neurons(atlas, study, 9).direct]
    rows = atlas.query(ATTRIBUTION.shown(study="an", limit=2)).rows
    assert [row[0] for row in rows] == ["L2N7", "L1N3"]
    assert [row[0] for row in atlas.query(EDGES.shown(study="an")).rows] == ["L1N3", "L1N3"]
    (row,) = atlas.query(STUDY.shown(study="an")).rows
    assert {study.name, study.clean, study.clean_logit_diff, study.versions, study.command} <= {
        value for value in row if not isinstance(value, list)
    }
    assert atlas.query(STUDY.shown(study="it's")).rows == ()
    tokens = [study.answer_token.token_id, study.other_token.token_id]
    neuron_id = study.found_neurons[0].neuron_id
    counted = [c for c in neuron_candidates(atlas, neuron_id) if c.token.token_id in tokens]
    points = [point.n for curve in token_curves(atlas, counted) for point in curve.points]
    asked = atlas.query(
        CURVES.shown(neuron_ids=[neuron_id], token_ids=tokens, pairs=[[neuron_id, token_id] for token_id in tokens])
    ).rows
    assert sorted(row[4] for row in asked) == sorted(points)
    steps = [steps_of(atlas, "an", kind) for kind in ("ablation", "patch_attn_out", "patch_resid_pre")]
    assert steps_of(atlas, "an", "patch_resid_pre", "ablation", "patch_attn_out") == sum(steps, ())
    assert [len(kind) for kind in steps] == [9, 3 * 7, 3 * 7]
    named = atlas.query(steps_statement("an", ["ablation"], ("neuron", "value")).shown()).rows
    assert named == tuple((step.neuron and step.neuron.name, step.value) for step in steps[0])


def test_the_client(opened, tiny_llama_atlas: Path):
    _, connection = opened
    with client.open(tiny_llama_atlas) as demo:
        assert [study.name for study in demo.studies()] == ["an", "suite"]
        study = demo.study("an")
        assert study.n_prompts == 1
        assert "p_answer_clean" in dir(study)
        with pytest.raises(AttributeError, match="a study has no 'colour'"):
            _ = study.colour
        lens = list(study.steps(kind="logit_lens", variant="own_norm"))
        expected = [value for _, variant, value in values(connection, "logit_lens") if variant == "own_norm"]
        assert sorted(item.value for item in lens) == sorted(expected)
        name = study.found_neurons[0].name
        assert {item.kind for item in study.steps(neuron=name)} == {
            "attribution",
            "patch_neuron",
            "direct_effect",
            "ablation",
        }
        (total,) = connection.execute("SELECT count(*) FROM study_step WHERE study = 'an'").fetchone()
        assert len(study.steps()) == len(list(study.steps())) == total
        with pytest.raises(ParameterError, match="There is no 'colour'"):
            study.steps(colour="red")
        assert "answer_token" in study._repr_html_()


def test_show_a_study_in_the_terminal(tiny_llama_atlas: Path):
    def show(*arguments):
        return CliRunner().invoke(cli.main, ["show", str(tiny_llama_atlas), *arguments])

    found = show("--study", "an")
    assert found.exit_code == 0, found.output
    for said in ("I climbed up the pear tree", "L2N7", "all together", "greatest rise: mlp of layer 1", "MLP patches"):
        assert said in found.output
    assert show("--study", "pear").exit_code == 1
    assert "Name either a NEURON or a --study" in show().output
    assert show("L0N0", "--study", "an").exit_code == 2
