"""The post's "top prediction": not the model's own, which has the final norm's gain and biases besides."""

from __future__ import annotations

import torch
from jaxtyping import Float, Float32, Int
from torch import Tensor

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
