"""Tiny random models of every family that is served, and of some that are not: plain Hugging Face modules.

Gains, biases and factors are not ones and zeros, so that one left out shows. Parts are found by looking at the module,
with no code of `ingest`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
import transformers as hf
from torch import nn

N_LAYERS, D_MODEL, D_VOCAB = 2, 32, 320
_IDS = {"bos_token_id": 0, "eos_token_id": 0, "pad_token_id": 0}
_SIZE = {"hidden_size": D_MODEL, "num_hidden_layers": N_LAYERS, "num_attention_heads": 4, "vocab_size": D_VOCAB, **_IDS}
_GATED = {**_SIZE, "intermediate_size": 24, "num_key_value_heads": 2, "head_dim": 8}
_GPT = {"n_embd": D_MODEL, "n_layer": N_LAYERS, "n_head": 4, "vocab_size": D_VOCAB, **_IDS}
_SHORT = {"num_layers": N_LAYERS, "vocab_size": D_VOCAB, **_IDS}

FAMILIES: dict[str, tuple[str, dict]] = {
    "apertus": ("ApertusConfig", _GATED),  # No gate; an activation with parameters of its own.
    "arcee": ("ArceeConfig", _GATED),
    "bloom": ("BloomConfig", {"hidden_size": D_MODEL, "n_layer": N_LAYERS, "n_head": 4, "vocab_size": D_VOCAB, **_IDS}),
    "codegen": ("CodeGenConfig", {**_GPT, "rotary_dim": 4}),
    "cohere": ("CohereConfig", {**_GATED, "logit_scale": 0.3}),
    "cohere2": ("Cohere2Config", {**_GATED, "logit_scale": 0.3, "sliding_window": 4}),
    "ernie": ("Ernie4_5Config", _GATED),
    "exaone4": ("Exaone4Config", {**_GATED, "sliding_window": 4}),
    "falcon": ("FalconConfig", _SIZE),
    "falcon-alibi": ("FalconConfig", {**_SIZE, "alibi": True, "parallel_attn": False, "bias": True}),
    "falcon-h1": ("FalconH1Config", {**_GATED, "mamba_d_ssm": 32, "mamba_n_heads": 4, "mamba_d_head": 8,
                                     "mamba_d_state": 8, "mlp_multipliers": [1.0, 0.5], "mamba_chunk_size": 8}),
    "gemma": ("GemmaConfig", _GATED),
    "gemma2": ("Gemma2Config", {**_GATED, "final_logit_softcapping": 4.0, "sliding_window": 4}),
    "gemma3": ("Gemma3TextConfig", {**_GATED, "sliding_window": 4}),
    "glm": ("GlmConfig", _GATED),
    "glm4": ("Glm4Config", _GATED),
    "gpt-bigcode": ("GPTBigCodeConfig", _GPT),
    "gpt-j": ("GPTJConfig", {**_GPT, "rotary_dim": 4}),
    "gpt-neo": ("GPTNeoConfig", {**_SHORT, "hidden_size": D_MODEL, "num_heads": 4, "window_size": 4,
                                 "attention_types": [[["global", "local"], 1]]}),
    "gpt2": ("GPT2Config", {**_GPT, "n_positions": 64}),
    "granite": ("GraniteConfig", {**_GATED, "residual_multiplier": 0.22, "logits_scaling": 2.0,
                                  "embedding_multiplier": 3.0}),
    "hunyuan": ("HunYuanDenseV1Config", _GATED),
    "jais2": ("Jais2Config", _GATED),
    "llama": ("LlamaConfig", _GATED),
    "mistral": ("MistralConfig", {**_GATED, "sliding_window": 4}),
    "mpt": ("MptConfig", {"d_model": D_MODEL, "n_layers": N_LAYERS, "n_heads": 4, "vocab_size": D_VOCAB, **_IDS}),
    "nemotron": ("NemotronConfig", _GATED),
    "olmo": ("OlmoConfig", _GATED),  # Norms without parameters.
    "olmo2": ("Olmo2Config", _GATED),
    "olmo3": ("Olmo3Config", {**_GATED, "sliding_window": 4}),
    "opt": ("OPTConfig", {**_SIZE, "ffn_dim": 24, "word_embed_proj_dim": D_MODEL}),
    "phi": ("PhiConfig", _GATED),
    "phi3": ("Phi3Config", {**_GATED, "sliding_window": 4}),
    "pythia": ("GPTNeoXConfig", {**_SIZE, "intermediate_size": 24}),
    "pythia-sequential": ("GPTNeoXConfig", {**_SIZE, "intermediate_size": 24, "use_parallel_residual": False}),
    "qwen2": ("Qwen2Config", _GATED),
    "qwen3": ("Qwen3Config", _GATED),
    "seed-oss": ("SeedOssConfig", _GATED),
    "smollm3": ("SmolLM3Config", _GATED),
    "stablelm": ("StableLmConfig", _GATED),
    "stablelm-parallel": ("StableLmConfig", {**_GATED, "use_parallel_residual": True}),
    "starcoder2": ("Starcoder2Config", {**_GATED, "sliding_window": 4}),
    "vaultgemma": ("VaultGemmaConfig", {**_GATED, "sliding_window": 4}),
    "xglm": ("XGLMConfig", {**_SHORT, "d_model": D_MODEL, "ffn_dim": 24, "attention_heads": 4}),
}  # fmt: skip
UNSUPPORTED: dict[str, tuple[str, dict]] = {
    # The stream itself goes through a norm in every block.
    "bloom-post-norm": ("BloomConfig", {**FAMILIES["bloom"][1], "apply_residual_connection_post_layernorm": True}),
    # Gate and input in one matrix, which the bridge does not tell apart.
    "modernbert-decoder": ("ModernBertDecoderConfig", {**_SIZE, "intermediate_size": 24}),
    # A second branch reads what the MLP adds.
    "gemma4": ("Gemma4TextConfig", {**_GATED, "num_global_key_value_heads": 2, "global_head_dim": 8,
                                    "vocab_size_per_layer_input": D_VOCAB}),
}  # fmt: skip
_OUT = ("mlp.down_proj", "mlp.c_proj", "mlp.fc_out", "mlp.dense_4h_to_h", "mlp.fc2", "fc2", "ffn.down_proj")
_OUT = (*_OUT, "feed_forward.down_proj")
_NORM = ("model.norm", "model.final_layernorm", "model.final_layer_norm", "model.decoder.final_layer_norm")
_NORM = (*_NORM, "transformer.ln_f", "transformer.norm_f", "gpt_neox.final_layer_norm", "model.layer_norm")


@dataclass(frozen=True)
class Family:
    """A model and its parts."""

    name: str
    net: nn.Module

    @cached_property
    def blocks(self) -> nn.ModuleList:
        """The transformer blocks."""
        lists = [part for part in self.net.modules() if isinstance(part, nn.ModuleList) and len(part) == N_LAYERS]
        return lists[0]

    @cached_property
    def out(self) -> list[nn.Module]:
        """Each block's output projection: its input is the neurons' activations."""
        return [_first(block, _OUT) for block in self.blocks]

    @cached_property
    def norm(self) -> nn.Module:
        """The final norm."""
        return _first(self.net, (*_NORM, "model.decoder.final_norm", "model.final_norm", "transformer.norm"))

    @property
    def layer_norm(self) -> bool:
        """Whether the final norm takes off the mean: found by adding a constant to what it reads."""
        x = torch.linspace(-1, 2, D_MODEL, dtype=next(self.net.parameters()).dtype)[None]
        with torch.no_grad():
            return torch.allclose(self.norm(x), self.norm(x + 3), atol=1e-3)


def make(name: str, seed: int = 3) -> nn.Module:
    """A random model in float32."""
    class_name, options = {**FAMILIES, **UNSUPPORTED}[name]
    torch.manual_seed(seed)
    net = hf.AutoModelForCausalLM.from_config(getattr(hf, class_name)(**options)).eval()
    net.config.architectures = [type(net).__name__]
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    return net


def _first(module: nn.Module, paths: tuple[str, ...]) -> nn.Module:
    parts = dict(module.named_modules())
    return next(parts[path] for path in paths if path in parts)
