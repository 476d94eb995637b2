"""Activation patching: corrupt runs with one value replaced by the clean run's, many in a batch.

Before the first token that differs both runs are the same, so patching there recovers exactly nothing and is not run.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Float32
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


@torch.inference_mode()
def patch_neurons(runs: PairRuns, layer: int, batches: Batches) -> Float32[np.ndarray, " d_mlp"]:
    """Relative recovery of replacing each neuron of a layer at all positions.

    A neuron's change is added to the block's output, so runs begin at the block after it.
    """
    model, block, factor = runs.model, runs.model.blocks[layer], runs.model.factors[layer].mlp
    # Behind the last block only the last position is read.
    at = slice(runs.first, None) if layer + 1 < model.n_layers else slice(-1, None)
    change = runs.clean.activations[layer, at] - runs.corrupt.activations[layer, at]
    w_out = model.model.layers[layer].w_out.to(model.device)
    residual, projected = runs.corrupt.residual[layer + 1, at], runs.corrupt.projected[layer, at]
    without = residual - factor * runs.corrupt.mlp_out[layer, at]
    recovery = torch.zeros(len(w_out), device=model.device)
    moved = change.any(0).nonzero()[:, 0]  # The others recover exactly nothing.
    for neurons in moved.split(batches.size(model.device, len(change))):
        writes = change[:, neurons].T[:, :, None] * w_out[neurons][:, None, :]
        if block.post_norm is None:
            patched = residual + factor * writes
        else:
            patched = without + factor * block.post_norm(projected + writes)
        recovery[neurons] = runs.recovery(layer + 1, patched)
        batches.progress(len(neurons))
    batches.progress(len(w_out) - len(moved))
    return recovery.cpu().numpy()
