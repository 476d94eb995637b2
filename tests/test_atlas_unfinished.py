"""Files of a run in progress: which run a build_id is of, and what a run says beside its file."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path

import pytest

from atlas import open_atlas
from atlas.core.info import RunProgress, came_before, run_prefix, unfinished_build_id

SAID = RunProgress("Activations", 0.25, "2,310 tokens/s", 90.0, 1 << 30, 1.5, {"Loading model": 1.3})


def test_builds_of_a_run_are_known_by_its_later_files(tiny_llama_atlas: Path) -> None:
    with open_atlas(tiny_llama_atlas) as atlas:
        info = atlas.info
    row = asdict(info)
    earlier = unfinished_build_id({**row, "n_texts": 3, "n_texts_planned": 40, "n_positions": 17}, "0123456789ab")
    assert len(earlier) == 12
    assert came_before(earlier, info)
    assert not came_before(info.build_id, info)
    assert not came_before("0123456789ab", info)
    for change in ({"seed": 1}, {"context_length": 17}, {"dataset_fingerprint": "other"}):
        assert not came_before(earlier, replace(info, **change))
        assert run_prefix({**row, **change}) != run_prefix(row)


def test_share_read(tiny_llama_atlas: Path) -> None:
    with open_atlas(tiny_llama_atlas) as atlas:
        assert atlas.info.n_texts_planned is None
        assert atlas.info.share_read is None
        assert replace(atlas.info, n_texts=10, n_texts_planned=40).share_read == 0.25
        assert replace(atlas.info, n_texts=41, n_texts_planned=40).share_read == 1.0


def test_progress_is_read_as_it_was_written(tmp_path: Path) -> None:
    out = tmp_path / "a.duckdb"
    assert RunProgress.read(out) is None
    SAID.write(out)
    assert RunProgress.read(out) == SAID
    assert [path.name for path in tmp_path.iterdir()] == ["a.duckdb.progress"]
    RunProgress.forget(out)
    RunProgress.forget(out)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("text", ["", "{", "[]", '{"phase": "x"}', '{"other": 1}'])
def test_what_is_no_progress_is_none(tmp_path: Path, text: str) -> None:
    RunProgress.path(tmp_path / "a.duckdb").write_text(text)
    assert RunProgress.read(tmp_path / "a.duckdb") is None


def test_a_place_that_cannot_be_written_stops_nobody(tmp_path: Path) -> None:
    SAID.write(tmp_path / "missing" / "a.duckdb")
    RunProgress.forget(tmp_path / "missing" / "a.duckdb")


def test_nothing_is_left_of_what_found_no_room(tmp_path: Path) -> None:
    (tmp_path / "a.duckdb.progress.new").write_text("{")
    RunProgress.forget(tmp_path / "a.duckdb")
    assert not list(tmp_path.iterdir())
