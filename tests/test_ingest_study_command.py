"""`atlas study` from the command line to the tables: what was measured is what is stored, and nothing else changes."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import duckdb
import numpy as np
import pytest
from click.testing import CliRunner, Result

from atlas.cli.main import main
from ingest.model.load import load_model
from ingest.study.engine import run_study
from ingest.study.options import StudyOptions
from ingest.study.prompts import PromptPair
from tests import tiny
from tests.conftest import Built

CLEAN, CORRUPT = "I climbed the apple tree and picked", "I climbed the lemon tree and picked"


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["study", *map(str, arguments)])


def ask(path: Path, sql: str) -> list[tuple]:
    with duckdb.connect(str(path), read_only=True) as connection:
        return connection.execute(sql).fetchall()


@pytest.fixture(scope="module")
def pair(built_gpt2: Built) -> PromptPair:
    """Prompts of as many tokens: words are cut short until they are."""
    tokenizer = tiny.make_tokenizer()
    clean, corrupt = (tokenizer(text, add_special_tokens=False)["input_ids"] for text in (CLEAN, CORRUPT))
    n = min(len(clean), len(corrupt))
    return PromptPair(tokenizer.decode(clean[:n]), tokenizer.decode(corrupt[:n]), "a", "x")


@pytest.fixture(scope="module")
def studied(built_gpt2: Built, pair: PromptPair, tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = Path(shutil.copy(built_gpt2.atlas, tmp_path_factory.mktemp("study") / "a.duckdb"))
    result = run(
        file,
        "--name",
        "one",
        "--clean",
        pair.clean,
        "--corrupt",
        pair.corrupt,
        "--answer",
        pair.answer,
        "--other",
        pair.other,
        "--model",
        built_gpt2.model,
    )
    assert result.exit_code == 0, result.output
    return file


def options_of(pair: PromptPair) -> list[str]:
    return ["--clean", pair.clean, "--corrupt", pair.corrupt, "--answer", pair.answer, "--other", pair.other]


def test_what_is_stored_is_what_was_measured(studied: Path, built_gpt2: Built, pair: PromptPair):
    means = np.array(ask(studied, "SELECT activation_mean FROM neuron ORDER BY neuron_id"))[:, 0]
    expected = run_study(load_model(str(built_gpt2.model)), [pair], StudyOptions(), activation_mean=means)
    columns = "kind, variant, site, layer, position, neuron_id, value, low, high, n_prompts"
    stored = ask(studied, f"SELECT {columns} FROM study_step")
    wanted = list(zip(*(expected.steps[name].tolist() for name in columns.split(", ")), strict=True))
    assert len(stored) == len(wanted) > 400
    for one, other in zip(stored, wanted, strict=True):
        assert one[:6] == other[:6]
        assert one[6] == pytest.approx(other[6], abs=2e-5)
        assert one[7:] == other[7:]
    ((name, diff, p, n, layers, found),) = ask(
        studied, "SELECT name, clean_logit_diff, p_answer_clean, n_prompts, patched_layers, found_neuron_ids FROM study"
    )
    prompt = expected.prompts[0]
    assert (name, n, layers, found) == ("one", 1, [], expected.found_neuron_ids)
    assert (diff, p) == pytest.approx((prompt.clean_logit_diff, prompt.p_answer_clean), abs=1e-5)
    ((ids,),) = ask(studied, "SELECT clean_token_ids FROM study_prompt")
    assert ids == prompt.clean_token_ids
    edges = ask(studied, "SELECT source_neuron_id, target_neuron_id, estimate, exact FROM study_edge")
    measured = list(zip(*(column.tolist() for column in expected.edges.values()), strict=True))
    assert len(edges) == len(measured)
    for edge, other in zip(edges, measured, strict=True):
        assert edge == pytest.approx(other, abs=2e-5)
    sides = dict(ask(studied, "SELECT side, count(*) FROM study_prediction GROUP BY side"))
    assert set(sides) == {"clean", "corrupt"}
    assert min(sides.values()) >= 10


def test_all_else_is_as_it_was(studied: Path, built_gpt2: Built):
    for table in ("neuron", "example", "token", "prediction_histogram"):
        assert ask(studied, f"FROM {table}") == ask(built_gpt2.atlas, f"FROM {table}")
    assert ask(studied, "SELECT build_id FROM atlas") != ask(built_gpt2.atlas, "SELECT build_id FROM atlas")
    assert [path.name for path in studied.parent.iterdir()] == [studied.name]


def test_a_suite_from_a_file(studied: Path, built_gpt2: Built, pair: PromptPair, tmp_path: Path):
    suite = tmp_path / "suite.jsonl"
    lines = [{"clean": pair.clean, "corrupt": pair.corrupt}, {"clean": pair.corrupt, "corrupt": pair.clean}]
    suite.write_text("".join(json.dumps(line) + "\n" for line in lines))
    out = tmp_path / "b.duckdb"
    result = run(
        studied,
        "--name",
        "many",
        "--suite",
        suite,
        "--answer",
        "a",
        "--other",
        "x",
        "--patched",
        "5",
        "--model",
        built_gpt2.model,
        "--out",
        out,
    )
    assert result.exit_code == 0, result.output
    assert ask(out, "SELECT name, n_prompts FROM study") == [("many", 2), ("one", 1)]
    assert ask(
        out, "SELECT DISTINCT n_prompts, low <= value AND value <= high FROM study_step WHERE study = 'many'"
    ) == [(2, True)]
    assert ask(out, "SELECT count(*) FROM study_neuron WHERE study = 'many'") == [(5,)]
    assert ask(studied, "SELECT name FROM study") == [("one",)]


def test_a_name_is_used_once_unless_forced(studied: Path, built_gpt2: Built, pair: PromptPair, tmp_path: Path):
    file = Path(shutil.copy(studied, tmp_path / "c.duckdb"))
    before = file.read_bytes()
    again = [file, "--name", "one", *options_of(pair), "--model", built_gpt2.model]
    refused = run(*again)
    assert refused.exit_code == 1
    assert "has a study 'one' already" in refused.output
    assert file.read_bytes() == before
    assert run(*again, "--patched", "3", "--force").exit_code == 0
    assert ask(file, "SELECT study, count(*) FROM study_neuron GROUP BY ALL") == [("one", 3)]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"--name": "An Study"}, "The study's name 'An Study' is not allowed"),
        ({"--answer": None}, "--answer is missing"),
        ({"--suite": "x.yaml"}, "--suite brings its own prompts"),
        ({"--answer": "apple lemon"}, "is 6 tokens"),
        ({"--model": "no-such-folder/x"}, "cannot be loaded"),
    ],
)
def test_what_cannot_be_is_said_and_nothing_is_written(
    studied: Path, built_gpt2: Built, pair: PromptPair, change: dict[str, str | None], message: str
):
    before = studied.read_bytes()
    options = {
        "--name": "two",
        "--clean": pair.clean,
        "--corrupt": pair.corrupt,
        "--answer": "a",
        "--other": "x",
        "--model": str(built_gpt2.model),
        **change,
    }
    result = run(studied, *(part for name, value in options.items() if value is not None for part in (name, value)))
    assert result.exit_code == 1, result.output
    assert message in " ".join(result.output.split())
    assert studied.read_bytes() == before


def test_another_models_weights_are_refused(studied: Path, pair: PromptPair, tmp_path: Path):
    other = tiny.save_llama(tmp_path / "other")
    result = run(studied, "--name", "two", *options_of(pair), "--model", other)
    assert result.exit_code == 1
    assert "have the fingerprint" in result.output
    assert "fingerprint" in result.output
    assert "--revision" in " ".join(result.output.split())
