"""Weights as TransformerLens' `enable_compatibility_mode()` leaves them, a layer at a time, from the raw ones.

Folding a norm's gain into the weights that read it, and centring what writes to a LayerNorm, changes no output of the
model; it makes dot products of weights meaningful. Source of the method: TransformerLens' "Further
comments" on folding LayerNorm and centring writing weights. A norm or factor behind the MLP is folded into the output
weights too; compatibility mode leaves it to its hooks.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from ingest.errors import ModelError
from ingest.model.load import LoadedModel

READOUTS = ("unembed", "embed")


@dataclass(frozen=True)
class LayerWeights:
    """One MLP's weights, a row a neuron, float32, [d_mlp, d_model]. `w_gate` is None when the MLP is not gated."""

    w_in: Float[Tensor, "d_mlp d_model"]
    w_out: Float[Tensor, "d_mlp d_model"]
    w_gate: Float[Tensor, "d_mlp d_model"] | None


@dataclass(frozen=True)
class Readout:
    """The readout's columns as rows, [d_vocab, d_model] float32, and their mean over the vocabulary, [d_model].

    For kind 'unembed' the mean has been subtracted; for 'embed' it has not.
    """

    kind: str
    columns: Float[Tensor, "d_vocab d_model"]
    mean: Float[Tensor, " d_model"]


def layer_weights(model: LoadedModel, layer: int) -> LayerWeights:
    """Folded and centred weights of one layer (computed in float64, kept in float32)."""
    raw = model.layers[layer]
    gain = 1.0 if raw.gain is None else raw.gain
    w_in = raw.w_in.to(torch.float64).T * gain
    w_out = raw.w_out.to(torch.float64)
    if raw.behind.centred:
        w_out = w_out - w_out.mean(1, keepdim=True)
    if raw.behind.gain is not None:
        w_out = w_out * raw.behind.gain
    if model.layer_norm:
        w_in = w_in - w_in.mean(1, keepdim=True)
        if not getattr(model.cfg, "final_rms", False):
            w_out = w_out - w_out.mean(1, keepdim=True)
    w_gate = None if raw.w_gate is None else (raw.w_gate.to(torch.float64).T * gain).to(torch.float32).contiguous()
    return LayerWeights(w_in.to(torch.float32).contiguous(), w_out.to(torch.float32).contiguous(), w_gate)


def read_readout(model: LoadedModel, kind: str) -> Readout:
    """The readout, of one of two kinds.

    'unembed': W_U with the final norm's gain folded in, rows centred over d_model for LayerNorm, then centred over the
    vocabulary (unless logits are soft-capped: that would change the model). 'embed': W_E, rows centred over
    d_model for LayerNorm: the convention of the post "We Found An Neuron in GPT-2".

    Raises:
        ModelError: the kind is unknown, or the matrix is not [d_vocab, d_model].
    """
    cfg = model.cfg
    centre_rows = model.layer_norm and not getattr(cfg, "final_rms", False)
    if kind == "embed":
        matrix = model.embedding.to(torch.float64, copy=True)
    elif kind == "unembed":
        matrix = model.unembedding.to(torch.float64, copy=True).mul_(model.final_gain)
    else:
        raise ModelError(f"There is no readout {kind!r}: expected one of {', '.join(READOUTS)}.")
    if matrix.shape[1] != cfg.d_model:
        raise ModelError(
            f"The {kind} matrix of {model.name!r} has width {matrix.shape[1]}, the residual stream {cfg.d_model}: "
            "models that project between the two are not supported."
        )
    if centre_rows:
        matrix -= matrix.mean(1, keepdim=True)
    mean = matrix.mean(0)
    if kind == "unembed" and not soft_capped(cfg):
        matrix -= mean
    return Readout(kind, matrix.to(torch.float32).contiguous(), mean.to(torch.float32))


def soft_capped(cfg: Any) -> bool:
    """Whether the model squashes its logits with tanh, so that adding a constant to all of them matters."""
    cap = getattr(cfg, "output_logits_soft_cap", None)
    return cap is not None and cap > 0
