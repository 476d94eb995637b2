"""The two kinds of things an atlas is about: tokens and neurons."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from atlas.display import show_in_text, show_token


@dataclass(frozen=True)
class Token:
    """A token: its id, the text it adds (None: not in the tokenizer), the exact bytes, whether it is special."""

    token_id: int
    text: str | None
    bytes: bytes | None
    special: bool

    @property
    def shown(self) -> str:
        """As it is shown on its own (see `atlas.display`)."""
        return show_token(self.token_id, self.text, self.bytes)

    @property
    def in_text(self) -> str:
        """As it is shown inside running text."""
        return show_in_text(self.token_id, self.text, self.bytes)

    def as_json(self) -> dict[str, Any]:
        """For JSON: `bytes` in hexadecimal, only where they are not the text's UTF-8."""
        data = {"token_id": self.token_id, "text": self.text, "shown": self.shown, "special": self.special}
        if self.bytes is not None and self.text is not None and self.bytes != self.text.encode():
            data["bytes"] = self.bytes.hex()
        return data


@dataclass(frozen=True)
class NeuronRef:
    """Which neuron: layer and index, both from 0, its name and its id."""

    neuron_id: int
    layer: int
    index: int
    name: str


@dataclass(frozen=True)
class Neuron:
    """A row of the table `neuron`, its two tokens resolved; see the schema for each column's meaning and unit."""

    neuron_id: int
    layer: int
    index: int
    name: str
    w_in_norm: float
    w_gate_norm: float | None
    w_out_norm: float
    in_out_cosine: float | None
    gate_out_cosine: float | None
    best_token: Token
    best_congruence: float
    token_gap: float | None
    worst_token: Token
    worst_congruence: float
    token_gap_bottom: float | None
    hub_count: int
    mean_congruence: float
    congruence_mean: float
    congruence_std: float
    congruence_skewness: float | None
    congruence_kurtosis: float | None
    activation_mean: float
    activation_std: float
    activation_skewness: float | None
    activation_kurtosis: float | None
    activation_min: float
    activation_max: float
    positive_fraction: float
    dead: bool


@dataclass(frozen=True)
class TokenRow:
    """A row of the table `token`, its two neurons resolved; see the schema for each column's meaning and unit."""

    token: Token
    piece: str | None
    in_tokenizer: bool
    n_input: int
    n_actual: int
    n_predicted: int
    best_neuron: NeuronRef
    best_congruence: float
    neuron_gap: float | None
    worst_neuron: NeuronRef
    worst_congruence: float
    neuron_gap_bottom: float | None
    hub_count: int
