"""Places where nothing can be written: refused before any work, in one sentence, by every command that writes."""

from __future__ import annotations

import io
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner
from rich.console import Console

from atlas import open_atlas
from atlas.cli import main as cli
from atlas.cli.streams import plain_console
from atlas.core import files
from atlas.core.errors import NotAnAtlasError
from atlas.core.files import OutputFileError, appearing_folder, check_output, write_texts
from ingest.file.append import extend_atlas
from ingest.process.cursor import TextReport
from ingest.process.progress import Phases
from ingest.run.build import BuildReport
from ingest.run.summary import print_report
from ingest.study.record import Recorded
from ingest.study.summary import print_study

COMMANDS = {
    "ingest": ["ingest", "--model", "m", "--out", "PLACE/new.duckdb"],
    "ingest --checkpoint": ["ingest", "--model", "m", "--out", "HERE/new.duckdb", "--checkpoint", "PLACE/saved"],
    "ingest --checkpoint, there": ["ingest", "--model", "m", "--out", "HERE/new.duckdb", "--checkpoint", "PLACE"],
    "merge": ["merge", "FILE", "FILE", "--out", "PLACE/new.duckdb"],
    "study --out": ["study", "FILE", "--out", "PLACE/new.duckdb", "--name", "x", "--suite", "none.yaml"],
    "effects --out": ["effects", "FILE", "--out", "PLACE/new.duckdb"],
    "reproduce": ["reproduce", "an-neuron", "--out", "PLACE/new.duckdb"],
    "reproduce --report": ["reproduce", "an-neuron", "--out", "HERE/new.duckdb", "--report", "PLACE/report"],
    "export": ["export", "FILE", "PLACE/exported"],
    "report": ["report", "FILE", "--out", "PLACE/report"],
    "serve --saved": ["serve", "FILE", "--port", "0", "--saved", "PLACE/saved.sqlite"],
}
IN_PLACE = {
    "study": ["study", "PLACE/a.duckdb", "--name", "x", "--suite", "none.yaml"],
    "effects": ["effects", "PLACE/a.duckdb"],
    "reproduce --atlas": ["reproduce", "an-neuron", "--atlas", "PLACE/a.duckdb"],
}


@pytest.fixture
def read_only(tmp_path: Path, tiny_gpt2_atlas: Path) -> Iterator[Path]:
    """A folder with an atlas, mounted read-only, which binds root too; skipped where that is not allowed."""
    place = tmp_path / "it's [read] only"
    place.mkdir()
    os.link(tiny_gpt2_atlas, place / "a.duckdb")
    if subprocess.run(["mount", "--bind", place, place], capture_output=True).returncode:
        pytest.skip("mounting is not allowed here")
    subprocess.run(["mount", "-o", "remount,bind,ro", place], check=True)
    yield place
    subprocess.run(["umount", "-l", place], check=True)


@pytest.fixture
def full(tmpfs: Path) -> Path:
    """A disk without a byte left."""
    with (tmpfs / "ballast").open("wb", buffering=0) as ballast:
        while os.statvfs(tmpfs).f_bfree:
            ballast.write(bytes(4096))
    return tmpfs


def refused(arguments: list[str], place: Path, here: Path, atlas: Path, cause: str) -> None:
    here.mkdir()
    before = sorted(place.rglob("*"))
    names = {"PLACE": place, "HERE": here, "FILE": atlas}
    filled = []
    for part in arguments:
        head, slash, rest = part.partition("/")
        filled.append(f"{names[head]}{slash}{rest}" if head in names else part)
    result = CliRunner().invoke(cli.main, filled)
    assert result.exit_code == 1, result.output
    assert result.stdout == ""
    assert result.stderr.startswith("Error: ")
    assert result.stderr.count("\n") == 1, result.stderr
    assert str(place) in result.stderr
    assert cause in result.stderr
    assert sorted(place.rglob("*")) == before
    assert list(here.iterdir()) == []


@pytest.mark.parametrize("command", [*COMMANDS, *IN_PLACE])
def test_read_only(read_only, tmp_path, tiny_llama_atlas, command):
    cause = "unable to open database file" if "serve" in command else "Read-only file system"
    refused({**COMMANDS, **IN_PLACE}[command], read_only, tmp_path / "here", tiny_llama_atlas, cause)


@pytest.mark.parametrize("command", [name for name in COMMANDS if name not in ("serve --saved", "export")])
def test_a_disk_without_a_byte_left(full, tmp_path, tiny_llama_atlas, command):
    refused(COMMANDS[command], full, tmp_path / "here", tiny_llama_atlas, "No space left on device")


@pytest.mark.parametrize("command", COMMANDS)
def test_a_file_where_a_folder_is_expected(tmp_path, tiny_llama_atlas, command):
    (tmp_path / "file").write_text("somebody's")
    result = CliRunner().invoke(
        cli.main,
        [
            part.replace("PLACE", str(tmp_path / "file"))
            .replace("HERE", str(tmp_path))
            .replace("FILE", str(tiny_llama_atlas))
            for part in COMMANDS[command]
        ],
    )
    assert result.exit_code == 1, result.output
    assert result.stderr.startswith("Error: ")
    assert result.stderr.count("\n") == 1, result.stderr
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"file": "somebody's"}


def test_names_and_kinds_that_cannot_be_written(tmp_path):
    for out, message in [
        (tmp_path / f"{'x' * 300}.duckdb", "cannot be written: File name too long"),
        (Path("/dev/null"), "is not a plain file and is not replaced"),
        (tmp_path, "is a folder; --out names the file to write"),
        (tmp_path / "no" / "x.duckdb", "does not exist. Create it first"),
    ]:
        with pytest.raises(OutputFileError) as error:
            check_output(out, force=True)
        assert message in str(error.value)
    assert list(tmp_path.iterdir()) == []
    check_output(tmp_path / "fine.duckdb")
    assert list(tmp_path.iterdir()) == []


def test_small_files_are_written_together_or_not_at_all(tmp_path, monkeypatch):
    one, two = tmp_path / "one", tmp_path / "two"
    write_texts({one: "é", two: "2"})
    flushed = []

    def fail_at_the_second(path: Path) -> None:
        flushed.append(path)
        if len(flushed) == 2:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(files, "flush", fail_at_the_second)
    with pytest.raises(OSError, match="No space"):
        write_texts({one: "new", two: "new"})
    assert {path.name: path.read_text("utf-8") for path in tmp_path.iterdir()} == {"one": "é", "two": "2"}


def test_the_present_folder_is_a_folder_too(tmp_path, monkeypatch):
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    with appearing_folder(Path()) as place:
        (place / "file").write_text("x")
    assert [path.name for path in (tmp_path / "work").iterdir()] == ["file"]
    assert [path.name for path in tmp_path.iterdir()] == ["work"]


STRANGE = "[x] :smile: [b]it's\n100%?#.duckdb"


@pytest.fixture(params=[STRANGE])
def named(request, tmp_path, monkeypatch, tiny_gpt2_atlas) -> Path:
    """An atlas of a strange name, relative to the present folder."""
    monkeypatch.chdir(tmp_path)
    os.link(tiny_gpt2_atlas, request.param)
    return Path(request.param)


@pytest.mark.parametrize("named", [STRANGE, "gpt2:latest.duckdb", ":memory:.duckdb"], indirect=True)
def test_commands_read_and_write_beside_any_name(named):
    def run(*arguments: object) -> str:
        result = CliRunner().invoke(cli.main, [str(argument) for argument in arguments])
        assert result.exit_code == 0, result.output
        return result.stdout

    assert run("sql", "--format", "csv", "--", named, "SELECT slug FROM atlas") == "slug\ntiny-gpt2\n"
    assert run("export", "--tables", "atlas", "--", named, f"{named}.d").startswith(f"{named}.d written: 1 tables")
    assert "nothing to do" in run("upgrade", "--", named)
    assert extend_atlas(named, {}, out=Path(f"2 {named}")) != open_atlas(named).info.build_id
    assert open_atlas(f"2 {named}").rows("SELECT count(*) FROM neuron") == [(192,)]


@pytest.mark.parametrize("make", [plain_console, Console])
def test_reports_show_names_as_they_are(named, make):
    out = io.StringIO()
    console = make(file=out, width=30)
    print_report(BuildReport(named, "0123456789ab", 1, TextReport(), {"Writing": 1.0}, 0, {}, {}), console)
    recorded = Recorded.__new__(Recorded)  # What is printed is in the file: the result is not looked at.
    recorded.__dict__.update(name="an", out=named, build_id="0123456789ab", seconds={})
    print_study(recorded, console)
    Phases(console, torch.device("cpu")).say(f"Saved in {str(named)!r}.")
    assert out.getvalue().count(f"{named}  build 0123456789ab") == 2
    assert f"Saved in {str(named)!r}." in out.getvalue()


def test_an_atlas_that_may_not_be_read(tmp_path, monkeypatch):
    (tmp_path / "x.duckdb").write_bytes(b"what only root may read here")
    monkeypatch.setattr("atlas.core.db.os.access", lambda path, mode: False)
    with pytest.raises(NotAnAtlasError, match=r"x.duckdb cannot be read: permission denied"):
        open_atlas(tmp_path / "x.duckdb")
