"""The cost of ingest on a GPU, phase by phase, against the limit of each; a CPU goes the same way, to try it.

    python -m benchmarks.gpu --model gpt2-large --dataset NeelNanda/pile-10k

`benchmarks/gpu_check.sh` does this for random models of two shapes, beside other checks of a GPU.

Congruence: the search over every neuron and token, against its bare float32 GEMMs. Reduction: one layer's kernel on one
batch, in bytes of activations read. Unembedding: the top predictions of a batch, against those by float32 logits.
Activations: the reader with every statistic on, against the lean forward pass and unembedding over the same batches,
alternating batch by batch. Attribution: forward and backward pass and all sums over the first of these texts, against
the lean forward pass over the same. Syncs are counted over the batches: those that the dispatcher shows (see
`benchmarks.syncs`) and, on CUDA, those that torch itself reports, each split into inside a forward pass and after it.
"""

from __future__ import annotations

import argparse
import statistics
import time
import warnings
from collections.abc import Callable, Iterator
from itertools import islice

import numpy as np
import torch

from atlas.core.bins import N_BINS
from benchmarks.syncs import SyncWatch
from ingest.activations.reader import Reader
from ingest.activations.reduction.choice import layer_reducer
from ingest.activations.reduction.exact import LIMBS
from ingest.activations.reduction.reference import LayerSums, Runs
from ingest.activations.statistic import Plan, StreamSettings
from ingest.attribution.reading import USUAL_TOKENS
from ingest.attribution.sums import AttributionPlan, AttributionSums
from ingest.congruence.pairs import CandidatePairs, candidate_pairs, exclusive_pairs
from ingest.congruence.phase import WeightResult, run_weight_phase
from ingest.model.forward import LeanModel
from ingest.model.load import LoadedModel, load_model
from ingest.model.saved_tokenizer import bos_for
from ingest.model.weights import Readout, layer_weights, read_readout
from ingest.process.cursor import TextReport
from ingest.process.device import choose_device, choose_dtype
from ingest.process.prefetch import prefetched
from ingest.process.session import alone
from ingest.study.study_model import StudyModel
from ingest.texts.dataset import open_dataset
from ingest.texts.tokens import Text, TextBatch, batches, iter_texts

_TILE = 8192
Figures = dict[str, float]
"""Measured values by name, units in the name."""


def seconds(work: Callable[[], object], device: torch.device) -> float:
    """How long a call keeps the device busy (the host, where the device is the CPU)."""
    if device.type == "cpu":
        start = time.perf_counter()
        work()
        return time.perf_counter() - start
    begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
    begin.record()
    work()
    end.record()
    end.synchronize()
    return begin.elapsed_time(end) / 1000


def congruence(model: LoadedModel, device: torch.device) -> tuple[WeightResult, Figures]:
    """Time the weight phase and the GEMMs it cannot do without."""
    readout = read_readout(model, "unembed")
    results: list[WeightResult] = []

    def search() -> None:
        session = alone(device)
        results.append(
            run_weight_phase(
                model, readout, session, device=device, k_tokens=50, k_neurons=50, progress=lambda rows: None
            )
        )

    search()  # Compiles at first use.
    ours = seconds(search, device)
    columns = readout.columns.to(device)
    rows = [layer_weights(model, layer).w_out.to(device) for layer in range(len(model.layers))]
    sides = 3 if model.gated else 2

    def bare() -> None:
        for matrix in rows:
            for start in range(0, len(columns), _TILE):
                torch.mm(matrix, columns[start : start + _TILE].T)

    bare()
    limit = sides * seconds(bare, device)
    flops = 2 * sides * sum(len(matrix) for matrix in rows) * columns.numel()
    print(f"congruence   limit {limit:8.2f} s   ours {ours:8.2f} s   ratio {ours / limit:.2f} x")
    print(f"             ours with norms, moments and copies on the host; GEMMs {flops / limit / 1e12:.2f} TFLOP/s")
    figures = {"congruence limit, s": limit, "congruence, s": ours, "congruence / limit": ours / limit}
    return results[0], figures | {"float32 GEMM, TFLOP/s": flops / limit / 1e12}


def reduction(lean: LeanModel, batch: TextBatch, dtype: torch.dtype, device: torch.device) -> Figures:
    """Time one layer's reduction of a batch of made-up activations."""
    texts, pos = batch.input_ids.shape
    x = torch.randn(texts * pos, lean.d_mlp, device=device).to(dtype)
    runs = Runs.of(np.arange(texts) * pos, batch.lengths, device)
    sums = LayerSums(
        torch.zeros(lean.d_mlp * N_BINS, dtype=torch.int64, device=device),
        torch.zeros(4, LIMBS, lean.d_mlp, dtype=torch.int64, device=device),
        torch.zeros(lean.d_mlp, dtype=torch.int64, device=device),
        torch.full((lean.d_mlp,), torch.inf, device=device),
        torch.full((lean.d_mlp,), -torch.inf, device=device),
    )
    bins = torch.empty(runs.n_rows, lean.d_mlp, dtype=torch.uint8, device=device)
    high, low = torch.empty(2, texts, lean.d_mlp, device=device)
    reduce_layer = layer_reducer(device)

    def once() -> None:
        reduce_layer(x, runs, sums, bins, high, low)

    once()
    took = statistics.median(seconds(once, device) for _ in range(5))
    size = runs.n_rows * lean.d_mlp * x.element_size()
    print(f"reduction    {took * 1e3:.3f} ms a layer and batch, {size / took / 1e9:.0f} GB/s of activations, ", end="")
    print(f"by {reduce_layer.__module__}")
    return {"reduction, ms a layer and batch": took * 1e3, "reduction, GB/s": size / took / 1e9}


def unembedding(lean: LeanModel, batch: TextBatch, device: torch.device) -> Figures:
    """Time the top predictions of a batch, and those by float32 logits in tiles; count where they differ."""
    hidden = lean.normalised(lean.run(torch.from_numpy(batch.input_ids).to(device)).flatten(0, 1))
    weight, rows = lean.unembed.weight.to(torch.float32), 1024

    def in_float32() -> torch.Tensor:
        logits = (torch.nn.functional.linear(part, weight, lean.unembed.bias) for part in hidden.split(rows))
        return torch.cat([part.argmax(1) for part in logits])

    differ = int((in_float32() != lean.unembed(hidden)).sum())  # Compiles at first use.
    limit, ours = seconds(in_float32, device), seconds(lambda: lean.unembed(hidden), device)
    print(f"unembedding  float32 {limit:6.2f} s   ours {ours:8.2f} s   ratio {ours / limit:.2f} x   ", end="")
    print(f"{differ} of {len(hidden):,} rows differ, by {str(lean.unembed.dtype).removeprefix('torch.')}")
    return {"unembedding / float32": ours / limit, "predictions that float32 makes otherwise": differ}


def activations(
    lean: LeanModel, reader: Reader, work: Iterator[TextBatch], n_parameters: int, device: torch.device
) -> Figures:
    """Time bare forward passes and the reader over the same batches; print ratios, speed and syncs."""
    limit, ours, tokens = [], [], 0
    for number, batch in enumerate(work):
        ids = torch.from_numpy(batch.input_ids).to(device)

        def bare(ids: torch.Tensor = ids) -> None:
            lean.predict(lean.run(ids).flatten(0, 1))

        def read(batch: TextBatch = batch) -> None:
            reader.read(batch)

        if number == 0:
            bare()
        pairs = [(bare, limit), (read, ours)]
        for task, times in pairs if number % 2 else pairs[::-1]:
            times.append(seconds(task, device))
        tokens += int(batch.lengths.sum())
    ratios = [o / b for o, b in zip(ours, limit, strict=True)]
    done = 2 * n_parameters * tokens
    print(f"activations  limit {sum(limit):8.2f} s   ours {sum(ours):8.2f} s   ratio {sum(ours) / sum(limit):.2f} x")
    print(f"             a batch: first {ratios[0]:.2f} x, median {statistics.median(ratios):.2f} x, ", end="")
    print(f"last {ratios[-1]:.2f} x over {len(ratios)} batches")
    print(f"             {tokens / sum(ours):,.0f} tokens/s, bare {tokens / sum(limit):,.0f}; ", end="")
    print(f"{done / sum(limit) / 1e12:.2f} TFLOP/s bare (blocks and unembedding, attention scores left out)")
    return {
        "lean forward, tokens/s": tokens / sum(limit),
        "activations, tokens/s": tokens / sum(ours),
        "activations / limit": sum(ours) / sum(limit),
        "activations / limit, first batch": ratios[0],
        "activations / limit, last batch": ratios[-1],
    }


def attribution(
    lean: LeanModel, study: StudyModel, readout: Readout, pairs: CandidatePairs, texts: list[Text], device: torch.device
) -> Figures:
    """Time attribution sums over texts, for the tokens predicted there, against the lean forward pass over the same."""

    def over(limit: int) -> Iterator[torch.Tensor]:
        for batch in batches(texts, max_tokens=limit, pad_id=0):
            yield torch.from_numpy(batch.input_ids).to(device)

    size = USUAL_TOKENS[device.type != "cpu"]
    predicted = torch.cat([lean.predict(lean.run(ids).flatten(0, 1)) for ids in over(size)])
    tokens = predicted.bincount().topk(min(2000, len(predicted.unique()))).indices.sort().values.cpu().numpy()
    means = np.zeros(lean.n_layers * lean.d_mlp)
    plan = AttributionPlan(means, tokens, pairs.neuron.astype(np.int64), pairs.token.astype(np.int64), 1)
    sums = AttributionSums(study, readout, plan)
    work = list(batches(texts, max_tokens=size, pad_id=0))
    sums.read(work[0])  # Compiles at first use.
    ours = seconds(lambda: [sums.read(batch) for batch in work], device)
    limit = seconds(lambda: [lean.predict(lean.run(ids).flatten(0, 1)) for ids in over(size)], device)
    n_tokens = sum(map(len, texts))
    print(f"attribution  limit {limit:8.2f} s   ours {ours:8.2f} s   ratio {ours / limit:.2f} x   ", end="")
    print(f"{n_tokens / ours:,.0f} tokens/s, {len(tokens):,} tokens, {len(pairs.neuron):,} pairs")
    return {"attribution, tokens/s": n_tokens / ours, "attribution / limit": ours / limit}


def syncs(reader: Reader, batch: TextBatch, device: torch.device) -> Figures:
    """Count what makes the host wait in one more batch: before the last layer's hook, and after it."""
    inside = []
    run = reader.model.run

    def watched(*arguments: object, **options: object) -> torch.Tensor:
        with SyncWatch() as watch, warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            residual = run(*arguments, **options)
        inside.append((watch.total, sum("synchron" in str(warning.message) for warning in caught)))
        return residual

    reader.model.run = watched
    if device.type == "cuda":
        torch.cuda.set_sync_debug_mode("warn")
    try:
        with SyncWatch() as watch, warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            reader.read(batch)
    finally:
        reader.model.run = run
        if device.type == "cuda":
            torch.cuda.set_sync_debug_mode("default")
    outside = sum("synchron" in str(warning.message) for warning in caught)
    print(f"syncs        {[n for n, _ in inside]} in forward passes, {watch.total} after them, by the dispatcher")
    if device.type == "cuda":
        print(f"             {[n for _, n in inside]} in forward passes, {outside} after them, as torch reports them")
    waits = (sum(n for _, n in inside), outside) if device.type == "cuda" else (sum(n for n, _ in inside), watch.total)
    return {"host waits in the forward pass": waits[0], "host waits after it": waits[1]}


def expected_bytes(model: LoadedModel, plan: Plan, n_parameters: int, dtype: torch.dtype, tokens: int) -> float:
    """The device's memory by the table in docs/gpu.md, without the terms that are bounds only."""
    n, d_mlp, d_vocab = plan.n_neurons, model.d_mlp, len(model.unembedding)
    sides = 2 if model.gated else 1
    blocks = dtype.itemsize * n_parameters + 6 * model.unembedding.numel() + min(1 << 30, 2 * d_vocab * 8192)
    lists = sides * 20 * n * (16 + 28 + 128) + sides * 99 * n * 16
    held = n * (8 * N_BINS + 144) + lists + 24 * len(plan.pair_neuron)
    batch = len(model.layers) * tokens * d_mlp + tokens * d_mlp * (2 * dtype.itemsize + 1)
    return blocks + held + batch + 30 * 16_384 * min(tokens, 1024) + 4 * d_vocab


def measure(
    load: Callable[[], LoadedModel],
    texts_for: Callable[[LoadedModel], Iterator[Text]],
    device: torch.device,
    dtype: torch.dtype,
    tokens: int,
    n: int | None,
) -> tuple[Figures, dict[str, Callable[[], object]]]:
    """Measure every phase over `n` batches (None: all) of `tokens` tokens.

    Returns:
        The figures, and by phase a call that does some of its work once more, for a profiler.
    """
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    model = load()
    n_parameters = sum(parameter.numel() for parameter in model.bridge.original_model.parameters())
    weights, figures = congruence(model, device)
    exclusive = {direction: exclusive_pairs(weights.congruence, direction) for direction in ("top", "bottom")}
    nobody = np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0, np.float32)
    pairs = candidate_pairs(weights.congruence, exclusive, nobody, k=5, gated=model.gated)
    work = prefetched(batches(texts_for(model), max_tokens=tokens, pad_id=0), 4)
    lean = LeanModel(model, device, dtype)
    settings = StreamSettings(
        d_vocab=len(weights.readout.columns),
        gated=model.gated,
        count_bos=False,
        has_bos=True,
        top_texts=20,
        window=64,
        fingerprint="benchmark",
        seed=0,
    )
    first = next(work)
    plan = Plan(lean.n_layers, lean.d_mlp, lean.device, settings, pairs.neuron, pairs.token, staged=True)
    Reader(lean, plan).read(first)  # Compiles at first use.
    reader = Reader(lean, plan)
    figures |= reduction(lean, first, dtype, device)
    figures |= unembedding(lean, first, device)
    figures |= activations(lean, reader, islice(work, n), n_parameters, device)
    figures |= syncs(reader, first, device)
    figures["memory by the formula, GB"] = expected_bytes(model, plan, n_parameters, dtype, tokens) / 1e9
    if device.type == "cuda":
        figures["peak memory, GB"] = torch.cuda.max_memory_allocated(device) / 1e9
        print(f"memory       {figures['peak memory, GB']:.1f} GB of the device at most; ", end="")
        print(f"{figures['memory by the formula, GB']:.1f} GB by the formula of docs/gpu.md")
    study = StudyModel(load(), device)  # The lean model has taken the first one's bridge apart.
    if dtype != torch.float32:
        study = study.rounded(dtype)
    figures |= attribution(lean, study, weights.readout, pairs, first.texts, device)
    work.close()
    again = {
        "congruence": lambda: congruence(model, device),
        "unembedding": lambda: unembedding(lean, first, device),
        "activations": lambda: reader.read(first),
        "attribution": lambda: attribution(lean, study, weights.readout, pairs, first.texts, device),
    }
    return figures, again


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="gpt2-large")
    parser.add_argument("--dataset", default="NeelNanda/pile-10k")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--dtype", default="auto", choices=("auto", "float32", "bfloat16"))
    parser.add_argument("--context-length", type=int, default=None)
    parser.add_argument("--batch-tokens", type=int, default=65536)
    parser.add_argument("--batches", type=int, default=None, help="how many to read (default: the whole dataset)")
    options = parser.parse_args()
    device = choose_device(options.device)
    dtype = choose_dtype(options.dtype, device)
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else f"{torch.get_num_threads()} threads"
    print(f"torch {torch.__version__}, {device} ({name}), {str(dtype).removeprefix('torch.')}, {options.model}")

    def texts(model: LoadedModel) -> Iterator[Text]:
        return iter_texts(
            open_dataset(options.dataset),
            model.tokenizer,
            context_length=options.context_length or model.cfg.n_ctx,
            overflow="truncate",
            bos_token_id=bos_for(model.tokenizer),
            report=TextReport(),
        )

    measure(lambda: load_model(options.model), texts, device, dtype, options.batch_tokens, options.batches)


if __name__ == "__main__":
    main()
