"""Entropy and divergence to first order in the final residual stream: a gradient for each position."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from ingest.study.norms import norm_scales
from ingest.study.study_model import StudyModel

_ROWS = 64
"""Rows whose logits exist together."""


def directions(
    model: StudyModel, final: Float[Tensor, "row d_model"], log_unigram: Float[Tensor, " d_vocab"]
) -> Float[Tensor, "3 row d_model"]:
    """Gradients, with respect to the final norm's input, of the entropy, of its part through the norm's scale alone,
    and of the divergence from the unigram distribution. The slope of a soft cap is left out."""
    gain, layer_norm = model.model.final_gain, model.model.layer_norm
    weight, _ = model.unembedding(slice(None))
    log_u = log_unigram.float()
    parts = []
    for x in final.split(_ROWS):
        scale, centred = norm_scales(model.norm, gain, x, layer_norm)
        log_p = model.logits(x).log_softmax(-1)
        p = log_p.exp()
        # Of the entropy -sum p log p, and of the divergence sum p (log p - log u).
        entropy = -p * (log_p - (p * log_p).sum(-1, keepdim=True))
        mean = (p * log_u).sum(-1, keepdim=True)
        divergence = -entropy - p * (log_u - mean)
        whole, by_norm = zip(
            *(_through_norm(slope @ weight, x, scale, gain, centred) for slope in (entropy, divergence)), strict=True
        )
        parts.append(torch.stack([whole[0], by_norm[0], whole[1]]))
    return torch.cat(parts, dim=1)


def linear(x: Float[Tensor, "row d_model"], gain: Tensor, centred: bool) -> Float[Tensor, "row d_model"]:
    """A norm without its scale and bias."""
    return (x - x.mean(-1, keepdim=True) if centred else x) * gain.to(x)


def _through_norm(
    slope: Float[Tensor, "row d_model"],
    x: Float[Tensor, "row d_model"],
    scale: Float[Tensor, " row"],
    gain: Tensor,
    centred: bool,
) -> tuple[Tensor, Tensor]:
    """From the gradient with respect to a norm's output that to its input, and the part of it through the scale."""
    slope, scale = slope * gain.to(x), scale.to(x)[:, None]
    if centred:
        slope, x = slope - slope.mean(-1, keepdim=True), x - x.mean(-1, keepdim=True)
    by_scale = -(scale**3) / x.shape[1] * (slope * x).sum(-1, keepdim=True) * x
    return scale * slope + by_scale, by_scale
