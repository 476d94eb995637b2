"""A tiny model as a GGUF file, in the names and layout that llama.cpp writes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import gguf
import numpy as np
from safetensors.torch import load_file

NAMES = {
    "input_layernorm": "attn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "post_attention_layernorm": "ffn_norm",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}
TOP = {"model.embed_tokens": "token_embd", "model.norm": "output_norm", "lm_head": "output"}


def write_gguf(
    folder: Path, out: Path, change: Callable[[dict[str, np.ndarray]], None] | None = None, **fields: int
) -> Path:
    """The Llama of `folder` as float32 GGUF; `change` edits the tensors, `fields` the metadata that is written last."""
    config = json.loads((folder / "config.json").read_text())
    saved = load_file(folder / "model.safetensors")
    tensors = {_name(key): _layout(key, each.numpy(), config) for key, each in saved.items()}
    if change is not None:
        change(tensors)
    writer = gguf.GGUFWriter(str(out), "llama")
    writer.add_name("tiny")
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_block_count(fields.pop("block_count", config["num_hidden_layers"]))
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(config["num_attention_heads"])
    writer.add_head_count_kv(config["num_key_value_heads"])
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_rope_freq_base(config["rope_parameters"]["rope_theta"])
    writer.add_vocab_size(config["vocab_size"])
    state = json.loads((folder / "tokenizer.json").read_text())
    pieces = state["model"]["vocab"] | {token["content"]: token["id"] for token in state["added_tokens"]}
    special = {token["content"] for token in state["added_tokens"] if token["special"]}
    pieces = sorted(pieces, key=pieces.get)
    pieces += [f"[PAD{i}]" for i in range(config["vocab_size"] - len(pieces))]
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list(pieces)
    writer.add_token_types([3 if piece in special else 1 for piece in pieces])
    writer.add_token_merges([" ".join(pair) for pair in state["model"]["merges"]])
    writer.add_bos_token_id(pieces.index("<|bos|>"))
    writer.add_eos_token_id(pieces.index("<|bos|>"))
    for name, value in fields.items():
        writer.add_uint16(name.replace("__", "."), value)
    for name, each in tensors.items():
        writer.add_tensor(name, each)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return out


def _name(key: str) -> str:
    base, _, leaf = key.rpartition(".")
    if base in TOP:
        return f"{TOP[base]}.{leaf}"
    layer, _, part = base.removeprefix("model.layers.").partition(".")
    return f"blk.{layer}.{NAMES[part]}.{leaf}"


def _layout(key: str, tensor: np.ndarray, config: dict) -> np.ndarray:
    """llama.cpp turns the two halves of each head's rotary pairs into neighbours."""
    heads = {"q_proj": config["num_attention_heads"], "k_proj": config["num_key_value_heads"]}.get(key.split(".")[-2])
    if heads is None:
        return tensor
    return tensor.reshape(heads, 2, -1, tensor.shape[1]).swapaxes(1, 2).reshape(tensor.shape)
