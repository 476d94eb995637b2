"""Generated pages are what the generator gives now."""

from __future__ import annotations

from pathlib import Path

import pytest

from docs import generate, outputs
from docs.generate import PAGES


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_the_page_has_not_drifted(path: Path) -> None:
    assert path.read_text(encoding="utf-8") == PAGES[path](), f"{path.name} has drifted; run `make docs`"


def test_every_table_and_command_has_a_heading() -> None:
    schema, cli = ((outputs.ROOT / "docs" / name).read_text(encoding="utf-8") for name in ("schema.md", "cli.md"))
    for table in ("atlas", "text", "example", "neuron_page", "max_activating_example"):
        assert f"\n### {table}\n" in schema
    for command in ("info", "ingest", "serve", "show", "sql", "upgrade"):
        assert f"\n## atlas {command}\n" in cli
    assert "`FLOAT[d_model]`?" in schema


def test_generating_without_a_demo(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setattr(generate, "ROOT", tmp_path)
    monkeypatch.setattr(generate, "PAGES", {tmp_path / "page.md": lambda: "text\n"})
    monkeypatch.setattr(generate, "DEMO", tmp_path / "demo.duckdb")
    generate.generate()
    assert (tmp_path / "page.md").read_text() == "text\n"
    assert "`make demo` builds it" in capsys.readouterr().out
