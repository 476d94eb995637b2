"""Times of the two phases of ingest as ratios, in one process: ours, the naive way, and the physical limit.

    python -m benchmarks.ingest [--texts 256] [--layers 30] [--naive-layers 1]

Limit of the weight phase: the bare float32 GEMMs it needs, tile by tile. Limit of the activation phase: the lean
forward pass with its unembedding, over the same batches, nothing read from it. Naive: what a notebook would do, on
fewer layers, scaled to the model (the table says so). Results are checked against float64 in the same run.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import torch

from ingest.congruence import CPU_NEURON_TILE, TOKEN_TILE, search
from ingest.dataset import open_dataset
from ingest.lean import LeanModel
from ingest.model import BUILTIN, LoadedModel, load_model
from ingest.pairs import candidate_pairs, exclusive_pairs
from ingest.stream import Reader, StreamSettings
from ingest.tokens import TextBatch, TextReport, batches, bos_for, iter_texts
from ingest.weight_phase import INPUT_TOKENS
from ingest.weights import layer_weights, read_readout

CPU = torch.device("cpu")


@contextmanager
def timed(times: list[float]) -> Iterator[None]:
    """Append the seconds a block takes."""
    start = time.perf_counter()
    yield
    times.append(time.perf_counter() - start)


def bare_gemms(matrices: list[torch.Tensor], columns: torch.Tensor) -> None:
    """Every tile of every matrix with the vocabulary, into one buffer."""
    buffer = torch.empty(CPU_NEURON_TILE * TOKEN_TILE)
    for rows in matrices:
        for first in range(0, len(rows), CPU_NEURON_TILE):
            block = rows[first : first + CPU_NEURON_TILE]
            for start in range(0, len(columns), TOKEN_TILE):
                tile = columns[start : start + TOKEN_TILE]
                torch.mm(block, tile.T, out=buffer[: len(block) * len(tile)].view(len(block), len(tile)))


def naive_congruence(matrices: list[torch.Tensor], columns: torch.Tensor) -> None:
    """A notebook's way: one layer's whole matrix, topk along both sides, the tokens' lists carried along."""
    best: dict[bool, torch.Tensor] = {}
    for rows in matrices:
        congruence = rows @ columns.T
        for largest in (True, False):
            congruence.topk(50, dim=1, largest=largest)
            ours = congruence.topk(50, dim=0, largest=largest).values
            both = torch.cat([best[largest], ours]) if largest in best else ours
            best[largest] = both.topk(50, dim=0, largest=largest).values
        (congruence - congruence.mean(1, keepdim=True)).pow(4).mean(1)


def weight_phase(model: LoadedModel, n_layers: int, naive_layers: int) -> dict[str, float]:
    """Seconds of limit, ours and naive; ours includes lists both ways, powers, and both sides of input tokens."""
    readout, embed, d_mlp = read_readout(model, "unembed").columns, model.embedding, model.d_mlp
    layers = list(range(30 - n_layers, 30))[::-1]
    weights = [layer_weights(model, layer) for layer in layers]
    sides = [[w.w_out for w in weights], [w.w_in for w in weights], [w.w_gate for w in weights]]
    order = list(range(n_layers))
    search(lambda i: sides[0][i][:64], [0], readout[:4096], d_mlp=64, k_tokens=5, k_neurons=5)  # Compiles.
    limit, ours, naive = [], [], []
    found = None
    for side, columns, k, k_neurons in ((0, readout, 50, 50), (1, embed, INPUT_TOKENS, 0), (2, embed, INPUT_TOKENS, 0)):
        with timed(limit):
            bare_gemms(sides[side], columns)
        with timed(ours):
            result = search(
                lambda i, side=side: sides[side][i], order, columns, d_mlp=d_mlp, k_tokens=k, k_neurons=k_neurons
            )
        found = found or result
    with timed(naive):
        naive_congruence(sides[0][:naive_layers], readout)
    for index in (0, 7, 1000):
        truth = sides[0][0][index].double() @ readout.double().T
        assert found.neuron_token["top"].ids[index].tolist() == truth.argsort(descending=True)[:50].tolist()
    flops = 2 * n_layers * d_mlp * len(readout) * readout.shape[1]
    print(
        f"  congruence alone: {ours[0] / limit[0]:.2f} x its GEMMs; input tokens {sum(ours[1:]) / sum(limit[1:]):.2f} x"
    )
    print(f"  GEMM {flops / limit[0] / 1e9:.0f} GF/s")
    return {"limit": sum(limit), "ours": sum(ours), "naive": naive[0] * n_layers / naive_layers * sum(limit) / limit[0]}


def notebook_batch(
    bridge: object, batch: TextBatch, layers: list[int], d_mlp: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """A notebook's way with one batch: cache every hook_post, then topk, moments, and a histc a neuron.

    Returns the first layer's activations and the predictions, for the pairs.
    """
    names = {f"blocks.{layer}.mlp.hook_post" for layer in layers}
    logits, cache = bridge.run_with_cache(torch.from_numpy(batch.input_ids), names_filter=lambda name: name in names)
    for layer in layers:
        acts = cache[f"blocks.{layer}.mlp.hook_post"]
        acts.amax(1).topk(min(20, len(acts)), dim=0)
        acts.amin(1).topk(min(20, len(acts)), dim=0, largest=False)
        for moment in (1, 2, 3, 4):
            acts.pow(moment).mean((0, 1))
        for neuron in range(d_mlp):
            torch.histc(acts[..., neuron], bins=123)
    return cache[f"blocks.{layers[0]}.mlp.hook_post"], logits.argmax(-1)


def notebook_pairs(
    acts: torch.Tensor, predicted: torch.Tensor, tokens: torch.Tensor, pairs: list[tuple[int, int]]
) -> None:
    """A notebook's loop over pairs: two histograms each."""
    for index, token in pairs:
        chosen = acts[..., index]
        for positions in (predicted == token, tokens == token):
            torch.histc(chosen[positions], bins=123)


def activation_phase(model: LoadedModel, n_texts: int, naive_layers: int) -> dict[str, float]:
    """Seconds over the same batches, interleaved batch by batch; medians of a batch times the number of batches."""
    dataset = open_dataset("pydoc")
    texts = iter_texts(
        dataset, model.tokenizer, context_length=128, overflow="split", bos_token_id=bos_for(model.tokenizer),
        max_texts=n_texts, report=TextReport(),
    )  # fmt: skip
    work = list(batches(texts, max_tokens=4096, pad_id=0))
    readout = read_readout(model, "unembed")
    n_layers, d_mlp = len(model.layers), model.d_mlp
    congruence = search(
        lambda layer: layer_weights(model, layer).w_out, list(range(n_layers)), readout.columns,
        d_mlp=d_mlp, k_tokens=5, k_neurons=5,
    )  # fmt: skip
    nobody = np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.float32)
    exclusive = {direction: exclusive_pairs(congruence, direction) for direction in ("top", "bottom")}
    pairs = candidate_pairs(congruence, exclusive, nobody, k=5, gated=True)
    here = (pairs.neuron // d_mlp) < naive_layers
    # A notebook that kept all pairs would take hours: 2,000 are timed, and the rest counted at the same price.
    sample = list(zip((pairs.neuron[here] % d_mlp)[:2000].tolist(), pairs.token[here][:2000].tolist(), strict=True))
    cached, looped, forward = [], [], []
    tokens = torch.from_numpy(work[0].input_ids)
    with torch.no_grad():
        model.bridge(tokens)  # Warm.
        with timed(forward):
            model.bridge(tokens)
        with timed(cached):
            acts, predicted = notebook_batch(model.bridge, work[0], list(range(naive_layers)), d_mlp)
        with timed(looped):
            notebook_pairs(acts, predicted, tokens, sample)
    reductions = max(cached[0] - forward[0], 0.0) * n_layers / naive_layers
    a_batch = forward[0] + reductions + looped[0] / len(sample) * len(pairs.neuron)
    print(
        f"  notebook, a batch: forward {forward[0]:.1f} s, topk and histc {reductions:.1f} s, "
        f"{len(pairs.neuron):,} pairs {a_batch - forward[0] - reductions:.1f} s"
    )

    lean = LeanModel(model, CPU, torch.float32)
    settings = StreamSettings(
        d_vocab=len(readout.columns), gated=True, count_bos=False, has_bos=True, top_texts=20, window=64,
        fingerprint=dataset.fingerprint, seed=0,
    )  # fmt: skip
    reader = Reader(lean, settings, pairs.neuron, pairs.token)
    limit, ours = [], []

    def bare(batch: TextBatch) -> None:
        lean.predict(lean.run(torch.from_numpy(batch.input_ids)).flatten(0, 1))

    bare(work[0])
    tasks: list[tuple[Callable[[TextBatch], None], list[float]]] = [(bare, limit), (reader.read, ours)]
    for number, batch in enumerate(work):
        for task, times in tasks if number % 2 else tasks[::-1]:
            with timed(times):
                task(batch)
    assert reader.statistics.counts.sum(1).eq(reader.statistics.n_positions * d_mlp).all()
    n_tokens = sum(int(batch.lengths.sum()) for batch in work)
    ratios = [o / b for o, b in zip(ours, limit, strict=True)]
    speeds = [f"{n_tokens / sum(times):,.0f}" for times in (ours, limit)]
    print(f"  {len(work)} batches, {n_tokens:,} tokens: {speeds[0]} tokens/s, bare {speeds[1]}")
    print(
        f"  first batch {ratios[0]:.2f} x, last {ratios[-1]:.2f} x (examples settle), "
        f"median {statistics.median(ratios):.2f} x"
    )
    return {"limit": sum(limit), "ours": sum(ours), "naive": a_batch * len(work)}


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--texts", type=int, default=256)
    parser.add_argument("--layers", type=int, default=30)
    parser.add_argument("--naive-layers", type=int, default=1)
    options = parser.parse_args()
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, float32, SmolLM2-135M")
    model = load_model(BUILTIN)
    results = {}
    print(f"weights ({options.layers} of 30 layers; naive timed on {options.naive_layers}, scaled):")
    results["weights"] = weight_phase(model, options.layers, options.naive_layers)
    print(f"activations (naive timed on one batch and {options.naive_layers} of 30 layers, scaled):")
    results["activations"] = activation_phase(model, options.texts, options.naive_layers)
    print(f"\n{'phase':<12} {'limit s':>9} {'ours s':>9} {'naive s':>9} {'ours/limit':>11} {'naive/ours':>11}")
    for phase, t in results.items():
        ratio, gain = t["ours"] / t["limit"], t["naive"] / t["ours"]
        print(f"{phase:<12} {t['limit']:>9.1f} {t['ours']:>9.1f} {t['naive']:>9.1f} {ratio:>11.2f} {gain:>11.1f}")


if __name__ == "__main__":
    main()
