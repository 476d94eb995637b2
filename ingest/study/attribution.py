"""Attribution: the recovery of patching each neuron, estimated for all neurons by one backward pass.

The whole model takes part, as in patching: what a neuron writes reaches later positions through attention.
"""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float, Float32
from torch import Tensor

from ingest.study.gradients import GradientRun
from ingest.study.runs import Batches, PairRuns

PASSES = 2
"""One forward and one backward pass."""


def corrupt_run(runs: PairRuns, times: int = 1) -> GradientRun:
    """The corrupt prompt's run, with its graph; several times in a batch."""
    ids = torch.tensor(runs.tokens.corrupt_ids, device=runs.model.device).expand(times, -1)
    counted = torch.ones_like(ids, dtype=torch.bool)
    # Rows are all positions; what is differentiated is read at the last one.
    return GradientRun(runs.model, ids, counted, ids.flatten(), held=False)


def last_difference(runs: PairRuns, final: Float[Tensor, "pos d_model"]) -> Float[Tensor, " one"]:
    """logit(answer) - logit(other) at the last position."""
    return runs.model.difference(final[-1:], runs.tokens.answer_id, runs.tokens.other_id)


def attribute_neurons(runs: PairRuns, batches: Batches) -> Float32[np.ndarray, " neuron"]:
    """Estimated relative recovery of patching each neuron: (clean - corrupt activation) times the gradient of the logit
    difference in the corrupt run, summed over positions."""
    change = runs.clean.activations - runs.corrupt.activations
    estimate = torch.zeros(change.shape[0], change.shape[2], device=change.device)

    def add(layer: int, _: Tensor, gradient: Float[Tensor, "pos d_mlp"]) -> None:
        estimate[layer] = (change[layer] * gradient).sum(0)

    corrupt_run(runs).backward(add, lambda final: last_difference(runs, final))
    batches.progress(PASSES)
    return (estimate / (runs.clean_difference - runs.corrupt_difference)).flatten().cpu().numpy()
