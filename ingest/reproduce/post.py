"""The post's own computations: its top prediction, and neurons with negated activation or negated input weights."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from jaxtyping import Float, Float32, Int
from torch import Tensor

from ingest.errors import ModelError
from ingest.model.load import LoadedModel
from ingest.study.study_model import StudyModel, Tokens

_TILE = 512


@torch.inference_mode()
def post_predictions(
    residual: Float[Tensor, "row d_model"], columns: Float32[Tensor, "d_vocab d_model"], eps: float
) -> Int[Tensor, " row"]:
    """Argmax of W_E (centred, see readout 'embed') on the final LayerNorm's output before gain and bias, float32."""
    x = residual.to(torch.float32)
    x = x - x.mean(-1, keepdim=True)
    x = x / (x.pow(2).mean(-1, keepdim=True) + eps).sqrt()
    return torch.cat([(part @ columns.T).argmax(1) for part in x.split(_TILE)])


def check_gpt2(model: LoadedModel) -> None:
    """Refuse a model that is not a GPT-2: the post's figures and its ways of negating a neuron need one.

    Raises:
        ModelError: names the architecture.
    """
    kind = model.bridge.original_model.config.model_type
    if kind != "gpt2":
        raise ModelError(f"{model.name!r} is of the architecture {kind!r}, but the figures are of a GPT-2. Give one.")


@torch.inference_mode()
def negated_activation(
    model: StudyModel, token_ids: Int[Tensor, " pos"], layer: int, index: int
) -> Float[Tensor, " d_vocab"]:
    """Logits at the last position when the neuron's activation is negated at every position, BOS included."""

    def change(activations: Tensor) -> Tensor:
        activations = activations.clone()
        activations[..., index] *= -1
        return activations

    residual = model.record(token_ids).residual[layer][None]
    return model.logits(model.resume(layer, residual, Tokens(token_ids), {(layer, "neuron"): change}))[0]


@torch.inference_mode()
def negated_w_in(
    model: StudyModel, token_ids: Int[Tensor, " pos"], layer: int, index: int
) -> Float[Tensor, " d_vocab"]:
    """Logits at the last position when the neuron's folded W_in column is negated and its folded bias is not."""
    with _turned(model, layer, index):
        return model.record(token_ids).logits


@contextmanager
def _turned(model: StudyModel, layer: int, index: int) -> Iterator[None]:
    """Negate the column in the module itself, for a while.

    The norm's bias b is folded into the neuron's bias, which stays as it is: with y the norm's output the negated
    pre-activation is -(y - b) . w + b . w + bias, so the raw bias becomes bias + 2 b . w.
    """
    block = model.blocks[layer]
    projection, norm = block.block.mlp.c_fc, block.mlp_norm
    column, bias = projection.weight[:, index].clone(), projection.bias[index].clone()
    try:
        projection.weight[:, index] = -column
        projection.bias[index] = bias + 2 * (norm.bias @ column)
        yield
    finally:
        projection.weight[:, index] = column
        projection.bias[index] = bias
