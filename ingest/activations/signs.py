"""Gated neurons by the signs of their two factors: frequency, mean and extreme of each of the four cases.

A gated neuron's activation is act(gate) * in: it is positive where both are positive and, weakly, where both are
negative. Source of the four cases: "Understanding Gated Neurons in Transformers from Their Input-Output
Functionality" (Gerstner and Schütze, 2025) and its site GLUScope.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from atlas.topics.sign_case import OPTION
from ingest.activations.statistic import Plan, Rows, Span, Statistic
from ingest.activations.text_store import TextStore

CASES = ((False, False), (False, True), (True, False), (True, True))
"""(gate > 0, in > 0), in the order of the table; a pre-activation of zero is not positive."""

_POSITIONS = 1 << 24  # A key is text * _POSITIONS + position.
_NO_KEY = torch.iinfo(torch.int64).max


class SignCases(Statistic):
    """Accumulates layer by layer, over the counted positions of one batch; `first_neuron` is the first neuron's id."""

    name = "signs"
    tables: ClassVar = {"sign_case": ("neuron_id", "gate_positive", "in_positive")}
    laws: ClassVar = {
        "sign cases that do not sum to n_positions, or whose text is missing": """
            SELECT (SELECT count(*) FROM (SELECT sum(n) AS n FROM sign_case GROUP BY neuron_id)
                    WHERE n <> (SELECT n_positions FROM atlas))
                 + (SELECT count(*) FROM sign_case ANTI JOIN "text" USING (text_id))""",
    }
    option = OPTION.flag
    state = ("n", "total", "greatest", "key")
    reads_sides = True

    def __init__(self, n_layers: int, d_mlp: int, device: torch.device | str = "cpu", first_neuron: int = 0) -> None:
        shape = (n_layers, len(CASES), d_mlp)
        self.n: Int[Tensor, "layer case d_mlp"] = torch.zeros(shape, dtype=torch.int64, device=device)
        self.total: Float[Tensor, "layer case d_mlp"] = torch.zeros(shape, dtype=torch.float64, device=device)
        self.greatest: Float[Tensor, "layer case d_mlp"] = torch.full(shape, -1.0, device=device)
        self.key: Int[Tensor, "layer case d_mlp"] = torch.full(shape, _NO_KEY, dtype=torch.int64, device=device)

        self._first = first_neuron

    @classmethod
    def make(cls, plan: Plan) -> SignCases:
        return cls(plan.n_layers, plan.d_mlp, plan.device)

    def update_sides(
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
        """Keep the greater; of equals, the one that comes first in the texts."""
        old, place = self.greatest[layer, case], self.key[layer, case]
        better = (greatest > old) | ((greatest == old) & (key < place))
        self.greatest[layer, case] = torch.where(better, greatest, old)
        self.key[layer, case] = torch.where(better, key, place)

    def cited(self) -> Int[np.ndarray, " item"]:
        """Ids of the texts with the extreme of a case."""
        return torch.unique(self.key[self.n > 0] // _POSITIONS).cpu().numpy()

    def merge(self, other: SignCases) -> None:
        self.n += other.n
        self.total += other.total
        self._take(slice(None), slice(None), other.greatest, other.key)

    def rows(self, texts: TextStore) -> Rows:
        """Table `sign_case`: cases that occur."""
        n, total, greatest, key = (
            getattr(self, name).transpose(1, 2).reshape(-1, len(CASES)).cpu().numpy() for name in self.state
        )
        neuron, case = np.nonzero(n)
        gate, read = np.array(CASES)[case].T
        n, total, greatest, key = (values[neuron, case] for values in (n, total, greatest, key))
        yield (
            "sign_case",
            {
                "neuron_id": (neuron + self._first).astype(np.int32),
                "gate_positive": gate,
                "in_positive": read,
                "n": n,
                "activation_mean": total / n,
                "activation_extreme": np.where(gate == read, greatest, -greatest) + np.float32(0),  # -0.0 is 0.0.
                "text_id": key // _POSITIONS,
                "position": (key % _POSITIONS).astype(np.int32),
            },
        )

    @classmethod
    def from_rows(cls, span: Span) -> SignCases:
        cases = cls(1, span.high - span.low, first_neuron=span.low)
        neuron, gate, read, n, mean, extreme, text, position = span.arrays(
            "sign_case",
            "neuron_id",
            "gate_positive",
            "in_positive",
            "n",
            "activation_mean",
            "activation_extreme",
            "text_id",
            "position",
        )
        at = 0, gate * 2 + read.long(), (neuron - span.low).long()
        cases.n[at], cases.total[at] = n, mean * n
        cases.greatest[at], cases.key[at] = extreme.abs(), text * _POSITIONS + position
        return cases
