"""The cost of ingest on a GPU, phase by phase, against the limit of each; a CPU goes the same way, to try it.

    python -m benchmarks.gpu --model gpt2-large --dataset NeelNanda/pile-10k

Congruence: the search over every neuron and token, against its bare float32 GEMMs. Reduction: one layer's kernel on one
batch, in bytes of activations read. Activations: the reader with every statistic on, against the lean forward pass and
unembedding over the same batches, alternating batch by batch. Syncs are counted over the batches: those that the
dispatcher shows (see `benchmarks.syncs`) and, on CUDA, those that torch itself reports, each split into inside a
forward pass and after it.
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
from ingest.congruence.pairs import candidate_pairs, exclusive_pairs
from ingest.congruence.phase import WeightResult, run_weight_phase
from ingest.model.forward import LeanModel
from ingest.model.load import LoadedModel, load_model
from ingest.model.saved_tokenizer import bos_for
from ingest.model.weights import layer_weights, read_readout
from ingest.process.cursor import TextReport
from ingest.process.device import choose_device, choose_dtype
from ingest.process.prefetch import prefetched
from ingest.process.session import alone
from ingest.texts.dataset import open_dataset
from ingest.texts.tokens import TextBatch, batches, iter_texts

_TILE = 8192


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


def congruence(model: LoadedModel, device: torch.device) -> WeightResult:
    """Time the weight phase and the GEMMs it cannot do without."""
    readout = read_readout(model, "unembed")
    results: list[WeightResult] = []
    ours = seconds(
        lambda: results.append(
            run_weight_phase(
                model, readout, alone(device), device=device, k_tokens=50, k_neurons=50, progress=lambda rows: None
            )
        ),
        device,
    )
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
    return results[0]


def reduction(lean: LeanModel, batch: TextBatch, dtype: torch.dtype, device: torch.device) -> None:
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


def activations(
    lean: LeanModel, reader: Reader, work: Iterator[TextBatch], n_parameters: int, device: torch.device
) -> None:
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


def syncs(reader: Reader, batch: TextBatch, device: torch.device) -> None:
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
    model = load_model(options.model)
    context = options.context_length or model.cfg.n_ctx
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else f"{torch.get_num_threads()} threads"
    print(f"torch {torch.__version__}, {device} ({name}), {str(dtype).removeprefix('torch.')}, {options.model}")
    n_parameters = sum(parameter.numel() for parameter in model.bridge.original_model.parameters())

    weights = congruence(model, device)
    exclusive = {direction: exclusive_pairs(weights.congruence, direction) for direction in ("top", "bottom")}
    nobody = np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0, np.float32)
    pairs = candidate_pairs(weights.congruence, exclusive, nobody, k=5, gated=model.gated)
    dataset = open_dataset(options.dataset)
    texts = iter_texts(
        dataset,
        model.tokenizer,
        context_length=context,
        overflow="truncate",
        bos_token_id=bos_for(model.tokenizer),
        report=TextReport(),
    )
    work = prefetched(batches(texts, max_tokens=options.batch_tokens, pad_id=0), 4)
    lean = LeanModel(model, device, dtype)
    settings = StreamSettings(
        d_vocab=len(weights.readout.columns),
        gated=model.gated,
        count_bos=False,
        has_bos=True,
        top_texts=20,
        window=64,
        fingerprint=dataset.fingerprint,
        seed=0,
    )
    first = next(work)
    plan = Plan(lean.n_layers, lean.d_mlp, lean.device, settings, pairs.neuron, pairs.token, staged=True)
    Reader(lean, plan).read(first)  # Compiles at first use.
    reader = Reader(lean, plan)
    reduction(lean, first, dtype, device)
    activations(lean, reader, islice(work, options.batches), n_parameters, device)
    syncs(reader, first, device)
    if device.type == "cuda":
        print(f"memory       {torch.cuda.max_memory_allocated(device) / 1e9:.1f} GB of the device at most")
    work.close()


if __name__ == "__main__":
    main()
