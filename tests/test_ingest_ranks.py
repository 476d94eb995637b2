"""Several processes, one atlas: the same rows as one process, whoever dies, with whatever number goes on."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from ingest.errors import RankError
from ingest.process.ranks import Ranks, joined, own_device
from tests import forked, tiny
from tests.compare import build_id, differences


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Every text is as long as the context, so every batch is one text, whoever reads it: floats agree to the bit."""
    return tiny.run_of_full_texts(tmp_path_factory.mktemp("ranks"), 38)


@pytest.fixture(scope="module")
def whole(settings: dict[str, Any]) -> Path:
    """What one process gives."""
    log = settings["out"].with_suffix(".log")
    assert forked.finish(forked.start(settings, log)) == 0, log.read_text()
    return settings["out"]


def logs(folder: Path, world: int) -> str:
    return "\n".join((folder / f"rank{rank}.log").read_text() for rank in range(world))


def check(out: Path, whole: Path) -> None:
    assert differences(out, whole) == []
    assert build_id(out) == build_id(whole)


def test_the_same_rows_as_one_process(settings: dict[str, Any], whole: Path, tmp_path: Path) -> None:
    """Three; two are started by torchrun below."""
    world = 3
    out = tmp_path / "out" / "atlas.duckdb"
    out.parent.mkdir()
    ranks = forked.start_ranks(world, {**settings, "out": out}, tmp_path, free_port())
    assert [forked.finish(rank) for rank in ranks] == [0] * world, logs(tmp_path, world)
    check(out, whole)
    assert [path.name for path in out.parent.iterdir()] == [out.name]
    assert "Congruence" in (tmp_path / "rank0.log").read_text()
    assert "Congruence" not in (tmp_path / "rank1.log").read_text(), "one rank reports"


def test_torchrun(settings: dict[str, Any], whole: Path, tmp_path: Path) -> None:
    """The command of the documentation; sums of attributions are equal but for rounding, so they are left out here."""
    out = tmp_path / "atlas.duckdb"
    options = {name: str(value) for name, value in {**settings, "out": out, "attribution": 0}.items()}
    flags = settings["statistics"]
    del options["statistics"]
    arguments = [part for name, value in options.items() for part in (f"--{name.replace('_', '-')}", value)]
    subprocess.run(
        [
            sys.executable,
            "-m",
            "torch.distributed.run",
            "--nproc-per-node",
            "2",
            "--master-port",
            str(free_port()),
            "-m",
            "ingest",
            *arguments,
            *flags,
        ],
        check=True,
        timeout=300,
        cwd=Path(__file__).parents[1],
    )
    check(out, whole)


def test_a_rank_that_dies(settings: dict[str, Any], whole: Path, tmp_path: Path) -> None:
    """Rank 1 of 3 is killed: the others say so; two ranks go on, then one is told to stop; three finish."""
    saved = tmp_path / "checkpoints"
    changes = {**settings, "out": tmp_path / "atlas.duckdb", "checkpoint": saved, "checkpoint_every": 1e-9}

    def begin(world: int) -> list[forked.ForkServerProcess]:
        return forked.start_ranks(world, changes, tmp_path, free_port())

    ranks = begin(3)
    forked.wait_for_checkpoint(saved, "texts-1-1of3", 3, ranks)
    ranks[1].kill()
    codes = [forked.finish(rank) for rank in ranks]
    assert codes == [1, -signal.SIGKILL, 1], logs(tmp_path, 3)
    for rank in (0, 2):
        assert f"Rank {rank} of 3 lost another rank" in (tmp_path / f"rank{rank}.log").read_text()

    ranks = begin(2)
    forked.wait_for_checkpoint(saved, "texts-2-0of2", 3, ranks)
    assert not list(saved.glob("texts-1-*"))
    for rank in ranks:
        os.kill(rank.pid, signal.SIGTERM)
    assert [forked.finish(rank) for rank in ranks] == [75, 75], logs(tmp_path, 2)

    ranks = begin(3)
    assert [forked.finish(rank) for rank in ranks] == [0, 0, 0], logs(tmp_path, 3)
    check(changes["out"], whole)
    assert not saved.exists()


def test_ranks_that_were_started_differently(settings: dict[str, Any], tmp_path: Path) -> None:
    port = free_port()
    shared = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    out = tmp_path / "atlas.duckdb"
    ranks = [
        forked.start({**settings, "out": out, "seed": rank}, tmp_path / f"rank{rank}.log", RANK=str(rank), **shared)
        for rank in range(2)
    ]
    assert [forked.finish(rank) for rank in ranks] == [1, 1]
    assert "The ranks differ in what they read: --seed is 0 on rank 0 and 1 on rank 1" in logs(tmp_path, 2)
    assert not out.exists()


def test_what_fails_on_the_first_rank_stops_all(settings: dict[str, Any], tmp_path: Path) -> None:
    out = tmp_path / "atlas.duckdb"
    out.write_text("mine")
    ranks = forked.start_ranks(2, {**settings, "out": out}, tmp_path, free_port())
    assert [forked.finish(rank) for rank in ranks] == [1, 1]
    assert "exists already" in (tmp_path / "rank0.log").read_text()
    assert "Rank 0 failed" in (tmp_path / "rank1.log").read_text()
    assert out.read_text() == "mine"


def test_a_launcher_half_set_up(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RANK", "MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("WORLD_SIZE", "2")
    with (
        pytest.raises(RankError, match=r"Rank 0 of 2 cannot join the others.*as torchrun sets them"),
        joined(torch.device("cpu")),
    ):
        pass


def test_one_process_needs_no_group() -> None:
    alone = Ranks()
    assert alone.main
    assert alone.on_main(lambda: 7) == 7
    alone.agree("anything", {"a": 1})
    alone.barrier()
    assert alone.reduce(dict, lambda state: None)
    assert alone.broadcast({"a": torch.ones(1)}) == {"a": torch.ones(1)}
    assert own_device(torch.device("cpu")) == torch.device("cpu")
