"""Memory: a budget that is kept or refused with figures, and a batch that backs off instead of dying."""

from __future__ import annotations

import io
import re
from pathlib import Path

import duckdb
import pytest
import torch
from rich.console import Console

from ingest.errors import OptionError, OutOfMemoryError
from ingest.model.forward import LeanModel
from ingest.process.memory import Budget, is_out_of_memory, show
from ingest.process.settings import Settings, parse_bytes, parse_duration
from ingest.run.build import build
from tests.compare import differences
from tests.conftest import Built

CPU = torch.device("cpu")


@pytest.fixture
def options(built_llama: Built, tmp_path: Path) -> dict:
    return {
        "model": str(built_llama.model),
        "dataset": str(built_llama.dataset),
        "slug": "tiny-llama",
        "window": 16,
        "context_length": 24,
        "overflow": "split",
        "top_tokens": 20,
        "top_neurons": 20,
        "top_texts": 6,
        "out": tmp_path / "atlas.duckdb",
    }


def run(options: dict, **changes: object) -> str:
    """Build; what was said."""
    said = io.StringIO()
    build(Settings(**{**options, **changes}), Console(file=said, width=300))
    return said.getvalue()


class SmallMemory:
    """A model whose forward pass fails above a number of tokens, from the n-th batch on."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, error: Exception, tokens: int, first: int = 0) -> None:
        self.sizes: list[int] = []
        real = LeanModel.run

        def run(model: LeanModel, input_ids: torch.Tensor, *args: object) -> torch.Tensor:
            if input_ids.shape[0] == 1 and input_ids.shape[1] == 12:
                return real(model, input_ids, *args)  # The check of the logits at the start.
            self.sizes.append(input_ids.numel())
            if input_ids.numel() > tokens and len(self.sizes) > first:
                raise error
            return real(model, input_ids, *args)

        monkeypatch.setattr(LeanModel, "run", run)


ERRORS = {
    "cuda": torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
    "cpu": RuntimeError("[enforce fail at alloc_cpu.cpp:117] DefaultCPUAllocator: can't allocate memory: 12 bytes"),
    "numpy": MemoryError("Unable to allocate 1.00 TiB"),
}


def test_running_out_halves_the_batch(options: dict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The atlas is the one of a run that began with the smaller batch."""
    small = tmp_path / "small.duckdb"
    run(options, out=small, batch_size=2)
    with monkeypatch.context() as patch:
        memory = SmallMemory(patch, ERRORS["cuda"], 60)
        said = run(options, batch_size=8)
    assert "Memory ran out on a batch of 192 tokens; going on with 96." in said
    assert "Memory ran out on a batch of 96 tokens; going on with 48." in said
    assert sum(size > 60 for size in memory.sizes) == 2
    assert differences(options["out"], small) == []


def test_running_out_later_goes_on_from_the_checkpoint(
    options: dict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, built_llama: Built
) -> None:
    memory = SmallMemory(monkeypatch, ERRORS["cuda"], 60, first=5)
    said = run(options, batch_size=4, checkpoint=tmp_path / "checkpoints", checkpoint_every=1e-9)
    assert said.count("Memory ran out") == 1
    assert max(memory.sizes[:5]) > 60
    assert memory.sizes[6] <= 60
    counts = "SELECT token_id, n_input, n_actual, n_predicted FROM token ORDER BY 1"
    found = []
    for path in (options["out"], built_llama.atlas):
        with duckdb.connect(str(path), read_only=True) as connection:
            found.append(connection.execute(counts).fetchall())
    assert found[0] == found[1]


def test_a_text_that_does_not_fit_ends_the_run(options: dict, monkeypatch: pytest.MonkeyPatch) -> None:
    SmallMemory(monkeypatch, ERRORS["cuda"], 10)
    with pytest.raises(OutOfMemoryError, match=r"on a batch of one text of 24 tokens \(CUDA out of memory.*shorter"):
        run(options, batch_size=4)
    assert not options["out"].exists()


def test_other_errors_are_not_taken_for_it(options: dict, monkeypatch: pytest.MonkeyPatch) -> None:
    SmallMemory(monkeypatch, RuntimeError("something else"), 10)
    with pytest.raises(RuntimeError, match="something else"):
        run(options)


def test_a_budget_too_small_says_what_is_needed(options: dict) -> None:
    with pytest.raises(
        OutOfMemoryError, match=r"--memory 50MB is not enough: .* is taken, and .* needs about"
    ) as error:
        run(options, memory=50_000_000)
    needed = re.search(r"Allow ([\d.]+)(MB|GB) or more", str(error.value))
    assert needed
    assert not options["out"].exists()


def test_a_budget_shrinks_the_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    """All of what is left, but never less than a text, nor more than is useful."""
    monkeypatch.setattr("ingest.process.memory.memory_used", lambda device: 600)
    assert Budget(1600, CPU).batch_tokens(10, 5) == 60
    assert Budget(1600, CPU).batch_tokens(10, 5, held=500) == 30
    assert Budget(10**9, CPU).batch_tokens(10, 5) == 4096
    assert Budget(10**9, CPU).batch_tokens(5000, 5) == 5000
    with pytest.raises(OutOfMemoryError, match="shorter --context-length"):
        Budget(1600, CPU).batch_tokens(300, 5)
    with pytest.raises(OutOfMemoryError, match=r"needs about 0MB"):
        Budget(1600, CPU).batch_tokens(100, 5, held=600)
    assert Budget(None, CPU).batch_tokens(10, 5) == 4096
    assert Budget(None, CPU).tile_bytes() is None
    assert Budget(600 + 2**24, CPU).tile_bytes() == 2**22


def test_what_running_out_looks_like() -> None:
    assert all(is_out_of_memory(error) for error in ERRORS.values())
    assert not is_out_of_memory(RuntimeError("shapes cannot be multiplied"))


def test_sizes_for_people() -> None:
    assert [show(n) for n in (50_000_000, 3_250_000_000, 42_000_000_000)] == ["50MB", "3.2GB", "42GB"]


@pytest.mark.parametrize(("text", "size"), [(None, None), ("8GB", 8 * 10**9), ("512MiB", 2**29), ("1.5 gb", 1.5e9)])
def test_sizes(text: str | None, size: float | None) -> None:
    assert parse_bytes(text) == size


@pytest.mark.parametrize("text", ["lots", "-3GB", "3 parsecs", "0GB", ""])
def test_sizes_that_are_none(text: str) -> None:
    with pytest.raises(OptionError, match=f"--memory '{text}' is not an amount of memory: expected one like 8GB"):
        parse_bytes(text)


@pytest.mark.parametrize(("text", "seconds"), [("300", 300), ("90s", 90), ("5min", 300), ("1.5h", 5400)])
def test_durations(text: str, seconds: float) -> None:
    assert parse_duration("--checkpoint-every", text) == seconds


@pytest.mark.parametrize("text", ["soon", "-5min", "5 fortnights", "0s"])
def test_durations_that_are_none(text: str) -> None:
    with pytest.raises(OptionError, match=f"--publish-every '{text}' is not a length of time"):
        parse_duration("--publish-every", text)
