"""The second names of served files: made where they can be, kept while they are used, gone when nobody uses them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from web.workers.sql import hard_links as module
from web.workers.sql.hard_links import HardLinks


@pytest.fixture
def temporary(tmp_path, monkeypatch) -> Path:
    """A temporary folder of the test's own."""
    folder = tmp_path / "tmp"
    folder.mkdir()
    monkeypatch.setattr("tempfile.gettempdir", lambda: str(folder))
    return folder


@pytest.fixture
def file(tmp_path) -> Path:
    """A file in a folder of its own."""
    made = tmp_path / "served" / "a.duckdb"
    made.parent.mkdir()
    made.write_text("first")
    return made


@pytest.fixture
def links(temporary):
    """A server's links, removed after the test."""
    made = HardLinks()
    yield made
    made.close()


def refuse_links(monkeypatch, *folders: Path) -> None:
    """Let no link be made in these folders, as if they were on another file system."""
    link = os.link

    def refusing(source, target):
        if any(Path(target).is_relative_to(folder) for folder in folders):
            raise OSError(18, "Invalid cross-device link")
        link(source, target)

    monkeypatch.setattr(os, "link", refusing)


def test_a_replaced_file_keeps_its_second_name(links, temporary, file):
    kept = links.link(file, "1/file0")
    assert kept == links.folder / "1" / "file0" / "a.duckdb"
    assert links.folder.parent == temporary
    file.with_name("new").write_text("second")
    os.replace(file.with_name("new"), file)
    assert (kept.read_text(), links.link(file, "2/file0").read_text()) == ("first", "second")
    assert os.listdir(file.parent) == ["a.duckdb"]
    links.remove("1")
    assert os.listdir(links.folder) == ["2"]
    links.close()
    assert os.listdir(temporary) == []


def test_a_symbolic_link_is_followed(links, file, tmp_path):
    current = tmp_path / "current.duckdb"
    current.symlink_to(file)
    kept = links.link(current, "1")
    assert kept.name == "current.duckdb"
    assert not kept.is_symlink()
    assert kept.samefile(file)


def test_another_file_system_has_the_links_beside_the_file(links, file, monkeypatch):
    refuse_links(monkeypatch, links.folder)
    first, second = links.link(file, "1/file0"), links.link(file, "2/file0")
    assert first.samefile(file)
    assert first.parents[2] == second.parents[2]
    assert first.parents[2].parent == file.parent
    assert first.parents[2].name.startswith(".")
    assert set(links.folders) == {links.folder, first.parents[2]}
    links.close()
    assert os.listdir(file.parent) == ["a.duckdb"]


def test_where_no_link_can_be_made_the_file_is_its_own(links, file, monkeypatch):
    refuse_links(monkeypatch, links.folder, file.parent)
    assert links.link(file, "1") == file
    monkeypatch.setattr(module.HardLinks, "_made", lambda *_: os.listdir("/nothing/there"))  # as in a read-only folder
    assert links.link(file, "1") == file


def test_what_a_killed_server_left_is_removed_and_nothing_else(temporary, file, monkeypatch):
    code = "import os, sys, tempfile; tempfile.gettempdir = lambda: sys.argv[1]\n"
    code += "from pathlib import Path; from web.workers.sql.hard_links import HardLinks\n"
    code += "links = HardLinks(); links.link(Path(sys.argv[2]), '1'); os.kill(os.getpid(), 9)"
    subprocess.run([sys.executable, "-c", code, str(temporary), str(file)], check=False)
    (left,) = temporary.iterdir()
    (temporary / "atlas-served-notes.txt").write_text("somebody's")
    (temporary / "other").mkdir()
    live = HardLinks()
    assert left.exists()  # it may be one that is just being made
    monkeypatch.setattr(module, "_YOUNG", -1.0)
    after = HardLinks()
    assert not left.exists()
    assert live.folder.exists()
    assert file.stat().st_nlink == 1
    assert {item.name for item in temporary.iterdir()} == {
        "atlas-served-notes.txt",
        "other",
        live.folder.name,
        after.folder.name,
    }
    live.close()
    after.close()


def test_a_forked_process_removes_nothing_and_keeps_the_folder_locked(links, monkeypatch):
    child = os.fork()
    if child == 0:
        links.close()
        os._exit(0)
    os.waitpid(child, 0)
    assert links.folder.exists()
