"""The whole computation once more, naively: Hugging Face in float64, a text at a time, plain loops.

Shares no code with `ingest`: reading of the design only. Used to check every table.
"""

from __future__ import annotations

import itertools
import json
import math
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
import xxhash
from transformers import AutoModelForCausalLM, AutoTokenizer


@dataclass
class Brute:
    """What the atlas should say."""

    layers: list[dict[str, np.ndarray]]
    readout: np.ndarray
    readout_mean: np.ndarray
    embedding: np.ndarray
    gated: bool
    texts: list[tuple[int, int, list[int]]] = field(default_factory=list)  # source_row, chunk, token ids
    activations: list[np.ndarray] = field(default_factory=list)  # a text: [neuron, pos], BOS included
    predicted: list[list[int]] = field(default_factory=list)

    @property
    def w_out(self) -> np.ndarray:
        return np.concatenate([layer["w_out"] for layer in self.layers])

    @property
    def congruence(self) -> np.ndarray:
        """[neuron, token]"""
        return self.w_out @ self.readout.T

    def counted(self) -> np.ndarray:
        """[neuron, counted position], text after text."""
        return np.concatenate([a[:, 1:] for a in self.activations], axis=1)

    def positions(self) -> list[tuple[int, int, int, int | None]]:
        """(text, position, predicted, actual) of each counted position, in the same order."""
        out = []
        for text_id, (_, _, ids) in enumerate(self.texts):
            for p in range(1, len(ids)):
                actual = ids[p + 1] if p + 1 < len(ids) else None
                out.append((text_id, p, self.predicted[text_id][p], actual))
        return out


def compute(model_folder: Path, dataset: Path, context: int, overflow: str, readout: str = "unembed") -> Brute:
    """Run everything."""
    model = AutoModelForCausalLM.from_pretrained(model_folder, dtype=torch.float64).eval()
    tokenizer = AutoTokenizer.from_pretrained(model_folder)
    brute = _llama(model, readout) if model.config.model_type == "llama" else _gpt2(model, readout)
    for row, line in enumerate(dataset.read_text(encoding="utf-8").splitlines()):
        ids = tokenizer(json.loads(line)["text"], add_special_tokens=False)["input_ids"]
        step = context - 1
        chunks = [ids[i : i + step] for i in range(0, len(ids), step)]
        for chunk, part in enumerate(chunks[:1] if overflow == "truncate" else chunks):
            brute.texts.append((row, chunk, [tokenizer.bos_token_id, *part]))
    blocks = model.model.layers if brute.gated else model.transformer.h
    seen: list[np.ndarray] = []
    for block in blocks:
        out = block.mlp.down_proj if brute.gated else block.mlp.c_proj
        out.register_forward_pre_hook(lambda _, args: seen.append(args[0][0].detach().numpy().T))
    final: list[np.ndarray] = []
    norm = model.model.norm if brute.gated else model.transformer.ln_f
    norm.register_forward_pre_hook(lambda _, args: final.append(args[0][0].detach().numpy()))
    for _, _, ids in brute.texts:
        seen.clear()
        final.clear()
        with torch.no_grad():
            logits = model(input_ids=torch.tensor([ids])).logits[0].numpy()
        if readout == "embed":
            residual = final[0]
            if not brute.gated:
                residual = residual - residual.mean(-1, keepdims=True)
            scale = np.sqrt((residual**2).mean(-1, keepdims=True) + (1e-5 if not brute.gated else 1e-6))
            logits = residual / scale @ brute.readout.T
        brute.activations.append(np.concatenate(seen))
        brute.predicted.append([int(row.argmax()) for row in logits])
    return brute


def _centred(matrix: np.ndarray) -> np.ndarray:
    return matrix - matrix.mean(axis=1, keepdims=True)


def _numpy(tensor: torch.Tensor) -> np.ndarray:
    return tensor.detach().to(torch.float64).numpy()


def _llama(model: torch.nn.Module, readout: str) -> Brute:
    layers = []
    for block in model.model.layers:
        gain = _numpy(block.post_attention_layernorm.weight)
        layers.append(
            {
                "w_in": _numpy(block.mlp.up_proj.weight) * gain,
                "w_gate": _numpy(block.mlp.gate_proj.weight) * gain,
                "w_out": _numpy(block.mlp.down_proj.weight).T,
            }
        )
    embedding = _numpy(model.model.embed_tokens.weight)
    if readout == "embed":
        return Brute(layers, embedding, embedding.mean(0), embedding, True)
    folded = _numpy(model.lm_head.weight) * _numpy(model.model.norm.weight)
    return Brute(layers, folded - folded.mean(0), folded.mean(0), embedding, True)


def _gpt2(model: torch.nn.Module, readout: str) -> Brute:
    layers = []
    for block in model.transformer.h:
        w_in = _numpy(block.mlp.c_fc.weight).T * _numpy(block.ln_2.weight)
        layers.append({"w_in": _centred(w_in), "w_out": _centred(_numpy(block.mlp.c_proj.weight))})
    embedding = _numpy(model.transformer.wte.weight)
    if readout == "embed":
        matrix = _centred(embedding)
        return Brute(layers, matrix, matrix.mean(0), embedding, False)
    folded = _centred(_numpy(model.lm_head.weight) * _numpy(model.transformer.ln_f.weight))
    return Brute(layers, folded - folded.mean(0), folded.mean(0), embedding, False)


def edges() -> list[tuple[float, float]]:
    """Bins from the design: 4 an octave from 2^-6 to 2^9 on either side of one zero bin, the outermost open."""
    positive = [2.0**e * (1 + q / 4) for e in range(-6, 9) for q in range(4)] + [2.0**9]
    cuts = [-math.inf, *(-edge for edge in reversed(positive)), *positive, math.inf]
    return list(itertools.pairwise(cuts))


def bins_of(values: np.ndarray) -> np.ndarray:
    """Bin of each value, lower <= value < upper."""
    return np.searchsorted(np.array([lower for lower, _ in edges()][1:]), values, side="right")


def octave(value: float) -> int:
    """Interval number of a value: 0 below 2^-6, 1 for [2^-6, 2^-5), ... 16 from 2^9; negative likewise."""
    magnitude = abs(value)
    if magnitude < 2.0**-6:
        return 0
    number = min(math.floor(math.log2(magnitude)) + 7, 16)
    return number if value > 0 else -number


def prediction_counts(brute: Brute, pairs: list[tuple[int, int]]) -> dict[tuple[int, int, int], list[int]]:
    """(neuron, token, bin) -> [n_predicted, n_actual], cells that are not empty."""
    by_token = defaultdict(list)
    for neuron, token in pairs:
        by_token[token].append(neuron)
    bins = bins_of(brute.counted())
    cells: dict[tuple[int, int, int], list[int]] = defaultdict(lambda: [0, 0])
    for column, (_, _, predicted, actual) in enumerate(brute.positions()):
        for which, token in enumerate((predicted, actual)):
            for neuron in by_token.get(token, ()):
                cells[neuron, token, int(bins[neuron, column])][which] += 1
    return dict(cells)


def token_counts(brute: Brute) -> dict[str, Counter]:
    """How often each token is input, actual, predicted at counted positions."""
    counts = {"input": Counter(), "actual": Counter(), "predicted": Counter()}
    for text, p, predicted, actual in brute.positions():
        counts["input"][brute.texts[text][2][p]] += 1
        counts["predicted"][predicted] += 1
        if actual is not None:
            counts["actual"][actual] += 1
    return counts


_MASK = 2**64 - 1


def _mix(x: int) -> int:
    """The finaliser of SplitMix64."""
    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9 & _MASK
    x = (x ^ (x >> 27)) * 0x94D049BB133111EB & _MASK
    return x ^ (x >> 31)


def example_hash(fingerprint: str, seed: int, source_row: int, chunk: int, neuron: int) -> int:
    """Hash that chooses interval examples: the lowest are shown."""
    text = xxhash.xxh3_64_intdigest(f"{fingerprint} {seed} {source_row} {chunk}".encode())
    return _mix(text ^ _mix(neuron)) >> 2
