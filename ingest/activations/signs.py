"""Gated neurons by the signs of their two factors: how often each of the four cases is, how large, and where most.

A gated neuron's activation is act(gate) * in: it is positive where both are positive and, weakly, where both are
negative. Source of the four cases: "Understanding Gated Neurons in Transformers from Their Input-Output
Functionality" (Gerstner and Schütze, 2025) and its site GLUScope.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

CASES = ((False, False), (False, True), (True, False), (True, True))
"""(gate > 0, in > 0), in the order of the table; a pre-activation of zero is not positive."""

_STATE = ("n", "total", "greatest", "key")
_POSITIONS = 1 << 24  # A key is text * _POSITIONS + position.
_NO_KEY = torch.iinfo(torch.int64).max


@dataclass(frozen=True)
class SignResult:
    """Per neuron and case, on the CPU. Where `n` is 0 the others mean nothing; `extreme` is the activation of the
    greatest magnitude, `text_id` and `position` where it is."""

    n: Int[Tensor, "neuron case"]
    mean: Float[Tensor, "neuron case"]
    extreme: Float[Tensor, "neuron case"]
    text_id: Int[Tensor, "neuron case"]
    position: Int[Tensor, "neuron case"]


class SignCases:
    """Accumulates layer by layer, over the counted positions of one batch."""

    def __init__(self, n_layers: int, d_mlp: int, device: torch.device | str = "cpu") -> None:
        shape = (n_layers, len(CASES), d_mlp)
        self.n: Int[Tensor, "layer case d_mlp"] = torch.zeros(shape, dtype=torch.int64, device=device)
        self.total: Float[Tensor, "layer case d_mlp"] = torch.zeros(shape, dtype=torch.float64, device=device)
        self.greatest: Float[Tensor, "layer case d_mlp"] = torch.full(shape, -1.0, device=device)
        self.key: Int[Tensor, "layer case d_mlp"] = torch.full(shape, _NO_KEY, dtype=torch.int64, device=device)

    def update(
        self,
        layer: int,
        activations: Float[Tensor, "pos d_mlp"],
        gate: Float[Tensor, "pos d_mlp"],
        read: Float[Tensor, "pos d_mlp"],
        text_id: Int[Tensor, " pos"],
        position: Int[Tensor, " pos"],
    ) -> None:
        """Add one batch's counted positions of a layer; `gate` and `read` are the pre-activations of both sides."""
        open_gate, positive = gate > 0, read > 0
        magnitude = activations.to(torch.float32).abs()
        key = (text_id * _POSITIONS + position)[:, None]
        for case, signs in enumerate(CASES):
            here = (open_gate == signs[0]) & (positive == signs[1])
            self.n[layer, case] += here.sum(0)
            self.total[layer, case] += torch.where(here, activations, 0).sum(0, dtype=torch.float64)
            size = torch.where(here, magnitude, -1.0)
            greatest = size.max(0).values
            first = torch.where(size == greatest, key, _NO_KEY).min(0).values
            self._take(layer, case, greatest, first)

    def _take(self, layer: int | slice, case: int | slice, greatest: Tensor, key: Tensor) -> None:
        """Keep the greater; of equals, what comes first in the texts."""
        old, place = self.greatest[layer, case], self.key[layer, case]
        better = (greatest > old) | ((greatest == old) & (key < place))
        self.greatest[layer, case] = torch.where(better, greatest, old)
        self.key[layer, case] = torch.where(better, key, place)

    def cited(self) -> Int[Tensor, " text"]:
        """Texts that hold some case's extreme, on the device."""
        return torch.unique(self.key[self.n > 0] // _POSITIONS)

    def merge(self, other: SignCases) -> None:
        """Add another accumulator over other positions."""
        self.n += other.n
        self.total += other.total
        self._take(slice(None), slice(None), other.greatest, other.key)

    def state_dict(self) -> dict[str, Tensor]:
        """Everything needed to go on, as tensors."""
        return {name: getattr(self, name) for name in _STATE}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Restore what `state_dict` gave."""
        for name in _STATE:
            getattr(self, name).copy_(state[name])

    def result(self) -> SignResult:
        """Counts so far, a row a neuron."""
        n, total, greatest, key = (getattr(self, name).transpose(1, 2).reshape(-1, len(CASES)).cpu() for name in _STATE)
        sign = torch.tensor([1.0 if gate == read else -1.0 for gate, read in CASES])
        extreme = greatest * sign + 0.0  # -0.0 is 0.0.
        return SignResult(n, total / n.clamp(min=1), extreme, key // _POSITIONS, (key % _POSITIONS).to(torch.int32))
