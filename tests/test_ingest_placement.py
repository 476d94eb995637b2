"""A model divided over devices, the rest of it read from its files: the same rows as the undivided one."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from ingest.errors import OptionError
from ingest.model.forward import LeanModel
from ingest.model.load import load_model
from ingest.model.placement import Room, room_for
from ingest.process.ranks import own_device, own_group
from ingest.run import activation_phase
from tests.compare import build_id, differences
from tests.conftest import Built, build_tiny

CPU = torch.device("cpu")
CARDS = [torch.device("cuda", number) for number in range(3)]
IDS = torch.randint(1, 300, (2, 11), generator=torch.Generator().manual_seed(3))


def weights_of(built: Built) -> int:
    return sum(4 * each.numel() for each in load_model(str(built.model)).bridge.original_model.parameters())


@pytest.mark.parametrize("share", [0.25, 0.0])
def test_what_has_no_room_is_read_from_the_files(built_llama: Built, share: float) -> None:
    """Activations, both sides and the residual, to the bit."""
    room = Room([CPU], [int(share * weights_of(built_llama))])
    runs = []
    for of in (None, room):
        lean, seen = LeanModel(load_model(str(built_llama.model)), CPU, torch.float32, room=of), []
        residual = lean.run(IDS, lambda _, *x, seen=seen: seen.extend(x), lambda _, *x, seen=seen: seen.extend(x))
        runs.append([residual, *(tensor.clone() for tensor in seen)])
    assert all(torch.equal(ours, theirs) for ours, theirs in zip(*runs, strict=True))
    left_over = [parameter for parameter in lean._module.parameters() if parameter.device.type == "meta"]
    assert sum(parameter.numel() for parameter in left_over) * 4 >= 0.5 * weights_of(built_llama)


def test_rows_of_a_run_with_a_quarter_of_the_memory(
    built_llama: Built, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    room = Room([CPU], [weights_of(built_llama) // 4])
    monkeypatch.setattr(activation_phase, "_room", lambda *_: room)
    options = {"context_length": built_llama.context_length, "overflow": built_llama.overflow}
    out = build_tiny(tmp_path, built_llama.model, built_llama.dataset, "tiny-llama", **options)
    assert differences(out, built_llama.atlas) == []
    assert build_id(out) == build_id(built_llama.atlas)


@pytest.mark.parametrize(
    ("weights", "free", "size"),
    [
        (70, [80], None),
        (70, [60], [50]),
        (70, [5], [0]),
        (140, [80, 80], [68, 72]),
        (140, [80, 80, 80], [0, 72, 72]),
        (400, [80, 80, 80], [70, 72, 72]),
    ],
)
def test_room(weights: int, free: list[int], size: list[int] | None) -> None:
    """Ten bytes of the first device are taken; several are filled from the last."""
    room = room_for(weights, CARDS[: len(free)], free, 10)
    assert (room and room.size) == size


def test_cards_of_a_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOCAL_RANK", "1")
    monkeypatch.setattr(torch.cuda, "set_device", lambda device: None)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    first = own_device(torch.device("cuda"), 2)
    assert own_group(first, 2) == [torch.device("cuda", 2), torch.device("cuda", 3)]
    with pytest.raises(OptionError, match=r"--devices-per-rank 3 asks for GPUs up to number 5.* sees 4\. Start"):
        own_device(torch.device("cuda"), 3)
    with pytest.raises(OptionError, match="this process sees 0"):
        own_device(CPU, 2)
