"""`make demo`: what is to be done is read off the file, and the programs end together."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from importlib import metadata
from pathlib import Path

import click
import duckdb
import pytest

from benchmarks import demo
from benchmarks.demo import Demo, next_step
from docs.outputs import ROOT
from ingest.effects.command import effects
from ingest.run.command import ingest
from ingest.study.command import study

COMMANDS = {"ingest": ingest, "study": study, "effects": effects}


def step(file: Path) -> str | None:
    """The name of the next step, whose arguments must be well formed."""
    arguments = next_step(file)
    if arguments is None:
        return None
    with COMMANDS[arguments[0]].make_context(arguments[0], arguments[1:]) as context:
        assert isinstance(context, click.Context)
    return arguments[0]


def test_steps_are_read_off_the_file(tiny_llama_atlas: Path, tmp_path: Path) -> None:
    file = tmp_path / "demo.duckdb"
    assert step(file) == "ingest"
    shutil.copyfile(tiny_llama_atlas, file)

    def change(statement: str) -> None:
        with duckdb.connect(str(file)) as connection:
            connection.execute(statement)

    change("DELETE FROM study; DELETE FROM pair_effect; UPDATE atlas SET n_texts_planned = 99")
    assert step(file) == "ingest"
    change("UPDATE atlas SET n_texts_planned = NULL")
    assert step(file) == "ingest"
    change("INSERT INTO neuron_attribution " + one_row(file, "neuron_attribution"))
    assert step(file) == "study"
    row = ", ".join(f"'an' AS {name}" if name == "name" else f'{value} AS "{name}"' for name, value in made_up(file))
    change(f"INSERT INTO study BY NAME SELECT {row}")
    assert step(file) == "effects"
    change("INSERT INTO pair_effect SELECT * REPLACE (1 AS neuron_id) FROM (" + one_row(file, "pair_effect") + ")")
    assert step(file) is None


def made_up(file: Path, table: str = "study") -> list[tuple[str, str]]:
    with duckdb.connect(str(file), read_only=True) as connection:
        columns = connection.execute(
            "SELECT column_name, data_type FROM duckdb_columns() WHERE table_name = ? ORDER BY column_index", [table]
        ).fetchall()
    anything = {"VARCHAR": "'x'", "JSON": "'{}'", "BOOLEAN": "TRUE", "TIMESTAMP": "TIMESTAMP '2000-01-01'"}
    return [(name, anything.get(kind, "1" if "[]" not in kind else "[]")) for name, kind in columns]


def one_row(file: Path, table: str) -> str:
    return "SELECT " + ", ".join(f'{value} AS "{name}"' for name, value in made_up(file, table))


def test_texts_of_the_package_or_those_of_python(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> str:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(demo.metadata, "version", lambda name: "0.0.7")
    assert "vital-articles" in demo.texts()
    monkeypatch.setattr(demo.metadata, "version", missing)
    assert "pydoc" in demo.texts()


_PRETENDS = """
import os, shutil, signal, sys, time
name, ended = sys.argv[2], "{ended}"
def note(number, frame):
    open(ended, "a").write(f"{{name}} {{signal.Signals(number).name}}\\n")
    os._exit(130 if number == signal.SIGINT else 0)
signal.signal(signal.SIGINT, note)
signal.signal(signal.SIGTERM, note)
open(ended, "a").write(f"{{name}} began\\n")
if name == "{fails}":
    sys.exit(3)
time.sleep(60)
"""


@pytest.mark.parametrize(("fails", "code"), [("serve", 3), ("ingest", 3)])
def test_one_that_fails_ends_the_others(tmp_path: Path, fails: str, code: int) -> None:
    ended = tmp_path / "ended"
    program = [sys.executable, "-c", _PRETENDS.format(ended=ended, fails=fails), "-"]
    assert Demo(tmp_path / "demo.duckdb", 1, program).run() == code
    other = {"serve": "ingest SIGINT", "ingest": "serve SIGTERM"}[fails]
    lines = ended.read_text().splitlines()
    # The other may have been told to end before it could note it.
    assert other in lines or f"{other.split()[0]} began" not in lines


def test_interrupted_once_each_is_told_once(tmp_path: Path) -> None:
    """Ctrl-C, to the whole group as a terminal sends it: a step gets one signal, so that it saves its work."""
    ended = tmp_path / "ended"
    script = (
        "import sys; from pathlib import Path; from benchmarks.demo import Demo; "
        f"sys.exit(Demo(Path({str(tmp_path / 'demo.duckdb')!r}), 1, [sys.executable, '-c', sys.argv[1], '-']).run())"
    )
    running = subprocess.Popen(
        [sys.executable, "-c", script, _PRETENDS.format(ended=ended, fails="")], cwd=ROOT, start_new_session=True
    )
    deadline = time.monotonic() + 60
    while not ended.exists() or ended.read_text().count("began") < 2:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    os.killpg(running.pid, signal.SIGINT)
    try:
        assert running.wait(60) == 130
    finally:
        running.kill()
        running.wait()
    assert sorted(ended.read_text().splitlines()) == ["ingest SIGINT", "ingest began", "serve SIGTERM", "serve began"]


def test_a_file_that_is_no_atlas_is_said(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    (tmp_path / "demo.duckdb").write_text("theirs")
    assert demo.main([str(tmp_path / "demo.duckdb"), "--no-serve"]) == 1
    assert "Error: " in capsys.readouterr().err
