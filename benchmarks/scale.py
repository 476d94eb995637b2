"""Growth of the cost of ingest with layers, width, vocabulary and positions: runs of several sizes, and a fit.

    python -m benchmarks.scale [--texts 48]

Random models of Llama's shape over random words, by the real program. Each phase's seconds are fitted to the products
that should decide them by non-negative least squares on relative errors; the table shows how far each run is from its
fit. What a larger run would take follows from the coefficients (docs/scale.md).
"""

from __future__ import annotations

import argparse
import io
import json
import random
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from ingest.process.settings import Settings
from ingest.run.build import BuildReport, build


@dataclass(frozen=True)
class Size:
    """A model and how much it reads; the MLP is gated and four times as wide as the residual stream."""

    layers: int
    d_model: int
    d_vocab: int
    texts: int
    context: int = 128

    @property
    def d_mlp(self) -> int:
        return 4 * self.d_model

    @property
    def neurons(self) -> int:
        return self.layers * self.d_mlp

    @property
    def positions(self) -> int:
        return self.texts * self.context

    def weight_terms(self) -> list[float]:
        """Multiply-adds of congruence and of both input sides; and entries looked at."""
        cells = 3 * self.neurons * self.d_vocab
        return [2 * cells * self.d_model, cells]

    def text_terms(self) -> list[float]:
        """Multiply-adds of the forward pass and the unembedding; and activations."""
        block = 2 * (3 * self.d_model * self.d_mlp + 4 * self.d_model**2 + 2 * self.context * self.d_model)
        flops = self.positions * (self.layers * block + 2 * self.d_model * self.d_vocab)
        return [flops, self.positions * self.neurons]

    def row_terms(self) -> list[float]:
        """Rows that grow with neurons, and with tokens."""
        return [self.neurons, self.d_vocab]


def sizes(texts: int) -> list[Size]:
    """One at a time: layers, width, vocabulary, positions; and two that change together."""
    return [
        Size(4, 256, 8_000, texts),
        Size(8, 256, 8_000, texts),
        Size(4, 512, 8_000, texts),
        Size(4, 256, 32_000, texts),
        Size(4, 256, 8_000, 3 * texts),
        Size(8, 512, 16_000, texts),
        Size(12, 768, 32_000, texts),
    ]


def measure(size: Size) -> BuildReport:
    """Build an atlas of a random model of that size."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        _save_model(size, folder / "model")
        rng = random.Random(0)
        texts = [
            " ".join(f"w{rng.randrange(size.d_vocab - 1)}" for _ in range(size.context)) for _ in range(size.texts)
        ]
        (folder / "texts.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
        settings = Settings(
            model=str(folder / "model"),
            dataset=str(folder / "texts.jsonl"),
            out=folder / "scale.duckdb",
            context_length=size.context,
            slug="scale",
        )
        report = build(settings, Console(file=io.StringIO()))
        assert report is not None
        assert report.n_positions == size.texts * (size.context - 1)
        return report


def _save_model(size: Size, folder: Path) -> None:
    words = {"<s>": 0, **{f"w{i}": i + 1 for i in range(size.d_vocab - 1)}}
    backend = Tokenizer(models.WordLevel(words, unk_token="<s>"))
    backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    PreTrainedTokenizerFast(tokenizer_object=backend, bos_token="<s>", eos_token="<s>").save_pretrained(folder)
    config = LlamaConfig(
        hidden_size=size.d_model,
        intermediate_size=size.d_mlp,
        num_hidden_layers=size.layers,
        num_attention_heads=size.d_model // 64,
        vocab_size=size.d_vocab,
        max_position_embeddings=size.context,
        bos_token_id=0,
        eos_token_id=0,
    )
    torch.manual_seed(0)
    LlamaForCausalLM(config).save_pretrained(folder)


def fit(terms: np.ndarray, seconds: np.ndarray) -> np.ndarray:
    """Coefficients >= 0 with the least sum of squared relative errors: every subset of the terms is tried."""
    relative = terms / seconds[:, None]
    best, least = np.zeros(terms.shape[1]), np.inf
    for mask in range(1, 1 << terms.shape[1]):
        used = [i for i in range(terms.shape[1]) if mask >> i & 1]
        solution, *_ = np.linalg.lstsq(relative[:, used], np.ones(len(seconds)), rcond=None)
        error = float(((relative[:, used] @ solution - 1) ** 2).sum())
        if (solution >= 0).all() and error < least:
            least, best = error, np.zeros(terms.shape[1])
            best[used] = solution
    return best


def main() -> None:
    """Measure, fit, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--texts", type=int, default=48)
    every = sizes(parser.parse_args().texts)
    measure(Size(1, 128, 1_000, 4))  # Compiles.
    reports = [measure(size) for size in every]
    phases = {"Congruence": Size.weight_terms, "Activations": Size.text_terms, "Writing": Size.row_terms}
    coefficients, predicted = {}, {}
    for phase, terms in phases.items():
        matrix = np.array([terms(size) for size in every], dtype=float)
        matrix = np.hstack([matrix, np.ones((len(every), 1))])
        seconds = np.array([report.seconds[phase] for report in reports])
        coefficients[phase] = fit(matrix, seconds)
        predicted[phase] = matrix @ coefficients[phase]
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, float32; seconds (fit)")
    print(
        f"{'layers':>6} {'d_model':>7} {'vocab':>7} {'positions':>9}  " + "  ".join(f"{p:>18}" for p in phases) + "  MB"
    )
    for i, (size, report) in enumerate(zip(every, reports, strict=True)):
        cells = "  ".join(f"{report.seconds[p]:>9.2f} ({predicted[p][i]:>6.2f})" for p in phases)
        total = sum(report.table_bytes.values()) / 1e6
        print(f"{size.layers:>6} {size.d_model:>7} {size.d_vocab:>7} {size.positions:>9}  {cells}  {total:.0f}")
    weights, texts, rows = coefficients.values()
    print(f"weight phase: {_rate(weights[0])}, {weights[1] * 1e9:.2f} ns an entry, {weights[2]:.2f} s")
    print(f"activations:  {_rate(texts[0])}, {texts[1] * 1e9:.2f} ns an activation, {texts[2]:.2f} s")
    print(f"writing:      {rows[0] * 1e6:.0f} us a neuron, {rows[1] * 1e6:.0f} us a token, {rows[2]:.2f} s")


def _rate(seconds_a_flop: float) -> str:
    return f"{1e-9 / seconds_a_flop:.0f} GF/s" if seconds_a_flop else "arithmetic not seen"


if __name__ == "__main__":
    main()
