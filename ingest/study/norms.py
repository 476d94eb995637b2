"""A norm with its scale held at its value for one vector: a linear map, so parts of the vector add up."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ingest.errors import ModelError


@dataclass(frozen=True)
class HeldNorm:
    """`x -> weight * (x - mean of x, for LayerNorm) + bias`, float64."""

    weight: Float[Tensor, " d_model"]
    """The norm's gain over the scale that the vector had."""
    centred: bool
    """Whether the mean is subtracted first (LayerNorm)."""
    bias: Float[Tensor, " d_model"]
    scale: float
    """The norm's factor besides its gain, at that vector."""

    def apply(self, x: Float[Tensor, "*row d_model"]) -> Float[Tensor, "*row d_model"]:
        """The map."""
        x = x.double()
        return (x - x.mean(-1, keepdim=True) if self.centred else x) * self.weight + self.bias

    def back(self, direction: Float[Tensor, " d_model"]) -> Float[Tensor, " d_model"]:
        """The transpose: the direction before the norm whose dot product with x is that of `direction` with the map of
        x, without the bias."""
        direction = direction * self.weight
        return direction - direction.mean() if self.centred else direction


@torch.inference_mode()
def hold(norm: nn.Module, gain: Float[Tensor, " d_model"], x: Float[Tensor, " d_model"], layer_norm: bool) -> HeldNorm:
    """Hold a norm at its scale for `x`, which is read from its output so that the epsilon is included.

    Args:
        layer_norm: the expected kind; the other kind is tried next.

    Raises:
        ModelError: it is neither LayerNorm nor RMSNorm.
    """
    gain, bias = gain.to(x.device), getattr(norm, "bias", None)
    bias = torch.zeros_like(gain) if bias is None else bias.detach().double()
    y, x = norm(x[None])[0].double() - bias, x.double()
    for centred in (layer_norm, not layer_norm):
        plain = gain * (x - x.mean()) if centred else gain * x
        scale = (plain @ y) / (plain @ plain)
        if (scale * plain - y).norm() <= 1e-4 * y.norm():
            return HeldNorm(scale * gain, centred, bias, float(scale))
    raise ModelError(f"The norm {type(norm).__name__} is neither LayerNorm nor RMSNorm: studies need one of them.")
