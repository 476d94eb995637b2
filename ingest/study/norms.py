"""A norm with its scale held at what one vector gave it: a linear map, so that parts of the vector have shares."""

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
    """Whether the mean is taken off first (LayerNorm)."""
    bias: Float[Tensor, " d_model"]
    scale: float
    """What the norm multiplies by besides its gain, at that vector."""

    def apply(self, x: Float[Tensor, "*row d_model"]) -> Float[Tensor, "*row d_model"]:
        """The map."""
        x = x.double()
        return (x - x.mean(-1, keepdim=True) if self.centred else x) * self.weight + self.bias

    def back(self, direction: Float[Tensor, " d_model"]) -> Float[Tensor, " d_model"]:
        """The direction before the norm whose dot product with x is that of `direction` with the map of x, less what
        the bias gives (the transpose)."""
        direction = direction * self.weight
        return direction - direction.mean() if self.centred else direction


@torch.inference_mode()
def hold(norm: nn.Module, gain: Float[Tensor, " d_model"], x: Float[Tensor, " d_model"], layer_norm: bool) -> HeldNorm:
    """Hold a norm at what it does to `x`: its scale is read from its output, so that no epsilon is left out.

    Args:
        layer_norm: what it is expected to be; the other kind is tried if it is not.

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
