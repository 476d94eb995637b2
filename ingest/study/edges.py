"""Edges between the neurons that stand out: how much of a neuron's recovery reaches the answer through a later one."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float, Float32
from torch import Tensor

from ingest.study.attribution import PASSES, corrupt_run, last_difference
from ingest.study.patching import patched_stream
from ingest.study.runs import Batches, PairRuns

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
    d_mlp, run = runs.model.model.d_mlp, corrupt_run(runs)
    sources: dict[int, list[int]] = defaultdict(list)
    for place, (_, target) in enumerate(edges):
        sources[target].append(place)
    change = runs.clean.activations - runs.corrupt.activations
    estimate = torch.zeros(len(edges))
    with torch.enable_grad():
        lead = last_difference(runs, run.final).sum()
        effect = torch.autograd.grad(lead, run.activations, retain_graph=True)
        for target, places in sources.items():
            layer, index = divmod(target, d_mlp)
            weight = effect[layer].reshape(-1, d_mlp)[:, index]
            value = (run.activations[layer].reshape(-1, d_mlp)[:, index] * weight).sum()
            gradients = torch.autograd.grad(value, run.activations[:layer], retain_graph=True)
            for place in places:
                at, own = divmod(edges[place][0], d_mlp)
                estimate[place] = change[at, :, own] @ gradients[at].reshape(-1, d_mlp)[:, own].to(change.dtype)
    batches.progress(PASSES + len(sources))
    return (estimate / (runs.clean_difference - runs.corrupt_difference)).numpy()


@torch.inference_mode()
def check_edges(runs: PairRuns, edges: Sequence[Edge], batches: Batches) -> Float32[np.ndarray, " edge"]:
    """Relative recovery of corrupt runs in which the target alone has the activations that it takes when the source has
    its clean ones."""
    d_mlp, exact = runs.model.model.d_mlp, np.zeros(len(edges), np.float32)
    for place, (source, target) in enumerate(edges):
        seen: list[Tensor] = []

        def look(activations: Tensor) -> Tensor:
            seen.append(activations[..., target % d_mlp].clone())  # noqa: B023
            return activations

        def put_in(activations: Tensor) -> Tensor:
            activations = activations.clone()
            activations[..., target % d_mlp] = seen[0]  # noqa: B023
            return activations

        layer, at = divmod(source, d_mlp)
        stream = patched_stream(runs, layer, torch.tensor([at], device=runs.model.device))
        runs.recovery(layer + 1, stream, {(target // d_mlp, "neuron"): look})
        before: Float[Tensor, "row pos d_model"] = runs.corrupt.residual[target // d_mlp, runs.first :][None]
        exact[place] = runs.recovery(target // d_mlp, before, {(target // d_mlp, "neuron"): put_in})[0]
        batches.progress(2)
    return exact


def strongest(estimates: Float[np.ndarray, " edge"]) -> list[int]:
    """Places of the edges that are checked, by |estimate|; the first of equal ones first."""
    return np.argsort(-np.abs(estimates), kind="stable")[:CHECKED].tolist()
