"""The congruence search as ratios to the bare float32 GEMMs it stands on, in one process.

    python -m benchmarks.congruence [--threads 2 1] [--layers 30] [--cases gpt2-large smollm2] [--slices 512]

Cases: 4,096 random neurons of GPT-2 Large's shape (d_model 1,280) x 50,257 tokens; SmolLM2-135M whole (with more than
one thread count, a third of its layers for all but the first). For each slice of neurons in turn, in alternating order:

- limit: its GEMMs with the vocabulary, tile by tile into one buffer that stays in the cache;
- moments: our search, lists of 50 both ways and both directions, third and fourth powers summed (float32 GEMMs);
- lists: the same lists without the powers (bfloat16 GEMMs where the machine gains by them, exact values);
- inputs: lists of 20 tokens a neuron only, as for input and gate weights.

What a search does before and after all slices is counted as ours. Naive, on a few rows and scaled to all: whole rows of
congruence, then `torch.topk`, or `torch.sort`, along both sides and in both directions, nothing carried along. Values
of both searches are compared with float64 in the same run.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import torch

from ingest.congruence.cpu import TOKEN_TILE, CpuSearch
from ingest.congruence.result import RankedList
from ingest.model.load import load_model
from ingest.model.source import BUILTIN
from ingest.model.weights import layer_weights, read_readout

TOPK_ROWS, SORT_ROWS = 768, 64
CHECKED = 16
"""Neurons and tokens whose lists are compared with float64."""


@dataclass
class Timed:
    """Seconds of one contestant: a slice each, and once for all."""

    name: str
    slices: list[float] = field(default_factory=list)
    once: float = 0.0

    @property
    def total(self) -> float:
        return sum(self.slices) + self.once


def seconds(work: Callable[[], object]) -> float:
    """Wall time of a call."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def gemms(rows: torch.Tensor, readout: torch.Tensor, buffer: torch.Tensor) -> None:
    """Every tile of a slice with the vocabulary."""
    for start in range(0, len(readout), TOKEN_TILE):
        tile = readout[start : start + TOKEN_TILE]
        torch.mm(rows, tile.T, out=buffer[: len(rows) * len(tile)].view(len(rows), len(tile)))


def compete(neurons: torch.Tensor, readout: torch.Tensor, rows: int) -> tuple[list[Timed], dict[str, CpuSearch]]:
    """Limit and searches, slice by slice; also the searches, done."""
    n, buffer = len(neurons), torch.empty(rows * TOKEN_TILE)
    options = {"moments": (50, 50, True), "lists": (50, 50, False), "inputs": (20, 0, False)}
    times = {name: Timed(name) for name in ("limit", *options)}
    searches: dict[str, CpuSearch] = {}
    for name, (k_tokens, k_neurons, moments) in options.items():
        warm = CpuSearch(readout[:256], 32, k_tokens, k_neurons, moments=moments)  # Compiles; measures bfloat16.
        warm.update(0, neurons[:32])
        start = time.perf_counter()
        searches[name] = CpuSearch(readout, n, k_tokens, k_neurons, moments=moments)
        times[name].once += time.perf_counter() - start
    gemms(neurons[:rows], readout, buffer)
    for number, start in enumerate(range(0, n, rows)):
        part = neurons[start : start + rows]
        work = {"limit": lambda part=part: gemms(part, readout, buffer)}
        for name, search in searches.items():
            work[name] = lambda search=search, start=start, part=part: search.update(start, part)
        for name in list(work)[:: 1 if number % 2 else -1]:
            times[name].slices.append(seconds(work[name]))
    for name, search in searches.items():
        times[name].once += seconds(search.result)
    return list(times.values()), searches


def naive(neurons: torch.Tensor, readout: torch.Tensor) -> list[Timed]:
    """Both notebook ways, scaled to all neurons."""

    def with_topk() -> None:
        whole = neurons[:TOPK_ROWS] @ readout.T
        for dim, largest in ((1, True), (1, False), (0, True), (0, False)):
            whole.topk(50, dim=dim, largest=largest)

    def with_sort() -> None:
        whole = neurons[:SORT_ROWS] @ readout.T
        for dim in (1, 0):
            whole.sort(dim=dim)  # Both directions are its two ends.

    return [
        Timed("topk", [seconds(with_topk) * len(neurons) / TOPK_ROWS]),
        Timed("sort", [seconds(with_sort) * len(neurons) / SORT_ROWS]),
    ]


def error(ranked: RankedList, matrix: torch.Tensor, sign: float, at: torch.Tensor) -> float:
    """Greatest difference from the float64 top k of `matrix` (the rows `at`), relative to the greatest entry."""
    k = ranked.ids.shape[1]
    best = (matrix * sign).topk(k, dim=1).values * sign
    listed = matrix.gather(1, ranked.ids[at])  # What was listed must be what it says, and as good as the best.
    off = torch.maximum((ranked.values[at] - best).abs(), (ranked.values[at] - listed).abs())
    return float(off.max() / matrix.abs().max())


def check(search: CpuSearch, neurons: torch.Tensor, readout: torch.Tensor) -> float:
    """Greatest relative error of some neurons' and some tokens' lists against float64."""
    result = search.result()
    rows, columns = (torch.linspace(0, n - 1, CHECKED).long() for n in (len(neurons), len(readout)))
    by_neuron = neurons[rows].double() @ readout.double().T
    by_token = readout[columns].double() @ neurons.double().T
    errors = []
    for direction, sign in (("top", 1.0), ("bottom", -1.0)):
        errors.append(error(result.neuron_token[direction], by_neuron, sign, rows))
        if result.token_neuron:
            errors.append(error(result.token_neuron[direction], by_token, sign, columns))
    assert max(errors) < 2e-6, f"a listed value is off by {max(errors):.1e} of the greatest"
    return max(errors)


def run(name: str, neurons: torch.Tensor, readout: torch.Tensor, rows: int, threads: int) -> None:
    """Print one case's table."""
    torch.set_num_threads(threads)
    times, searches = compete(neurons, readout, rows)
    errors = {kind: check(search, neurons, readout) for kind, search in searches.items()}
    limit = times[0]
    work = 2 * len(neurons) * readout.numel() / 1e9
    print(f"\n{name}: {len(neurons):,} neurons x {len(readout):,} tokens, {threads} thread(s)")
    print(f"  {'':<10}{'s':>8}{'x limit':>9}{'median slice':>14}{'GF/s':>7}  greatest error, GEMM")
    for timed in [*times, *naive(neurons, readout)]:
        ratio = timed.total / limit.total
        slices = [a / b for a, b in zip(timed.slices, limit.slices, strict=False)]
        median = f"{statistics.median(slices):.2f}" if len(slices) == len(limit.slices) else "scaled"
        note = f"{errors[timed.name]:.0e}, {str(searches[timed.name].dtype)[6:]}" if timed.name in searches else ""
        print(f"  {timed.name:<10}{timed.total:>8.1f}{ratio:>9.2f}{median:>14}{work / timed.total:>7.0f}  {note}")


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, nargs="+", default=[torch.get_num_threads()])
    parser.add_argument("--layers", type=int, default=30)
    parser.add_argument("--cases", nargs="+", default=["gpt2-large", "smollm2"], choices=["gpt2-large", "smollm2"])
    parser.add_argument("--slices", type=int, default=512, help="neurons a slice")
    options = parser.parse_args()
    print(f"torch {torch.__version__}, wall seconds, interleaved slice by slice")
    if "gpt2-large" in options.cases:
        generator = torch.Generator().manual_seed(0)
        neurons, readout = torch.randn(4096, 1280, generator=generator), torch.randn(50257, 1280, generator=generator)
        for threads in options.threads:
            run("GPT-2 Large's shape, random", neurons, readout, options.slices, threads)
        del neurons, readout
    if "smollm2" in options.cases:
        model = load_model(BUILTIN)
        readout = read_readout(model, "unembed").columns
        layers = [layer_weights(model, layer).w_out for layer in range(len(model.layers))]
        layers.sort(key=lambda w_out: -float(w_out.norm(dim=1).amax()))  # As the program visits them.
        for number, threads in enumerate(options.threads):
            n = options.layers if number == 0 else -(-options.layers // 3)
            run(f"SmolLM2-135M, {n} of 30 layers", torch.cat(layers[:n]), readout, options.slices, threads)


if __name__ == "__main__":
    main()
