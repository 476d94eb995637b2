"""Activation patching: corrupt runs with one value replaced by the clean run's, many in a batch.

Before the first token that differs both runs are the same, so patching there recovers exactly nothing and is not run.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Float32, Int
from torch import Tensor

from ingest.model.hooks import Change
from ingest.study.runs import Batches, PairRuns
from ingest.study.study_model import Site

SITES: tuple[Site, ...] = ("resid_pre", "attn_out", "mlp_out")
_LAYERS_TOGETHER = 5
"""Layers whose patches share a batch when prompts are short: all run from the first of them, four too early at most."""


@dataclass(frozen=True)
class _Patch:
    """One value of the clean run to put into a corrupt one."""

    layer: int
    site: Site
    position: int


@torch.inference_mode()
def patch_sites(runs: PairRuns, batches: Batches) -> dict[Site, Float32[np.ndarray, "layer pos"]]:
    """Relative recovery of replacing each site at one (layer, position)."""
    n_layers, pos = runs.model.n_layers, len(runs.tokens)
    recovery = {site: np.zeros((n_layers, pos), np.float32) for site in SITES}
    positions = range(runs.tokens.first_difference, pos)
    rows = batches.size(runs.model.device, len(runs.part.token_ids))
    together = max(1, min(_LAYERS_TOGETHER, rows // (len(SITES) * len(positions))))
    for first in range(0, n_layers, together):
        layers = range(first, min(first + together, n_layers))
        patches = [_Patch(layer, site, position) for layer in layers for site in SITES for position in positions]
        for start in range(0, len(patches), rows):
            part = patches[start : start + rows]
            values = _run(runs, part[0].layer, part)
            for patch, value in zip(part, values.tolist(), strict=True):
                recovery[patch.site][patch.layer, patch.position] = value
            batches.progress(len(part))
    return recovery


def _run(runs: PairRuns, first_layer: int, patches: list[_Patch]) -> Float[Tensor, " row"]:
    by_place: dict[tuple[int, Site], list[tuple[int, int]]] = defaultdict(list)
    for row, patch in enumerate(patches):
        by_place[patch.layer, patch.site].append((row, patch.position))
    edits = {place: _put_in(runs, *place, at) for place, at in by_place.items()}
    residual = runs.corrupt.residual[first_layer, runs.first :]
    return runs.recovery(first_layer, residual.expand(len(patches), -1, -1), edits)


def _put_in(runs: PairRuns, layer: int, site: Site, at: list[tuple[int, int]]) -> Change:
    """A change that puts the clean run's values at (row, position)."""
    values = {"resid_pre": runs.clean.residual, "attn_out": runs.clean.attn_out, "mlp_out": runs.clean.mlp_out}[site]
    rows, positions = torch.tensor(at, device=runs.model.device).T

    def change(tensor: Tensor) -> Tensor:
        return tensor.index_put((rows, positions - runs.first), values[layer, positions])

    return change


def set_neurons(rows: Sequence[int], indices: Sequence[int], values: Float[Tensor, "item pos"]) -> Change:
    """A change that gives one neuron of each row other activations, at every position of a resumed run."""

    def change(activations: Tensor) -> Tensor:
        activations = activations.clone()
        activations[list(rows), :, list(indices)] = values
        return activations

    return change


@torch.inference_mode()
def patch_neurons(
    runs: PairRuns, neuron_ids: Int[np.ndarray, " item"], batches: Batches
) -> Float32[np.ndarray, " item"]:
    """Relative recovery of replacing each neuron at all positions; layers with few neurons run together."""
    recovery = np.zeros(len(neuron_ids), np.float32)
    layers, indices = np.divmod(neuron_ids, runs.model.model.d_mlp)
    rows = batches.size(runs.model.device, len(runs.part.token_ids))
    for group in _groups(layers, rows):
        at = np.flatnonzero(np.isin(layers, group))
        if len(group) == 1:
            neurons = torch.as_tensor(indices[at], device=runs.model.device)
            recovery[at] = _patch_layer(runs, group[0], neurons, batches)
        else:
            recovery[at] = _patch_together(runs, layers[at], indices[at])
            batches.progress(len(at))
    return recovery


def _groups(layers: Int[np.ndarray, " item"], rows: int) -> Iterator[list[int]]:
    """The layers, neighbours together as long as their neurons are one batch."""
    group: list[int] = []
    for layer in np.unique(layers).tolist():
        here = [*group, layer]
        if group and (layer - group[0] >= _LAYERS_TOGETHER or np.isin(layers, here).sum() > rows):
            yield group
            here = [layer]
        group = here
    if group:
        yield group


def _patch_together(runs: PairRuns, layers: Int[np.ndarray, " row"], indices: Int[np.ndarray, " row"]) -> np.ndarray:
    """One batch, from the first of the layers on."""
    edits: dict[tuple[int, Site], Change] = {}
    for layer in np.unique(layers).tolist():
        at = np.flatnonzero(layers == layer).tolist()
        neurons = indices[at].tolist()
        edits[layer, "neuron"] = set_neurons(at, neurons, runs.clean.activations[layer, runs.first :, neurons].T)
    first = int(layers.min())
    residual = runs.corrupt.residual[first, runs.first :]
    return runs.recovery(first, residual.expand(len(layers), -1, -1), edits).cpu().numpy()


def _patch_layer(runs: PairRuns, layer: int, neurons: Int[Tensor, " item"], batches: Batches) -> np.ndarray:
    """A neuron's change is added to the block's output, so runs begin at the block after it."""
    pos = len(runs.corrupt.residual[layer, runs.read_after(layer)])
    recovery = torch.zeros(len(neurons), device=runs.model.device)
    # Where no activation differs, patching recovers exactly nothing.
    moved = (runs.clean.activations[layer] != runs.corrupt.activations[layer])[:, neurons].any(0).nonzero()[:, 0]
    for places in moved.split(batches.size(runs.model.device, pos)):
        recovery[places] = runs.recovery(layer + 1, _patched_stream(runs, layer, neurons[places]))
        batches.progress(len(places))
    batches.progress(len(neurons) - len(moved))
    return recovery.cpu().numpy()


def _patched_stream(runs: PairRuns, layer: int, neurons: Int[Tensor, " row"]) -> Float[Tensor, "row pos d_model"]:
    """The corrupt run's residual stream behind a block, each row with the clean activations of one of its neurons."""
    model, at = runs.model, runs.read_after(layer)
    block, factor = model.blocks[layer], model.factors[layer].mlp
    change = runs.clean.activations[layer, at][:, neurons] - runs.corrupt.activations[layer, at][:, neurons]
    writes = change.T[:, :, None] * model.model.layers[layer].w_out.to(model.device, torch.float32)[neurons][:, None, :]
    residual = runs.corrupt.residual[layer + 1, at]
    if block.post_norm is None:
        return residual + factor * writes
    without = residual - factor * runs.corrupt.mlp_out[layer, at]
    return without + factor * block.post_norm(runs.corrupt.projected[layer, at] + writes)
