"""Small random models, tokenizer and texts: made here from a seed, so that nothing is downloaded."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

HOSTILE = ["<script>alert(1)</script>", "\u202e", "</td>", "'\"&amp;"]
WORDS = ["an", "apple", "a", "lemon", "tree", "picked", "the", "climbed", "up", "pear", "and", "I", "eine", "große"]
WORDS += ["Übung", "naïve", "日本", "🙂", "x", "=", "1\n"]
PADDED_ROWS = 5
"""Rows of the vocabulary beyond the tokenizer, as real checkpoints have."""


def make_tokenizer() -> PreTrainedTokenizerFast:
    """Byte-level BPE of about 300 tokens with BOS, tokens of half a character, and hostile added tokens."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=300, special_tokens=["<|bos|>"], initial_alphabet=alphabet)
    tokenizer.train_from_iterator([" ".join(WORDS), " ".join(reversed(WORDS))] * 3, trainer)
    tokenizer.add_tokens(HOSTILE)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<|bos|>", eos_token="<|bos|>")


def _randomise(model: torch.nn.Module, seed: int, scale: float) -> None:
    """Weights with some size, gains and biases that are not one and zero: a fold left out must show."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in sorted(model.named_parameters()):
            noise = torch.randn(parameter.shape, generator=generator)
            if parameter.ndim == 2:
                parameter.copy_(noise * scale)
            elif name.endswith("weight"):
                parameter.copy_(1 + 0.3 * noise)
            else:
                parameter.copy_(0.3 * noise)


def save_llama(folder: Path, n_layers: int = 3, seed: int = 1) -> Path:
    """A gated model (RMSNorm, SwiGLU, rotary, grouped attention), untied, vocabulary padded."""
    tokenizer = make_tokenizer()
    config = LlamaConfig(
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=n_layers,
        num_attention_heads=4,
        num_key_value_heads=2,
        vocab_size=len(tokenizer) + PADDED_ROWS,
        max_position_embeddings=64,
        tie_word_embeddings=False,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )
    return _save(LlamaForCausalLM(config), tokenizer, folder, seed)


def save_gpt2(folder: Path) -> Path:
    """An ungated model (LayerNorm, biases, GELU, learned positions), embedding tied to the unembedding."""
    tokenizer = make_tokenizer()
    config = GPT2Config(
        n_embd=24,
        n_layer=2,
        n_head=3,
        n_positions=48,
        vocab_size=len(tokenizer),
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )
    return _save(GPT2LMHeadModel(config), tokenizer, folder, seed=2)


def _save(model: torch.nn.Module, tokenizer: PreTrainedTokenizerFast, folder: Path, seed: int) -> Path:
    _randomise(model, seed, scale=0.35)
    model.eval().save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def make_texts(n: int, seed: int = 0) -> list[str]:
    """Texts of 0 to 60 words: an empty one, one of a single token, hostile ones, some longer than the context."""
    rng = random.Random(seed)
    texts = ["", "a", *HOSTILE]
    while len(texts) < n:
        texts.append(" ".join(rng.choice(WORDS + HOSTILE[:2]) for _ in range(rng.randint(1, 60))))
    return texts[:n]


def save_texts(path: Path, texts: list[str]) -> Path:
    """Write texts as JSON lines with column `text`."""
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts), encoding="utf-8")
    return path


def run_of_full_texts(folder: Path, n_texts: int) -> dict[str, Any]:
    """Settings of a run whose texts are all as long as the context, a batch each: floats agree to the bit whoever reads
    them, and in whatever order."""
    texts = [" ".join([text] * 40) for text in make_texts(n_texts + 2)[2:]]
    return {
        "model": str(save_llama(folder / "model")),
        "slug": "tiny",
        "context_length": 24,
        "batch_size": 1,
        "dataset": str(save_texts(folder / "texts.jsonl", texts)),
        "out": folder / "whole.duckdb",
        "top_tokens": 20,
        "top_neurons": 20,
        "top_texts": 6,
        "window": 16,
        "statistics": ("--connections",),
    }
