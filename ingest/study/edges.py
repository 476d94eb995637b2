"""Edges between the neurons that stand out: how much of a neuron's recovery reaches the answer through a later one."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float, Float32
from torch import Tensor

from ingest.model.hooks import Change
from ingest.study.attribution import PASSES, corrupt_run, last_difference
from ingest.study.patching import set_neurons
from ingest.study.runs import Batches, PairRuns
from ingest.study.study_model import Edits, Site

CHECKED = 10
"""Edges that are checked exactly."""

Edge = tuple[int, int]
"""A neuron, and one of a later layer."""


def edges_between(neuron_ids: Sequence[int], d_mlp: int) -> list[Edge]:
    """Every neuron with every one of a later layer, in order."""
    ids = sorted(neuron_ids)
    return [(source, target) for source in ids for target in ids if source // d_mlp < target // d_mlp]


def estimate_edges(runs: PairRuns, edges: Sequence[Edge], batches: Batches) -> Float32[np.ndarray, " edge"]:
    """The part of each source's attribution that goes through the target: the source's change from corrupt to clean,
    times the gradient of the target's activation with respect to it, times the gradient of the logit difference with
    respect to the target's activation, summed over positions of both; as a relative recovery."""
    if not edges:
        return np.zeros(0, np.float32)
    d_mlp, pos = runs.model.model.d_mlp, len(runs.tokens)
    targets = sorted({target for _, target in edges})
    change = runs.clean.activations - runs.corrupt.activations
    estimate = torch.zeros(len(edges))
    once, many = corrupt_run(runs), corrupt_run(runs, len(targets))
    with torch.enable_grad():
        effect = torch.autograd.grad(last_difference(runs, once.final).sum(), once.activations)
        # A row of the batch for each target: one backward pass of the sum gives every row its own gradient.
        value = many.final.new_zeros(())
        for row, (layer, index) in enumerate(divmod(target, d_mlp) for target in targets):
            weight = effect[layer].reshape(pos, d_mlp)[:, index]
            value = value + many.activations[layer].reshape(-1, pos, d_mlp)[row, :, index] @ weight
        gradients = torch.autograd.grad(value, many.activations[: targets[-1] // d_mlp])
    for place, (source, target) in enumerate(edges):
        layer, index = divmod(source, d_mlp)
        gradient = gradients[layer].reshape(-1, pos, d_mlp)[targets.index(target), :, index]
        estimate[place] = change[layer, :, index] @ gradient.to(change.dtype)
    batches.progress(PASSES + len(targets))
    return (estimate / (runs.clean_difference - runs.corrupt_difference)).numpy()


@torch.inference_mode()
def check_edges(runs: PairRuns, edges: Sequence[Edge], batches: Batches) -> Float32[np.ndarray, " edge"]:
    """Relative recovery of corrupt runs in which the target alone has the activations that it takes when the source has
    its clean ones."""
    if not edges:
        return np.zeros(0, np.float32)
    seen = _targets_with_sources(runs, edges)
    edits: dict[tuple[int, Site], Change] = {}
    d_mlp = runs.model.model.d_mlp
    for layer in {target // d_mlp for _, target in edges}:
        at = [place for place, (_, target) in enumerate(edges) if target // d_mlp == layer]
        values = torch.stack([seen[edges[place]] for place in at])
        edits[layer, "neuron"] = set_neurons(at, [edges[place][1] % d_mlp for place in at], values)
    batches.progress(2 * len(edges))
    return _resumed(runs, len(edges), edits).cpu().numpy()


def _targets_with_sources(runs: PairRuns, edges: Sequence[Edge]) -> dict[Edge, Float[Tensor, " pos"]]:
    """The target's activations in the corrupt run when the source has its clean ones."""
    d_mlp, seen = runs.model.model.d_mlp, {}
    sources = sorted({source for source, _ in edges})

    def at(layer: int) -> Change:
        rows = [row for row, source in enumerate(sources) if source // d_mlp == layer]
        neurons = [sources[row] % d_mlp for row in rows]
        put_in = set_neurons(rows, neurons, runs.clean.activations[layer, runs.first :, neurons].T)

        def change(activations: Tensor) -> Tensor:
            activations = put_in(activations) if rows else activations
            for source, target in edges:
                if target // d_mlp == layer:
                    seen[source, target] = activations[sources.index(source), :, target % d_mlp].clone()
            return activations

        return change

    _resumed(runs, len(sources), {(layer, "neuron"): at(layer) for layer in {n // d_mlp for e in edges for n in e}})
    return seen


def _resumed(runs: PairRuns, rows: int, edits: Edits) -> Float[Tensor, " row"]:
    """Relative recovery of corrupt runs from the first layer that is changed on."""
    first = min(layer for layer, _ in edits)
    return runs.recovery(first, runs.corrupt.residual[first, runs.first :].expand(rows, -1, -1), edits)


def strongest(estimates: Float[np.ndarray, " edge"]) -> list[int]:
    """Places of the edges that are checked, by |estimate|; the first of equal ones first."""
    return np.argsort(-np.abs(estimates), kind="stable")[:CHECKED].tolist()
