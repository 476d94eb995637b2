"""Readings of a recorded run: the logit lens, and each neuron's direct effect.

Both are before any soft cap of the logits, and both count the biases that the model adds behind the residual stream
(the final norm's and the unembedding's), so that the lens ends at the model's own logit difference.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Float32, Float64
from torch import Tensor

from ingest.study.blocks import RecordedRun
from ingest.study.norms import HeldNorm, hold
from ingest.study.prompts import TokenPair
from ingest.study.study_model import StudyModel


@dataclass(frozen=True)
class Lens:
    """logit(answer) - logit(other) from the residual stream at the last position, in one of the two variants."""

    pre: Float32[np.ndarray, " layer"]
    """Before every block."""
    mid: Float32[np.ndarray, " layer"] | None
    """After attention; None: the blocks are parallel."""
    post: float
    """After the last block."""


@torch.inference_mode()
def logit_lens(model: StudyModel, run: RecordedRun, tokens: TokenPair) -> dict[str, Lens]:
    """'own_norm': the final norm applied at each site. 'final_norm': the same with the scale of the end at every site
    (a LayerNorm still subtracts each site's own mean)."""
    direction, bias = model.direction(tokens.answer_id, tokens.other_id)
    held = hold_final(model, run)
    sites = [run.residual] if run.mid is None else [run.residual, run.mid]
    lenses = {}
    for variant, norm in (("own_norm", model.norm), ("final_norm", held.apply)):
        read = [(norm(site[:, -1]).double() @ direction + bias).float().cpu().numpy() for site in sites]
        lenses[variant] = Lens(read[0][:-1], None if run.mid is None else read[1], float(read[0][-1]))
    return lenses


@torch.inference_mode()
def direct_effects(model: StudyModel, run: RecordedRun, tokens: TokenPair) -> Float32[np.ndarray, "layer d_mlp"]:
    """Each neuron's direct effect on the logit difference at the last position, with every later norm held at its scale
    there: activation * w_out . (W_U[answer] - W_U[other]).

    With the shares of embeddings, attention and all biases, an exact sum: the logit difference.
    """
    direction = model.direction(tokens.answer_id, tokens.other_id)[0]
    reads = reads_along(model, direction, run.residual[-1, -1], run.projected[:, -1])
    return run.activations[:, -1].cpu().numpy() * reads.numpy()


@torch.inference_mode()
def reads_along(
    model: StudyModel,
    direction: Float64[Tensor, " d_model"],
    final: Float[Tensor, " d_model"],
    projected: Sequence[Float[Tensor, " d_model"]] | Float[Tensor, "layer d_model"],
) -> Float32[Tensor, "layer d_mlp"]:
    """What one unit of each neuron's activation adds along a direction of the final norm's output (see
    `StudyModel.direction`), with every later norm held at its scale at one position; on the CPU.

    Args:
        final: the residual stream there, behind the last block.
        projected: what each layer's output projection gives there; read where a norm follows.
    """
    direction = hold(model.norm, model.model.final_gain, final, model.model.layer_norm).back(direction)
    reads = []
    for layer, block in enumerate(model.blocks):
        back = direction
        if block.post_norm is not None and block.post_gain is not None:
            back = hold(block.post_norm, block.post_gain, projected[layer], model.model.layer_norm).back(direction)
        w_out = model.model.layers[layer].w_out.to(model.device, torch.float32)
        reads.append(w_out @ (back * model.factors[layer].mlp).float())
    return torch.stack(reads).cpu()


def hold_final(model: StudyModel, run: RecordedRun) -> HeldNorm:
    """The final norm at the last position's scale."""
    return hold(model.norm, model.model.final_gain, run.residual[-1, -1], model.model.layer_norm)
