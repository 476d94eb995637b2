"""What is printed: in every encoding, to every kind of place, paths of every name."""

from __future__ import annotations

import codecs
import io
import json
import os
import sys
from contextlib import suppress
from pathlib import Path

import click
import pytest

from atlas.cli import main as cli
from atlas.cli import streams

TEXT = "é漢🎉 [b] :smile: \udcff"
COMMANDS = {
    "info": ["info", "FILE"],
    "info as JSON": ["info", "FILE", "--json"],
    "show": ["show", "FILE", "L0N0"],
    "table": ["sql", "FILE", "SELECT 1"],
    "csv": ["sql", "FILE", "SELECT range FROM range(30_000)", "--format", "csv"],
    "json": ["sql", "FILE", "SELECT 1", "--format", "json"],
    "help": ["--help"],
}


@pytest.fixture
def run(monkeypatch, capfd, tiny_llama_atlas):
    """Run `atlas` with standard output as a file descriptor; returns the status and what was said of errors."""

    def invoke(arguments: list[str], stdout: io.TextIOWrapper | None) -> tuple[int, str]:
        for name in ("stdout", "__stdout__"):
            monkeypatch.setattr(sys, name, stdout)
        with pytest.raises(SystemExit) as left:
            cli.main([str(tiny_llama_atlas) if part == "FILE" else part for part in arguments])
        with suppress(OSError):
            if sys.stdout is not stdout:
                sys.stdout.close()
        return left.value.code, capfd.readouterr().err

    return invoke


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
@pytest.mark.parametrize("command", COMMANDS)
def test_a_full_disk_under_standard_output(run, command):
    with open("/dev/full", "w") as full:
        status, said = run(COMMANDS[command], full)
    assert status == 1
    assert said == "Error: The output cannot be written to standard output: No space left on device.\n"


@pytest.mark.parametrize("command", COMMANDS)
def test_a_reader_that_went_away(run, command):
    reading, writing = os.pipe()
    os.close(reading)
    with open(writing, "w") as pipe:
        assert run(COMMANDS[command], pipe) == (1, "")


@pytest.mark.parametrize("command", ["info", "table", "csv"])
def test_standard_output_that_is_closed(run, command):
    status, said = run(COMMANDS[command], None)
    assert status == 1
    assert said == "Error: The output cannot be written to standard output: Bad file descriptor.\n"


def printed(monkeypatch, encoding: str, said_so: bool, say) -> bytes:
    """What a file gets from `say`, from a process whose streams have an encoding."""
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding=encoding))
    monkeypatch.delenv("PYTHONIOENCODING", raising=False)
    if said_so:
        monkeypatch.setenv("PYTHONIOENCODING", encoding)
    streams.settle()
    say()
    sys.stdout.flush()
    return raw.getvalue()


def echo():
    click.echo(TEXT)


def rich():
    streams.plain_console(width=200).print(TEXT)


@pytest.mark.parametrize("say", [echo, rich])
@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252", "utf-8", "utf-16", "gb18030"])
def test_an_encoding_that_was_asked_for_loses_nothing(monkeypatch, say, encoding):
    text = printed(monkeypatch, encoding, True, say).decode(encoding).rstrip("\n")
    assert "?" not in text
    assert json.loads(f'"{text}"') == TEXT
    assert ("é" in text) == (encoding != "ascii")


@pytest.mark.parametrize("say", [echo, rich])
def test_pipes_are_utf_8_whatever_the_locale(monkeypatch, say):
    assert printed(monkeypatch, "latin-1", False, say).decode() == TEXT.replace("\udcff", "\\udcff") + "\n"


def test_half_characters_of_all_planes():
    codecs.register_error("tried", streams._escaped)
    assert "a\U0001f389\ud800\uffff".encode("ascii", "tried") == rb"a\ud83c\udf89\ud800\uffff"


def test_arguments_that_are_no_text(run, tmp_path):
    with (tmp_path / "out").open("w") as out:
        status, said = run(["info", "bad\udcff.duckdb"], out)
    assert status == 1
    assert said.startswith(
        r"Error: The argument 'bad\udcff.duckdb' is not text in the encoding of this system (utf-8)."
    )


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (PermissionError(13, "Permission denied", "/a/b"), "'/a/b' cannot be read or written: Permission denied."),
        (OSError(18, "Invalid cross-device link", "/a", None, b"/b"), "'/b' cannot be read or written: Invalid cro"),
        (OSError(28, "No space left on device"), "The operating system refused: No space left on device."),
        (OSError("no working socket"), "The operating system refused: no working socket."),
    ],
)
def test_what_the_system_refuses_is_one_sentence(run, monkeypatch, tmp_path, error, message):
    @click.command()
    def refused():
        raise error

    monkeypatch.setattr(cli.AtlasGroup, "get_command", lambda self, context, name: refused)
    with (tmp_path / "out").open("w") as out:
        status, said = run(["refused"], out)
    assert status == 1
    assert said.startswith(f"Error: {message}")
    assert said.count("\n") == 1
