"""Ablation: the effect of changing the neurons that stand out, in the clean run, on the answer's probability."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float, Float32
from torch import Tensor

from ingest.model.hooks import Change
from ingest.study.runs import Batches, PairRuns

VARIANTS = ("zero", "mean", "negate")


def ablation_sets(neuron_ids: Sequence[int]) -> list[tuple[int, ...]]:
    """The sets to ablate: each neuron, and all of them where there are several."""
    return [*((neuron,) for neuron in neuron_ids), *([tuple(neuron_ids)] if len(neuron_ids) > 1 else [])]


@torch.inference_mode()
def ablate(
    runs: PairRuns, neuron_ids: Sequence[int], activation_mean: Float[np.ndarray, " neuron"], batches: Batches
) -> Float32[np.ndarray, "ablated variant"]:
    """Change in the answer's probability, after minus before, for each of `ablation_sets` and of VARIANTS.

    Neurons are changed at all positions but BOS. 'negate' negates the activation that a neuron has in the changed
    run, where others may have been negated below it.
    """
    sets, model = ablation_sets(neuron_ids), runs.model
    if not sets:
        return np.zeros((0, len(VARIANTS)), np.float32)
    d_mlp = model.model.d_mlp
    jobs = [(neurons, variant) for neurons in sets for variant in VARIANTS]
    layers = sorted({neuron // d_mlp for neuron in neuron_ids})
    residual = runs.clean.residual[layers[0]]
    answer, after = runs.tokens.answer_id, []
    rows = batches.size(model.device, len(runs.tokens))
    for start in range(0, len(jobs), rows):
        part = jobs[start : start + rows]
        edits = {(layer, "neuron"): _change(runs, layer, part, activation_mean) for layer in layers}
        final = model.resume(layers[0], residual.expand(len(part), -1, -1), runs.whole, edits)
        after.append(model.logits(final).softmax(-1)[:, answer])
        batches.progress(len(part))
    change = torch.cat(after) - runs.clean.logits.softmax(-1)[answer]
    return change.view(len(sets), len(VARIANTS)).cpu().numpy()


def _change(
    runs: PairRuns, layer: int, jobs: list[tuple[tuple[int, ...], str]], activation_mean: Float[np.ndarray, " neuron"]
) -> Change:
    d_mlp, first = runs.model.model.d_mlp, int(runs.tokens.has_bos)

    def change(activations: Tensor) -> Tensor:
        activations = activations.clone()
        for row, (neurons, variant) in enumerate(jobs):
            for neuron in neurons:
                if neuron // d_mlp == layer:
                    column = activations[row, first:, neuron % d_mlp]
                    if variant == "negate":
                        column.neg_()
                    else:
                        column.fill_(float(activation_mean[neuron]) if variant == "mean" else 0.0)
        return activations

    return change
