"""Neuron patching of one layer: ours, the naive loop of one forward pass a neuron, and the bare GEMMs.

    python -m benchmarks.study [--threads 1] [--layers 25 15] [--naive 12]

On SmolLM2-135M and the post's pair. For each layer in turn:

- ours: every neuron of the layer, batched, resumed behind the layer at the first token that differs;
- naive: the whole corrupt prompt once a neuron, with a hook that puts the clean run's activation in, straight on the
  Hugging Face module (no gradients, PyTorch's own attention). Timed on a sample of neurons, some before ours and some
  after, and extrapolated to all;
- limit: the matrix products that our runs cannot do without, in our batches, and nothing else.

The sampled neurons' recoveries are compared with ours in the same run. Times are of the processor, all threads
together: on a shared machine the clock on the wall says more about the neighbours; both are printed.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from ingest.model.load import load_model
from ingest.model.source import BUILTIN
from ingest.study.patching import patch_neurons
from ingest.study.prompts import PromptPair, tokenise_pair
from ingest.study.runs import Batches, PairRuns
from ingest.study.study_model import StudyModel

PROMPT = "I climbed up the pear tree and picked a pear. I climbed up the {} tree and picked"
PAIR = PromptPair(PROMPT.format("apple"), PROMPT.format("lemon"), " an", " a")
BATCHES = Batches(None, lambda _: None)


@torch.inference_mode()
def naive(module: nn.Module, runs: PairRuns, layer: int, neurons: list[int]) -> list[float]:
    """Recoveries, one forward pass a neuron."""
    ids = torch.tensor([runs.tokens.corrupt_ids])
    tokens = runs.tokens
    recoveries = []
    for neuron in neurons:

        def put_in(_: nn.Module, args: tuple[torch.Tensor, ...], neuron: int = neuron) -> tuple[torch.Tensor]:
            activations = args[0].clone()
            activations[0, :, neuron] = runs.clean.activations[layer, :, neuron]
            return (activations,)

        hook = runs.model.blocks[layer].projection.register_forward_pre_hook(put_in)
        logits = module(input_ids=ids, use_cache=False).logits[0, -1]
        hook.remove()
        patched = float(logits[tokens.answer_id] - logits[tokens.other_id])
        recoveries.append((patched - runs.corrupt_difference) / (runs.clean_difference - runs.corrupt_difference))
    return recoveries


def products(runs: PairRuns, layer: int) -> None:
    """The GEMMs of all weight matrices behind the layer, in batches of ours."""
    behind = [block.block for block in runs.model.blocks[layer + 1 :]]
    weights = [part.weight for block in behind for part in block.modules() if isinstance(part, nn.Linear)]
    pos, d_mlp = len(runs.part.token_ids), runs.model.model.d_mlp
    rows = BATCHES.size(runs.model.device, pos)
    inputs = {weight.shape[1]: torch.ones(rows * pos, weight.shape[1]) for weight in weights}
    for first in range(0, d_mlp, rows):
        used = min(rows, d_mlp - first) * pos
        for weight in weights:
            torch.mm(inputs[weight.shape[1]][:used], weight.T)


@dataclass
class Spent:
    """Seconds that contestants took: on the wall, and of the processor."""

    wall: float = 0.0
    cpu: float = 0.0

    @contextmanager
    def timed(self) -> Iterator[None]:
        wall, cpu = time.perf_counter(), time.process_time()
        yield
        self.wall += time.perf_counter() - wall
        self.cpu += time.process_time() - cpu


def compete(module: nn.Module, runs: PairRuns, layer: int, sample: list[int]) -> None:
    """Print one layer's line."""
    d_mlp = runs.model.model.d_mlp
    neurons = np.arange(layer * d_mlp, (layer + 1) * d_mlp)
    patch_neurons(runs, neurons, BATCHES)  # Warm.
    naive(module, runs, layer, sample[:1])
    loop, ours, limit = Spent(), Spent(), Spent()
    with loop.timed():
        values = naive(module, runs, layer, sample[::2])
    with ours.timed():
        recoveries = patch_neurons(runs, neurons, BATCHES)
    with limit.timed():
        products(runs, layer)
    with loop.timed():
        values += naive(module, runs, layer, sample[1::2])
    errors = [abs(recoveries[neuron] - value) for neuron, value in zip(sample[::2] + sample[1::2], values, strict=True)]
    assert max(errors) < 1e-3, f"recoveries differ by {max(errors):.1e}"
    scale = d_mlp / len(sample)
    print(
        f"layer {layer} of {runs.model.n_layers}, {d_mlp} neurons (processor s, wall s):\n"
        f"  ours   {ours.cpu:8.2f} {ours.wall:8.2f}\n"
        f"  naive  {loop.cpu * scale:8.1f} {loop.wall * scale:8.1f}  {loop.cpu * scale / ours.cpu:.1f} x ours "
        f"({loop.wall * scale / ours.wall:.1f} on the wall), extrapolated from {len(sample)}\n"
        f"  limit  {limit.cpu:8.2f} {limit.wall:8.2f}  ours is {ours.cpu / limit.cpu:.2f} x it\n"
        f"  recoveries differ by {max(errors):.0e} at most"
    )


def main() -> None:
    """Print a line a layer."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--layers", type=int, nargs="+", default=[25, 15])
    parser.add_argument("--naive", type=int, default=12, help="neurons of the naive sample")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    model = load_model(BUILTIN)
    runs = PairRuns(StudyModel(model, torch.device("cpu")), tokenise_pair(model, PAIR))
    print(
        f"torch {torch.__version__}, {options.threads} thread(s), {len(runs.tokens)} tokens, the first {runs.first} "
        f"shared, load {os.getloadavg()[0]:.1f}"
    )
    for layer in options.layers:
        sample = torch.linspace(0, model.d_mlp - 1, options.naive).long().tolist()
        compete(model.bridge.original_model, runs, layer, sample)


if __name__ == "__main__":
    main()
