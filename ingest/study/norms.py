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
    gain, bias = gain.to(x.device), norm_bias(norm, gain)
    scales, centred = norm_scales(norm, gain, x[None], layer_norm)
    return HeldNorm(scales[0] * gain, centred, bias.to(x.device), float(scales[0]))


@torch.inference_mode()
def norm_scales(
    norm: nn.Module, gain: Float[Tensor, " d_model"], x: Float[Tensor, "row d_model"], layer_norm: bool
) -> tuple[Float[Tensor, " row"], bool]:
    """A norm's factor besides its gain at each row, float64, and whether the norm subtracts the mean first.

    Raises:
        ModelError: it is neither LayerNorm nor RMSNorm.
    """
    gain = gain.to(x.device)
    y, x = norm(x).double() - norm_bias(norm, gain).to(x.device), x.double()
    for centred in (layer_norm, not layer_norm):
        plain = gain * (x - x.mean(-1, keepdim=True)) if centred else gain * x
        scales = (plain * y).sum(-1) / (plain * plain).sum(-1)
        if ((scales[:, None] * plain - y).norm(dim=-1) <= 1e-4 * y.norm(dim=-1)).all():
            return scales, centred
    raise ModelError(f"The norm {type(norm).__name__} is neither LayerNorm nor RMSNorm: studies need one of them.")


def norm_bias(norm: nn.Module, gain: Float[Tensor, " d_model"]) -> Float[Tensor, " d_model"]:
    """A norm's bias, float64; zeros where it has none."""
    bias = getattr(norm, "bias", None)
    return torch.zeros_like(gain) if bias is None else bias.detach().double()
