"""The two kinds of things an atlas is about: tokens and neurons."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import NotRequired, TypedDict

from atlas.display import show_in_text, show_token


class TokenJson(TypedDict):
    """A token: its id, the text it adds (null: not in the tokenizer), the text as it is shown on its own, whether it is
    special; `bytes` in hexadecimal, only where they are not the text's UTF-8."""

    token_id: int
    text: str | None
    shown: str
    special: bool
    bytes: NotRequired[str]


@dataclass(frozen=True)
class Token:
    """A token: its id, the text it adds (None: not in the tokenizer), the exact bytes, whether it is special."""

    token_id: int
    text: str | None
    bytes: bytes | None
    special: bool

    @cached_property
    def shown(self) -> str:
        """As it is shown on its own (see `atlas.display`)."""
        return show_token(self.token_id, self.text, self.bytes)

    @cached_property
    def in_text(self) -> str:
        """As it is shown inside running text."""
        return show_in_text(self.token_id, self.text, self.bytes)

    def as_json(self) -> TokenJson:
        """For JSON."""
        data: TokenJson = {"token_id": self.token_id, "text": self.text, "shown": self.shown, "special": self.special}
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


@dataclass(frozen=True)
class Percentile:
    """How many neurons have less of something: fractions, 0 to 1, of the neuron's layer and of the model."""

    layer: float
    model: float


@dataclass(frozen=True)
class Neighbours:
    """Where to go from a neuron. `above` and `below` have the same rank by best congruence in the layer after and
    before; None at either end of the model."""

    previous: NeuronRef | None
    following: NeuronRef | None
    rank: int
    below: NeuronRef | None
    above: NeuronRef | None


@dataclass(frozen=True)
class SimilarNeuron:
    """Another neuron, and the cosine of its weights with this neuron's, -1 to 1."""

    neuron: NeuronRef
    cosine: float
    best_token: Token
    worst_token: Token
