"""What commands print as programs of their own: lines of ours only, and with `--quiet` nothing."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import warnings
from pathlib import Path

import click
import pytest

from atlas.cli.streams import plain_console
from ingest.process.startup import _STILL, asked_to_be_quiet, quiet_option, starting
from tests.conftest import Built

LINES = [
    r"Starting",
    r"[A-Z][a-z ]+: [\d.]+ s(, [\d,.]+ \w+/s)?, [\d.]+ GB at most",
    r"[A-Z][a-z ]+(  [\w%,./ ]+)+ GB",
    r".*a\.duckdb  build [0-9a-f]{12}(: [\d,]+ texts, [\d,]+ positions, [\d.]+ s; rows: .* \d+\.)?",
    r"[\d,]+ texts, [\d,]+ tokens, .* truncated\.",
    r"(phase|table) .*",
    r"[\w ]+( +[\d,.]+){1,2}",
    r"Memory: at most [\d.]+ GB\.",
    r"Best exclusive pairs .*",
    r"  L\dN\d+ .* score .*",
    "",
]
"""Each line of ours."""


def run(arguments: list[object], folder: Path) -> subprocess.CompletedProcess[str]:
    """A command as users start it, where no library keeps anything yet."""
    without = {*_STILL, "PYTHONWARNINGS"}
    environment = {name: value for name, value in os.environ.items() if name not in without}
    environment |= {"NEURON_ATLAS_CACHE": str(folder / "cache"), "COLUMNS": "250", "HF_HOME": str(folder / "hub")}
    command = [sys.executable, "-c", "from atlas.cli.main import main; main()", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    return done


def test_only_lines_of_ours_are_printed(built_gpt2: Built, tmp_path: Path) -> None:
    model = Path(shutil.copytree(built_gpt2.model, tmp_path / "model"))
    settings = json.loads((model / "tokenizer_config.json").read_text())
    # What transformers warns of: texts longer than the tokenizer says it takes.
    (model / "tokenizer_config.json").write_text(json.dumps({**settings, "model_max_length": 16}))
    out = tmp_path / "a.duckdb"
    done = run(["ingest", "--model", model, "--dataset", built_gpt2.dataset, "--out", out, "--max-texts", 20], tmp_path)
    strange = [line for line in done.stderr.splitlines() if not any(re.fullmatch(form, line) for form in LINES)]
    assert (strange, done.stdout) == ([], "")
    assert done.stderr.startswith("Starting\nLoading model: ")
    assert {path.name for path in tmp_path.iterdir()} >= {"a.duckdb"}
    assert not list(tmp_path.glob("a.duckdb.*"))


def test_a_quiet_study_prints_nothing(built_gpt2: Built, tmp_path: Path) -> None:
    out = tmp_path / "a.duckdb"
    prompts = ["--clean", "a x", "--corrupt", "a =", "--answer", "a", "--other", "x"]
    options = ["--model", built_gpt2.model, "--out", out, "--name", "one", "--quiet"]
    done = run(["study", built_gpt2.atlas, *prompts, *options], tmp_path)
    assert (done.stdout, done.stderr) == ("", "")
    assert out.exists()


def test_the_environment_is_left_alone_where_torch_is_imported(capsys: pytest.CaptureFixture[str]) -> None:
    before, filters = dict(os.environ), list(warnings.filters)
    with starting(plain_console(stderr=True)):
        pass
    assert dict(os.environ) == before
    assert warnings.filters == filters
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(("rank", "said"), [(None, "Starting\n"), ("0", "Starting\n"), ("1", "")])
def test_the_first_rank_says_that_it_starts(
    rank: str | None, said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delitem(sys.modules, "torch")
    monkeypatch.setattr(sys, "warnoptions", ["default"])
    for name in _STILL:
        monkeypatch.setenv(name, "mine")
    monkeypatch.setenv("RANK", rank) if rank else monkeypatch.delenv("RANK", raising=False)
    filters = list(warnings.filters)
    with starting(plain_console(stderr=True)):
        pass
    assert capsys.readouterr().err == said
    assert all(os.environ[name] == "mine" for name in _STILL)
    assert warnings.filters == filters


@pytest.mark.parametrize("arguments", [[], ["--quiet"]])
def test_whether_a_command_was_asked_to_be_quiet(arguments: list[str]) -> None:
    @click.command()
    @quiet_option()
    def command(quiet: bool) -> tuple[bool, bool]:
        return quiet, asked_to_be_quiet()

    assert command.main(arguments, standalone_mode=False) == (bool(arguments), bool(arguments))
    assert not asked_to_be_quiet()
