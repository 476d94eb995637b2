"""Weights in the dtype of their files: memory that is the files', results that are those of a float32 copy."""

from __future__ import annotations

import copy
import gc
import re
from pathlib import Path

import pytest
import torch
from torch import nn
from transformers import LlamaConfig, LlamaForCausalLM

from ingest.model import precision
from ingest.model.forward import LeanModel
from ingest.model.load import LoadedModel, load_model
from ingest.model.placement import Room
from ingest.model.precision import recomputed, widen
from ingest.model.weights import READOUTS, layer_weights, read_readout
from ingest.study.gradients import GradientRun
from ingest.study.study_model import StudyModel
from tests import families, forked, tiny

CPU = torch.device("cpu")
IDS = torch.randint(1, 300, (2, 11), generator=torch.Generator().manual_seed(3))
FAMILIES = ("llama", "gpt2", "gemma3", "falcon")
"""Untied and tied, with a constant that bfloat16 would round, with forward functions that TransformerLens replaces."""


def saved(net: nn.Module, folder: Path) -> Path:
    net.save_pretrained(folder)
    tiny.make_tokenizer().save_pretrained(folder)
    return folder


@pytest.fixture(params=FAMILIES)
def both(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[LoadedModel, LoadedModel]:
    """A model of a bfloat16 file, and one of a float32 file of the same numbers."""
    wide = families.make(request.param)
    narrow = copy.deepcopy(wide).to(torch.bfloat16)
    for ours, theirs in zip(wide.parameters(), narrow.parameters(), strict=True):
        ours.data = theirs.data.float()
    return tuple(load_model(str(saved(net, tmp_path / str(n)))) for n, net in enumerate((narrow, wide)))


def is_mapped(tensor: torch.Tensor) -> bool:
    """Whether a tensor's memory is that of a weights file."""
    for line in Path("/proc/self/maps").read_text().splitlines():
        if line.endswith("model.safetensors"):
            first, last = (int(end, 16) for end in re.match(r"(\w+)-(\w+)", line).groups())
            if first <= tensor.data_ptr() < last:
                return True
    return False


def test_a_narrow_file_gives_what_a_wide_one_gives(both: tuple[LoadedModel, LoadedModel]) -> None:
    """To the bit: fingerprint, weights, readouts, activations, predictions, gradients."""
    narrow, wide = both
    layer = narrow.layers[1]
    assert all(weight.dtype == torch.bfloat16 and is_mapped(weight) for weight in (layer.w_in, layer.w_out))
    assert narrow.fingerprint == wide.fingerprint
    for kind in READOUTS:
        assert torch.equal(read_readout(narrow, kind).columns, read_readout(wide, kind).columns)
    for number in range(len(narrow.layers)):
        for ours, theirs in zip(*(vars(layer_weights(each, number)).values() for each in both), strict=True):
            assert ours is theirs is None or torch.equal(ours, theirs)
    runs = []
    for model in both:
        lean, activations = LeanModel(model, CPU, torch.float32), []
        residual = lean.run(IDS, lambda _, x, activations=activations: activations.append(x.clone()))
        runs.append((residual, torch.cat(activations), lean.predict(residual.flatten(0, 1))))
    assert all(torch.equal(ours, theirs) for ours, theirs in zip(*runs, strict=True))
    assert is_mapped(layer.w_out), "the run has left the weights where they were"


@pytest.mark.parametrize("name", ["llama", "gpt2", "gemma2"])
def test_gradients_need_no_wide_copy(name: str, tmp_path: Path) -> None:
    """Weights converted at each use, forward and backward, give the gradients of weights converted once."""
    folder = saved(families.make(name).to(torch.bfloat16), tmp_path)
    counted = torch.ones_like(IDS, dtype=torch.bool)
    gradients = []
    for most in (0, 1 << 30):
        run = GradientRun(StudyModel(load_model(str(folder)), CPU, most), IDS, counted)
        gc.collect()
        alive = [made() for made, _ in precision._MADE.values() if made() is not None]
        assert most or not alive, "the graph holds what the weights were made of"
        of_layers: list[torch.Tensor] = []
        run.backward(lambda _, __, gradient, of_layers=of_layers: of_layers.append(gradient.clone()))
        gradients.append(torch.cat(of_layers))
    assert gradients[0].abs().sum() > 0
    assert torch.equal(*gradients)


def test_memory_that_is_used_again_is_not_taken_for_a_weight() -> None:
    """An activation may get the address that a converted weight had."""
    module = nn.Linear(64, 64, bias=False).to(torch.bfloat16).requires_grad_(False)
    widen(module)
    weight = module.weight
    entry = precision._MADE[weight.data_ptr()]
    del weight
    x, other = torch.randn(3, 64, requires_grad=True), torch.eye(64)
    with recomputed():
        precision._MADE[other.data_ptr()] = entry
        y = module(x @ other)
    y.sum().backward()
    torch.testing.assert_close(x.grad, module.weight.sum(0).expand(3, -1))
    del precision._MADE[other.data_ptr()]


_SIZE = {"hidden_size": 256, "intermediate_size": 768, "num_attention_heads": 4, "vocab_size": 320}


def _measure(folder: str, log: str) -> None:
    """The bytes of anonymous memory that loading, reading every layer and a run of a few tokens take at most."""
    LeanModel(load_model(folder), CPU, torch.float32)  # What libraries load at first use is not the model's.
    gc.collect()
    before, peaks = forked.anonymous(), []
    for room in (Room([CPU], [1 << 24]), None):
        model = load_model(folder)
        for layer in range(len(model.layers)):
            layer_weights(model, layer)
            peaks.append(forked.anonymous())
        LeanModel(model, CPU, torch.float32, room=room).run(IDS, lambda *_: peaks.append(forked.anonymous()))
    Path(log).write_text(str(max(peaks) - before))


def test_memory_of_a_model(tmp_path: Path) -> None:
    """Less than a byte a parameter beside the file's own pages, where a float32 copy takes four; so too with room for a
    quarter of the model."""
    config = LlamaConfig(**_SIZE, num_hidden_layers=20, num_key_value_heads=4, tie_word_embeddings=False)
    net = LlamaForCausalLM(config).to(torch.bfloat16)
    n_parameters = sum(parameter.numel() for parameter in net.parameters())
    assert n_parameters > 16e6
    folder = saved(net, tmp_path / "model")
    forked.finish(forked.call(_measure, str(folder), str(tmp_path / "log")))
    assert int((tmp_path / "log").read_text()) < n_parameters
