"""Small random models of many architectures, and studies of them the naive way: float64, one plain forward pass at a
time with hooks on the Hugging Face module, no batches, no cache, no resuming. Shares no code with `ingest`."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import torch
import transformers as hf
from torch import nn

from tests import tiny

_SIZE = {"hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 4, "vocab_size": 320}
_GATED = {**_SIZE, "intermediate_size": 24, "num_key_value_heads": 2}
_GPT = {"n_embd": 32, "n_layer": 3, "n_head": 4, "vocab_size": 320, "n_positions": 64, "n_inner": 24}
_IDS = {"bos_token_id": 0, "eos_token_id": 0, "pad_token_id": 0}


@dataclass(frozen=True)
class Kind:
    """An architecture: its configuration, and where its parts are (dotted paths; of parts in a block, from it).

    `mid` is the module whose input is the residual stream after attention; None: parallel. `post`: the norm behind
    the MLP.
    """

    config: hf.PretrainedConfig
    blocks: str
    norm: str
    attn: str
    mlp: str
    out: str
    mid: str | None
    post: str | None = None
    rms: bool = True


KINDS = {
    "gpt2": Kind(hf.GPT2Config(**_GPT, **_IDS), "transformer.h", "transformer.ln_f", "attn", "mlp", "mlp.c_proj",
                 "ln_2", rms=False),
    "llama": Kind(hf.LlamaConfig(**_GATED, **_IDS), "model.layers", "model.norm", "self_attn", "mlp", "mlp.down_proj",
                  "post_attention_layernorm"),
    "pythia": Kind(hf.GPTNeoXConfig(**_SIZE, intermediate_size=24, **_IDS), "gpt_neox.layers",
                   "gpt_neox.final_layer_norm", "attention", "mlp", "mlp.dense_4h_to_h", None, rms=False),
    "gpt-j": Kind(hf.GPTJConfig(**_GPT, rotary_dim=4, **_IDS), "transformer.h", "transformer.ln_f", "attn", "mlp",
                  "mlp.fc_out", None, rms=False),
    "opt": Kind(hf.OPTConfig(**_SIZE, ffn_dim=24, word_embed_proj_dim=32, max_position_embeddings=64, **_IDS),
                "model.decoder.layers", "model.decoder.final_layer_norm", "self_attn", "fc2", "fc2", "final_layer_norm",
                rms=False),
    "gemma2": Kind(hf.Gemma2Config(**_GATED, head_dim=8, final_logit_softcapping=4.0, **_IDS), "model.layers",
                   "model.norm", "post_attention_layernorm", "post_feedforward_layernorm", "mlp.down_proj",
                   "pre_feedforward_layernorm", "post_feedforward_layernorm"),
    "olmo2": Kind(hf.Olmo2Config(**_GATED, **_IDS), "model.layers", "model.norm", "post_attention_layernorm",
                  "post_feedforward_layernorm", "mlp.down_proj", "mlp", "post_feedforward_layernorm"),
    "granite": Kind(hf.GraniteConfig(**_GATED, residual_multiplier=0.5, logits_scaling=2.0, **_IDS), "model.layers",
                    "model.norm", "self_attn", "mlp", "mlp.down_proj", "post_attention_layernorm"),
}  # fmt: skip


def make(name: str) -> nn.Module:
    """A random model, gains and biases not one and zero."""
    torch.manual_seed(7)
    net = hf.AutoModelForCausalLM.from_config(copy.deepcopy(KINDS[name].config)).eval()
    net.config.architectures = [type(net).__name__]
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    return net


def save_tokenizer(folder) -> hf.PreTrainedTokenizerBase:
    """The tiny tokenizer, from disk, as TransformerLens wants it."""
    tiny.make_tokenizer().save_pretrained(folder)
    return hf.AutoTokenizer.from_pretrained(folder)


@dataclass
class Plain:
    """The naive run of one pair. `hooked` maps (layer, site) to a change of the [pos, width] tensor there."""

    kind: Kind
    net: nn.Module
    clean: list[int]
    corrupt: list[int]
    answer: int
    other: int
    dtype: torch.dtype = torch.float64
    seen: dict[str, dict] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.dtype != torch.float32:
            self.net = copy.deepcopy(self.net).to(self.dtype)
        self.blocks = self.net.get_submodule(self.kind.blocks)
        for side in ("clean", "corrupt"):
            self.seen[side] = {}
            logits = self.run(getattr(self, side), {}, self.seen[side])
            self.seen[side].update(logits=logits, difference=logits[self.answer] - logits[self.other])

    def module(self, layer: int, site: str) -> tuple[nn.Module, bool]:
        """Module, and whether the site is its input."""
        block = self.blocks[layer]
        return {
            "resid_pre": (block, True),
            "attn_out": (block.get_submodule(self.kind.attn), False),
            "mlp_out": (block.get_submodule(self.kind.mlp), False),
            "neuron": (block.get_submodule(self.kind.out), True),
            "resid_post": (block, False),
            "projected": (block.get_submodule(self.kind.out), False),
            "mid": (block.get_submodule(self.kind.mid or self.kind.out), True),
        }[site]

    def run(self, ids: list[int], hooked: dict[tuple[int, str], Callable], keep: dict | None = None) -> np.ndarray:
        """Logits at the last position; with `keep`, every site's value by (layer, site)."""
        handles = []

        def hook(place: tuple[int, str], at_input: bool) -> Callable:
            def change(value: torch.Tensor) -> torch.Tensor:
                flat = value.reshape(len(ids), -1).clone()
                if keep is not None:
                    keep[place] = flat
                if place not in hooked:
                    return value
                hooked[place](flat)
                return flat.view(value.shape)

            def pre(_, args, kwargs):
                return ((change(args[0]), *args[1:]), kwargs) if args else (args, kwargs)

            def post(_, args, output):
                return (change(output[0]), *output[1:]) if isinstance(output, tuple) else change(output)

            return pre if at_input else post

        wanted = list(hooked)
        if keep is not None:
            sites = ("resid_pre", "attn_out", "mlp_out", "neuron", "resid_post", "projected", "mid")
            wanted = [(layer, site) for layer in range(len(self.blocks)) for site in sites]
        for place in wanted:
            module, at_input = self.module(*place)
            made = hook(place, at_input)
            handles.append(
                module.register_forward_pre_hook(made, with_kwargs=True)
                if at_input
                else module.register_forward_hook(made)
            )
        with torch.no_grad():
            logits = self.net(input_ids=torch.tensor([ids]), use_cache=False).logits[0, -1]
        for handle in handles:
            handle.remove()
        return logits.numpy()

    def recovery(self, logits: np.ndarray) -> float:
        """Relative logit-difference recovery."""
        clean, corrupt = (self.seen[side]["difference"] for side in ("clean", "corrupt"))
        return (logits[self.answer] - logits[self.other] - corrupt) / (clean - corrupt)

    def patch_site(self, layer: int, site: str, position: int) -> float:
        """Recovery of one site at one place."""

        def change(value: torch.Tensor) -> None:
            value[position] = self.seen["clean"][layer, site][position]

        return self.recovery(self.run(self.corrupt, {(layer, site): change}))

    def patch_neuron(self, layer: int, neuron: int) -> float:
        """Recovery of one neuron at all positions."""

        def change(value: torch.Tensor) -> None:
            value[:, neuron] = self.seen["clean"][layer, "neuron"][:, neuron]

        return self.recovery(self.run(self.corrupt, {(layer, "neuron"): change}))

    def ablate(self, neurons: list[tuple[int, int]], new: Callable[[int, int, torch.Tensor], torch.Tensor]) -> float:
        """Change in the answer's probability; `new(layer, neuron, activations)` at all positions but the first."""
        hooked = {}
        for layer in {layer for layer, _ in neurons}:

            def change(value: torch.Tensor, layer: int = layer) -> None:
                for at, neuron in neurons:
                    if at == layer:
                        value[1:, neuron] = new(layer, neuron, value[1:, neuron])

            hooked[layer, "neuron"] = change
        after = self.run(self.clean, hooked)
        before = self.seen["clean"]["logits"]
        return float(softmax(after)[self.answer] - softmax(before)[self.answer])


def rows_of(steps: dict[str, np.ndarray], kind: str, **where: object) -> list[dict]:
    """Rows of `study_step` as a study gives its columns."""
    mine = {name: column[steps["kind"] == kind] for name, column in steps.items()}
    rows = [dict(zip(mine, row, strict=True)) for row in zip(*mine.values(), strict=True)]
    return [row for row in rows if all(row[key] == value for key, value in where.items())]


def softmax(logits: np.ndarray) -> np.ndarray:
    """Probabilities."""
    e = np.exp(logits - logits.max())
    return e / e.sum()
