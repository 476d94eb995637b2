"""Runs that publish while they go on: what is under the output's name is whole at every moment, grows, and ends as the
atlas of a run that published once."""

from __future__ import annotations

import io
import os
import random
import shutil
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import duckdb
import pytest
from rich.console import Console

from atlas import open_atlas
from atlas.core.errors import AtlasError
from atlas.core.files import OutputFileError
from atlas.core.info import came_before
from ingest.activations.reader import Reader
from ingest.errors import OutputError
from ingest.file.append import extend_atlas
from ingest.file.checks import check_file
from ingest.file.writer import AtlasWriter
from ingest.merge.merge import merge
from ingest.process.settings import Settings
from ingest.run import publish as publishing
from ingest.run.build import build
from tests import forked, tiny
from tests.compare import build_id, differences
from tests.test_ingest_ranks import free_port

N_TEXTS = 16


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Texts as long as the context, a batch each: floats agree to the bit whoever reads them."""
    return tiny.run_of_full_texts(tmp_path_factory.mktemp("published"), N_TEXTS)


@pytest.fixture(scope="module")
def whole(settings: dict[str, Any]) -> Path:
    """What a run gives that publishes once."""
    build(Settings(**settings), Console(quiet=True))
    return settings["out"]


@dataclass
class Followed:
    """What was seen under an output's name, each atlas checked when it was there."""

    out: Path
    builds: list[str] = field(default_factory=list)
    counts: list[tuple[int, int | None, int]] = field(default_factory=list)
    inode: int = 0

    def look(self) -> None:
        """Look once; an atlas that was seen before is not checked again."""
        try:
            status = self.out.stat()
        except FileNotFoundError:
            assert not self.builds, "an atlas that was there is gone"
            return
        if status.st_ino == self.inode:
            return
        self.inode = status.st_ino
        held = self.out.with_name("held")
        held.unlink(missing_ok=True)
        os.link(self.out, held)  # Another may take its place while this one is looked at.
        check_whole(held)
        with open_atlas(held) as atlas:
            info = atlas.info
        held.unlink()
        self.builds.append(info.build_id)
        self.counts.append((info.n_texts, info.n_texts_planned, info.n_positions))

    def check(self, whole: Path, at_least: int) -> None:
        """It grew, and ended as the whole."""
        assert len(self.builds) >= at_least, self.counts
        texts = [n for n, _, _ in self.counts]
        assert texts == sorted(set(texts))
        assert [n for _, _, n in self.counts] == sorted(n for _, _, n in self.counts)
        assert all(planned is not None for _, planned, _ in self.counts[:-1])
        assert self.counts[-1][1] is None
        assert differences(self.out, whole) == []
        assert build_id(self.out) == build_id(whole)
        with open_atlas(self.out) as atlas:
            assert all(came_before(build, atlas.info) for build in self.builds[:-1])


def check_whole(path: Path) -> None:
    """All that is checked of a file before it gets its name, and every view answers."""
    check_file(path, {})
    with duckdb.connect(str(path), read_only=True) as connection:
        for (view,) in connection.execute("SELECT view_name FROM duckdb_views() WHERE NOT internal").fetchall():
            connection.execute(f'FROM "{view}" LIMIT 3').fetchall()
        ((n, planned),) = connection.execute("SELECT n_texts, n_texts_planned FROM atlas").fetchall()
        ((rows,),) = connection.execute("SELECT count(*) FROM neuron_weight").fetchall()
        assert rows > 0
        assert n > 0
        assert planned is None or planned >= n


@pytest.fixture
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    """However much it costs."""
    monkeypatch.setattr(publishing, "SHARE", 1e9)


@pytest.fixture
def out(tmp_path: Path) -> Path:
    (tmp_path / "out").mkdir()
    return tmp_path / "out" / "atlas.duckdb"


def test_every_atlas_is_whole_and_the_last_is_that_of_a_run_without(
    settings: dict[str, Any], whole: Path, out: Path, often: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = Followed(out)
    read = Reader.read

    def look_and_read(self: Reader, batch: Any) -> None:
        seen.look()
        read(self, batch)

    monkeypatch.setattr(Reader, "read", look_and_read)
    said = Console(record=True, width=200, quiet=False, file=io.StringIO())
    report = build(Settings(**{**settings, "out": out, "publish_every": 1e-9}), said)
    seen.look()
    seen.check(whole, at_least=N_TEXTS // 2)
    planned = {planned for _, planned, _ in seen.counts[:-1]}
    assert planned == {N_TEXTS}, "the rows were read ahead: their number is known"
    assert [path.name for path in out.parent.iterdir()] == [out.name]
    assert report.seconds["Publishing before"] > 0
    assert f"build {seen.builds[3]}: {seen.counts[3][0]} of about {N_TEXTS} texts (" in said.export_text()


@pytest.mark.parametrize("full", [False, True])
def test_what_publishing_costs_decides_how_often(
    settings: dict[str, Any], whole: Path, out: Path, monkeypatch: pytest.MonkeyPatch, full: bool
) -> None:
    """Where an atlas takes a second, and a tenth of the time may go there, the n-th comes after 10 n seconds; so does
    the n-th attempt, on a disk that stays full."""
    monkeypatch.setattr(publishing, "SHARE", 0.1)
    now = [0.0]
    monkeypatch.setattr(publishing.time, "monotonic", lambda: now[0])
    publish, at = AtlasWriter.publish, []

    def slow(self: AtlasWriter, out: Path) -> None:
        at.append(now[0])
        now[0] += 1.0
        if full and len(at) <= 3:
            raise OutputError("The disk is full.")
        publish(self, out)

    read = Reader.read

    def tick(self: Reader, batch: Any) -> None:
        read(self, batch)
        now[0] += 2.0

    monkeypatch.setattr(AtlasWriter, "publish", slow)
    monkeypatch.setattr(Reader, "read", tick)
    said = io.StringIO()
    build(Settings(**{**settings, "out": out, "publish_every": 4.0}), Console(quiet=True, file=said))
    assert at[0] == 6.0, "`--publish-every` after the first batch, since that is less than ten seconds"
    # Two of them are a tenth of twenty seconds; batches take two seconds.
    assert at[1:-1] == [21.0, 30.0]
    assert differences(out, whole) == []
    assert said.getvalue() == ("The disk is full. The run goes on.\n" * 3 if full else ""), (
        "a quiet run says what matters"
    )


@pytest.mark.parametrize("checkpoints", [True, False])
def test_killed_at_any_moment(
    settings: dict[str, Any], whole: Path, out: Path, tmp_path: Path, checkpoints: bool, thorough: bool
) -> None:
    """Whatever is there is whole; the same command goes on, replaces it without --force, and never by less."""
    if not (checkpoints or thorough):
        pytest.skip("a run without checkpoints is interrupted below; killed again and again when thorough")
    changes = {"out": out, "publish_every": 1e-9, **({"checkpoint": tmp_path / "saved"} if checkpoints else {})}
    if checkpoints:
        changes["checkpoint_every"] = 1e-9
    rng, log, seen = random.Random(5), tmp_path / "log", Followed(out)
    for _ in range(12 if thorough else 2):
        process = forked.start({**settings, **changes}, log, share=1e9)
        wait_for(lambda: list(out.parent.glob("*.tmp-*")) or out.exists(), process)
        time.sleep(rng.uniform(0, 0.5))
        process.kill()
        process.join()
        seen.look()
    process = forked.start({**settings, **changes}, log, share=1e9)
    while process.exitcode is None:
        seen.look()
        time.sleep(0.001)
    assert process.exitcode == 0, log.read_text()
    seen.look()
    seen.check(whole, at_least=2)
    assert [path.name for path in out.parent.iterdir()] == [out.name]


def wait_for(condition: Callable[[], Any], process: forked.ForkServerProcess) -> None:
    deadline = time.monotonic() + 60
    while not condition() and process.exitcode is None:
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.002)


@pytest.mark.parametrize(("checkpoints", "number", "code"), [(False, signal.SIGINT, 130), (True, signal.SIGTERM, 75)])
def test_told_to_stop_the_last_one_stays(
    settings: dict[str, Any], whole: Path, out: Path, tmp_path: Path, checkpoints: bool, number: int, code: int
) -> None:
    changes = {"out": out, "publish_every": 1e-9, "checkpoint": tmp_path / "saved" if checkpoints else None}
    log, seen = tmp_path / "log", Followed(out)
    process = forked.start({**settings, **changes}, log, share=1e9)
    wait_for(lambda: log.exists() and "of about" in log.read_text(), process)
    os.kill(process.pid, number)
    assert forked.finish(process) == code, log.read_text()
    seen.look()
    assert seen.counts[-1][1] is not None
    assert f"{out} stays, with {seen.counts[-1][0]} of about" in log.read_text()
    assert [path.name for path in out.parent.iterdir()] == [out.name]
    assert forked.finish(forked.start({**settings, **changes}, log)) == 0, log.read_text()
    seen.look()
    seen.check(whole, at_least=2)


def test_several_ranks(settings: dict[str, Any], whole: Path, out: Path, tmp_path: Path) -> None:
    """Each atlas is of what all ranks have read."""
    seen = Followed(out)
    ranks = forked.start_ranks(2, {**settings, "out": out, "publish_every": 1e-9}, tmp_path, free_port(), share=1e9)
    while any(rank.exitcode is None for rank in ranks):
        seen.look()
        time.sleep(0.001)
    said = "\n".join((tmp_path / f"rank{rank}.log").read_text() for rank in range(2))
    assert [rank.exitcode for rank in ranks] == [0, 0], said
    seen.look()
    seen.check(whole, at_least=2)
    assert said.count("of about") >= len(seen.builds) - 1
    assert "of about" not in (tmp_path / "rank1.log").read_text()


@pytest.fixture(scope="module")
def unfinished(settings: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The second atlas of a run that was stopped then."""
    out = tmp_path_factory.mktemp("unfinished") / "atlas.duckdb"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(publishing, "SHARE", 1e9)
        publish, n = AtlasWriter.publish, iter(range(9))

        def stop(self: AtlasWriter, out: Path) -> None:
            publish(self, out)
            if next(n) == 1:
                raise KeyboardInterrupt

        patch.setattr(AtlasWriter, "publish", stop)
        with pytest.raises(KeyboardInterrupt):
            build(Settings(**{**settings, "out": out, "publish_every": 1e-9}), Console(quiet=True))
    return out


@pytest.fixture
def left(unfinished: Path, out: Path) -> Path:
    """A copy of it."""
    return Path(shutil.copyfile(unfinished, out))


def test_another_run_does_not_replace_it(settings: dict[str, Any], left: Path) -> None:
    before = build_id(left)
    with pytest.raises(OutputFileError, match=r"its context_length is 24 and would be 20 now. Choose another --out"):
        build(Settings(**{**settings, "out": left, "context_length": 20}), Console(quiet=True))
    assert build_id(left) == before
    build(Settings(**{**settings, "out": left, "context_length": 20, "force": True}), Console(quiet=True))
    with open_atlas(left) as atlas:
        assert atlas.info.context_length == 20


def test_a_complete_atlas_is_not_replaced(settings: dict[str, Any], whole: Path, out: Path) -> None:
    shutil.copyfile(whole, out)
    with pytest.raises(OutputFileError, match="exists already"):
        build(Settings(**{**settings, "out": out, "publish_every": 1.0}), Console(quiet=True))


def test_what_somebody_else_put_there_stays(
    settings: dict[str, Any], whole: Path, out: Path, often: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between two atlases of a run: neither the next nor the last takes its place."""
    read, n = Reader.read, iter(range(N_TEXTS))

    def meddle(self: Reader, batch: Any) -> None:
        read(self, batch)
        if next(n) == 5:
            assert out.exists()
            out.unlink()
            out.write_text("theirs")

    monkeypatch.setattr(Reader, "read", meddle)
    report = build(Settings(**{**settings, "out": out, "publish_every": 1e-9}), Console(quiet=True))
    assert out.read_text() == "theirs"
    assert report.out.name == f"atlas-{report.build_id}.duckdb"
    assert differences(report.out, whole) == []


def test_a_full_disk_need_not_end_the_run(
    settings: dict[str, Any], whole: Path, out: Path, often: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_atlas, n = AtlasWriter.write_atlas, iter(range(999))

    def full(self: AtlasWriter, row: Any) -> str:
        if next(n) in (0, 2):
            raise OutputError("Rows of table 'atlas' cannot be written: the disk is full.")
        return write_atlas(self, row)

    monkeypatch.setattr(AtlasWriter, "write_atlas", full)
    said = Console(record=True, width=200, file=io.StringIO())
    build(Settings(**{**settings, "out": out, "publish_every": 1e-9}), said)
    assert said.export_text().count("the disk is full. The run goes on.") == 2
    assert differences(out, whole) == []
    assert [path.name for path in out.parent.iterdir()] == [out.name]


def test_it_is_no_part_to_merge_and_nothing_to_add_to(left: Path, whole: Path, tmp_path: Path) -> None:
    for use in (
        lambda: merge([whole, left], tmp_path / "merged.duckdb", Console(quiet=True)),
        lambda: extend_atlas(left, {}),
    ):
        with pytest.raises(AtlasError, match="is not complete"):
            use()
    assert not (tmp_path / "merged.duckdb").exists()
