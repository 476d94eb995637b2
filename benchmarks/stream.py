"""The activation phase with every statistic on, against its limit and against what people do, in one process.

    python -m benchmarks.stream [--texts 256] [--dtype float32|bfloat16|both] [--model smollm2|gpt2-large|both]

- limit: the lean forward pass and its predictions (`LeanModel.run` and `predict`) over the same batches, same dtype,
  nothing read from it.
- attribution: forward and backward pass and all sums of `atlas attribute` (float32), in batches of its own size.
- bridge: TransformerLens' forward pass and an argmax over its logits (float32).
- notebook: `run_with_cache`, then topk, moments and a histogram a neuron, and a loop over pairs (float32; timed on one
  layer and 1,000 pairs of one batch, and scaled).

Batches are interleaved: each goes through every contestant before the next, in turning order. gpt2-large is a random
model of GPT-2 Large's shape with fewer layers and random tokens. Candidate pairs are drawn at random, as many as K = 5
gives. Before the timing, one layer's statistics are compared with float64 on the lean model's own activations.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numba
import numpy as np
import torch
from tokenizers import Tokenizer, models
from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

from atlas.core.bins import N_BINS
from ingest.activations.reader import Reader
from ingest.activations.reduction.exact import central_moments
from ingest.activations.reduction.reference import bin_of
from ingest.activations.statistic import Plan, StreamSettings
from ingest.attribution.reading import USUAL_TOKENS
from ingest.attribution.sums import MIN_POSITIONS, AttributionPlan, AttributionSums
from ingest.model.forward import LeanModel
from ingest.model.load import LoadedModel, bridge_for, describe, load_model
from ingest.model.saved_tokenizer import bos_for
from ingest.model.source import BUILTIN
from ingest.model.weights import read_readout
from ingest.process.cursor import Cursor, TextReport
from ingest.process.device import DTYPES
from ingest.study.study_model import StudyModel
from ingest.texts.dataset import open_dataset
from ingest.texts.tokens import Text, TextBatch, batches, iter_texts

CPU = torch.device("cpu")
CONTEXT, TOKENS = 128, 4096
NOTEBOOK_PAIRS = 1000


def gpt2_large(n_layers: int) -> LoadedModel:
    """GPT-2 Large's shape, random, with fewer layers."""
    config = GPT2Config(n_embd=1280, n_layer=n_layers, n_head=20, n_positions=1024, vocab_size=50257)
    torch.manual_seed(0)
    words = Tokenizer(models.WordLevel({"<eos>": 0}, unk_token="<eos>"))
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=words, eos_token="<eos>")
    name = "gpt2-large-shape"
    return describe(name, None, bridge_for(name, GPT2LMHeadModel(config).eval(), tokenizer), tokenizer)


def python_docs(model: LoadedModel, n_texts: int) -> list[TextBatch]:
    """Batches of real text."""
    texts = iter_texts(
        open_dataset("pydoc"),
        model.tokenizer,
        context_length=CONTEXT,
        overflow="split",
        bos_token_id=bos_for(model.tokenizer),
        max_texts=n_texts,
        report=TextReport(),
    )
    return list(batches(texts, max_tokens=TOKENS, pad_id=0))


def random_batches(n_texts: int, d_vocab: int) -> list[TextBatch]:
    """Batches of random tokens."""
    tokens = np.random.default_rng(0).integers(0, d_vocab, (n_texts, CONTEXT)).astype(np.int32)
    texts = [Text(i, i, 0, row) for i, row in enumerate(tokens)]
    return list(batches(texts, max_tokens=TOKENS, pad_id=0))


def random_pairs(n_neurons: int, d_vocab: int, gated: bool) -> tuple[np.ndarray, np.ndarray]:
    """As many candidate pairs as five tokens a neuron and five neurons a token make, at each end that counts."""
    n = 5 * (n_neurons + d_vocab) * (2 if gated else 1)
    pair = np.unique(np.random.default_rng(1).integers(0, n_neurons * d_vocab, n))
    return pair // d_vocab, pair % d_vocab


@dataclass(frozen=True)
class Bench:
    """One model in one dtype, ready to run."""

    model: LoadedModel
    lean: LeanModel
    pairs: tuple[np.ndarray, np.ndarray]

    @property
    def d_vocab(self) -> int:
        return len(self.model.unembedding)

    def reader(self) -> Reader:
        settings = StreamSettings(
            d_vocab=self.d_vocab,
            gated=self.model.gated,
            count_bos=False,
            has_bos=True,
            top_texts=20,
            window=64,
            fingerprint="benchmark",
            seed=0,
        )
        lean = self.lean
        return Reader(lean, Plan(lean.n_layers, lean.d_mlp, lean.device, settings, *self.pairs))

    def limit(self, batch: TextBatch) -> float:
        """Forward pass and predictions; returns the seconds of the latter."""
        residual = self.lean.run(torch.from_numpy(batch.input_ids)).flatten(0, 1)
        return seconds(self.lean.predict, residual)


def attribution(load: Callable[[], LoadedModel], bench: Bench, work: list[TextBatch]) -> Callable[[TextBatch], object]:
    """What reads a batch into attribution sums: for every token that is predicted at 10 positions or more."""
    predicted = torch.cat(
        [bench.lean.predict(bench.lean.run(torch.from_numpy(b.input_ids)).flatten(0, 1)) for b in work]
    )
    tokens = (predicted.bincount() >= MIN_POSITIONS).nonzero()[:, 0].numpy()
    with torch.inference_mode(False):
        model = load()
        readout = read_readout(model, "unembed")
        study = StudyModel(model, CPU)
        plan = AttributionPlan(np.zeros(study.n_layers * model.d_mlp), tokens, *bench.pairs, first_position=1)
        sums = AttributionSums(study, readout, plan)

    def read(batch: TextBatch) -> None:
        with torch.inference_mode(False):
            for part in batches(batch.texts, max_tokens=USUAL_TOKENS[0], pad_id=0):
                sums.read(part)

    print(f"  attribution for {len(tokens):,} tokens and {len(bench.pairs[0]):,} pairs")
    return read


def check(bench: Bench, batch: TextBatch, layer: int) -> None:
    """Compare one layer's statistics and lists over eight texts with float64, and fail if they differ."""
    small = TextBatch(batch.texts[:8], batch.input_ids[:8], batch.lengths[:8], Cursor())
    reader, caught = bench.reader(), {}
    reader.read(small)
    bench.lean.run(
        torch.from_numpy(small.input_ids), lambda i, x: caught.update({i: x.float()}) if i == layer else None
    )
    texts = [caught[layer][row, 1 : len(text)] for row, text in enumerate(small.texts)]
    values, d_mlp = torch.cat(texts), bench.lean.d_mlp
    cells = (bin_of(values) + torch.arange(d_mlp) * N_BINS).flatten().long()
    statistics = reader.statistics["activations"]
    assert torch.equal(statistics.counts[layer], torch.bincount(cells, minlength=d_mlp * N_BINS))
    exact = values.double()
    centred = exact - exact.mean(0)
    moments = torch.from_numpy(central_moments(len(values), statistics.powers[layer].numpy()))
    assert ((moments[0] - exact.mean(0)).abs() <= 1e-6 * exact.std(0)).all()
    for power in (2, 3, 4):
        error = (moments[power - 1] - (centred**power).mean(0)).abs() / (centred.abs() ** power).mean(0)
        assert error.max() < 1e-5, (power, error.max())
    best = torch.stack([text.amax(0) for text in texts]).amax(0)
    lists, first = reader.statistics["examples"].lists["max"], layer * d_mlp
    assert torch.equal(lists.pool["activation"][lists.slots[first : first + d_mlp, 0]], best)
    print(f"  layer {layer} equals float64 (histogram exactly, moments to 1e-5)")


def seconds(task: Callable[[Any], object], argument: Any) -> float:
    """Time of one call."""
    start = time.perf_counter()
    task(argument)
    return time.perf_counter() - start


def notebook(model: LoadedModel, batch: TextBatch, pairs: tuple[np.ndarray, np.ndarray]) -> float:
    """Seconds a notebook would take for a batch: one layer and some pairs, scaled."""
    tokens, name = torch.from_numpy(batch.input_ids), "blocks.0.mlp.hook_post"
    n_layers, d_mlp = len(model.layers), model.d_mlp
    start = time.perf_counter()
    logits, cache = model.bridge.run_with_cache(tokens)
    predicted, acts = logits.argmax(-1), cache[name]
    forward = time.perf_counter() - start
    del logits, cache
    start = time.perf_counter()
    acts.amax(1).topk(min(20, len(acts)), dim=0)
    acts.amin(1).topk(min(20, len(acts)), dim=0, largest=False)
    for moment in (1, 2, 3, 4):
        acts.pow(moment).mean((0, 1))
    for neuron in range(d_mlp):
        torch.histc(acts[..., neuron], bins=N_BINS)
    reductions = (time.perf_counter() - start) * n_layers
    chosen = np.random.default_rng(2).choice(len(pairs[0]), NOTEBOOK_PAIRS, replace=False)
    start = time.perf_counter()
    for index, token in zip((pairs[0][chosen] % d_mlp).tolist(), pairs[1][chosen].tolist(), strict=True):
        for positions in (predicted == token, tokens == token):
            torch.histc(acts[..., index][positions], bins=N_BINS)
    looped = (time.perf_counter() - start) * len(pairs[0]) / NOTEBOOK_PAIRS
    print(
        f"  notebook, a batch: run_with_cache {forward:.1f} s, topk, moments, histc {reductions:.1f} s (scaled), "
        f"{len(pairs[0]):,} pairs {looped:.1f} s (scaled)"
    )
    return forward + reductions + looped


def stream(load: Callable[[], LoadedModel], work: list[TextBatch], dtype: str, naive: bool) -> None:
    """Time every contestant over the same batches and print the table."""
    model = load()
    pairs = random_pairs(len(model.layers) * model.d_mlp, len(model.unembedding), model.gated)
    bench = Bench(model, LeanModel(model, CPU, DTYPES[dtype]), pairs)
    check(bench, work[0], len(model.layers) // 2)
    reader = bench.reader()
    predicting: list[float] = []
    contestants: dict[str, Callable[[TextBatch], object]] = {
        "limit": lambda batch: predicting.append(bench.limit(batch)),
        "ours": reader.read,
    }
    if dtype == "float32":
        contestants["attribution"] = attribution(load, bench, work)
    a_batch = None
    if naive and dtype == "float32":
        other = load()  # The lean model has taken the first one's bridge apart.

        def bridge(batch: TextBatch) -> None:
            other.bridge(torch.from_numpy(batch.input_ids)).argmax(-1)

        contestants["bridge"] = bridge
        a_batch = notebook(other, work[0], pairs)
    for name, task in contestants.items():
        if name != "ours":  # `check` has warmed what ours runs; its lists must start empty.
            task(work[-1])
    predicting.clear()
    times: dict[str, list[float]] = {name: [] for name in contestants}
    for number, batch in enumerate(work):
        order = list(contestants)[number % len(contestants) :] + list(contestants)[: number % len(contestants)]
        for name in order:
            times[name].append(seconds(contestants[name], batch))
        print(f"  batch {number}: " + ", ".join(f"{name} {took[-1]:.2f} s" for name, took in times.items()), flush=True)
    assert reader.statistics["activations"].counts.sum(1).eq(reader.n_positions * model.d_mlp).all()
    n_tokens = sum(int(batch.lengths.sum()) for batch in work)
    if "attribution" in times:
        ratios = [ours / limit for ours, limit in zip(times["attribution"], times["limit"], strict=True)]
        print(f"  attribution / limit, median {statistics.median(ratios):.3f}")
    ratios = [ours / limit for ours, limit in zip(times["ours"], times["limit"], strict=True)]
    print(f"  ours / limit, batch by batch: {' '.join(f'{ratio:.3f}' for ratio in ratios)}")
    median = statistics.median(ratios)
    print(f"  first {ratios[0]:.3f}, last {ratios[-1]:.3f}, median {median:.3f}")
    share = statistics.median(p / limit for p, limit in zip(predicting, times["limit"], strict=True))
    free = 1 + (median - 1) / (1 - share)
    print(f"  predictions are {share:.0%} of the limit; were they free, the median would be {free:.3f}")
    rows = {name: sum(values) for name, values in times.items()}
    if a_batch is not None:
        rows["notebook"] = a_batch * len(work)
    print(f"  {'':<11} {'s':>8} {'tokens/s':>9} {'/ limit':>8} {'/ ours':>8}")
    for name, total in rows.items():
        print(
            f"  {name:<11} {total:>8.1f} {n_tokens / total:>9,.0f} {total / rows['limit']:>8.3f} "
            f"{total / rows['ours']:>8.3f}"
        )


def main() -> None:
    """Print a table a model and dtype."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--texts", type=int, default=256)
    parser.add_argument("--dtype", choices=[*DTYPES, "both"], default="both")
    parser.add_argument("--model", choices=["smollm2", "gpt2-large", "both"], default="both")
    parser.add_argument("--layers", type=int, default=4, help="Layers of the GPT-2-Large-shaped model (it has 36).")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--naive", action=argparse.BooleanOptionalAction, default=True, help="Bridge and notebook too.")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    numba.set_num_threads(options.threads)
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: options.threads])
    print(f"torch {torch.__version__}, {options.threads} threads")
    loaders = {"smollm2": lambda: load_model(BUILTIN), "gpt2-large": lambda: gpt2_large(options.layers)}
    with torch.inference_mode():
        for name, load in loaders.items():
            if options.model not in (name, "both"):
                continue
            docs = name == "smollm2"
            work = python_docs(load(), options.texts) if docs else random_batches(options.texts, 50257)
            for dtype in DTYPES if options.dtype == "both" else [options.dtype]:
                what = "" if docs else f" ({options.layers} of 36 layers)"
                print(f"{name}{what}, {dtype}, {options.texts} texts in {len(work)} batches of {TOKENS} tokens")
                stream(load, work, dtype, options.naive)


if __name__ == "__main__":
    main()
