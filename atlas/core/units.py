"""Neurons and tokens, as all records name them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from typing import TYPE_CHECKING, Generic, NotRequired, TypedDict, TypeVar

from atlas.core.display import show_in_text, show_token
from atlas.core.errors import NeuronNameError
from atlas.core.names import nearest_neuron, neuron_name, parse_neuron

if TYPE_CHECKING:
    from atlas.core.db import Atlas


Row = TypeVar("Row")


def field_names(record: type) -> list[str]:
    """Names of a record's fields, in order."""
    return [field.name for field in fields(record)]


class TokenJson(TypedDict):
    """A token: its id, the text it adds (null: not in the tokenizer), the text as it is shown on its own, whether it is
    special; `bytes` in hexadecimal only where they are not the text's UTF-8."""

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
        """As it is shown on its own (see `atlas.core.display`)."""
        return show_token(self.token_id, self.text, self.bytes)

    @cached_property
    def in_text(self) -> str:
        """As it is shown inside running text."""
        return show_in_text(self.token_id, self.text, self.bytes)

    def as_json(self) -> TokenJson:
        """The token as JSON."""
        data: TokenJson = {"token_id": self.token_id, "text": self.text, "shown": self.shown, "special": self.special}
        if self.bytes is not None and self.text is not None and self.bytes != self.text.encode():
            data["bytes"] = self.bytes.hex()
        return data


@dataclass(frozen=True)
class NeuronRef:
    """A neuron's layer and index, both from 0, its name and its id."""

    neuron_id: int
    layer: int
    index: int
    name: str


@dataclass(frozen=True)
class Listing(Generic[Row]):
    """One page of a longer list: `rows` from `offset`, `total` in all, `limit` a page."""

    rows: tuple[Row, ...]
    total: int
    offset: int
    limit: int


@dataclass(frozen=True)
class Bound:
    """A bound of a column: at least (`op` 'gte') or at most ('lte') a value. NULL satisfies neither."""

    column: str
    op: str
    value: float | int


def neuron_ref(atlas: Atlas, neuron_id: int) -> NeuronRef:
    """The neuron of an id, by arithmetic: neuron_id = layer * d_mlp + index."""
    layer, index = divmod(neuron_id, atlas.info.d_mlp)
    return NeuronRef(neuron_id, layer, index, neuron_name(layer, index))


def named_ref(atlas: Atlas, name: str) -> NeuronRef:
    """The neuron of a name, in any spelling.

    Raises:
        NeuronNameError: the text is no neuron name, or this model has no such neuron.
    """
    layer, index = parse_neuron(name, atlas.info.n_layers, atlas.info.d_mlp)
    return neuron_ref(atlas, layer * atlas.info.d_mlp + index)


@dataclass(frozen=True)
class Misnamed:
    """A name that no neuron of the model has: the text, the reason, and the nearest neuron's name (None: there is no
    such)."""

    text: str
    reason: str
    nearest: str | None


def read_names(atlas: Atlas, names: Iterable[str]) -> tuple[list[NeuronRef], list[Misnamed]]:
    """The neurons of some names, each once and in their order, and the names that no neuron has."""
    refs: dict[int, NeuronRef] = {}
    misnamed: dict[str, Misnamed] = {}
    for name in names:
        try:
            ref = named_ref(atlas, name)
            refs.setdefault(ref.neuron_id, ref)
        except NeuronNameError as error:
            nearest = nearest_neuron(name, atlas.info.n_layers, atlas.info.d_mlp)
            misnamed.setdefault(name, Misnamed(name, str(error), nearest))
    return list(refs.values()), list(misnamed.values())


def names_refused(misnamed: Sequence[Misnamed]) -> str:
    """One sentence on the names that no neuron has, each with the nearest neuron's where there is one."""
    texts = [f"{item.text!r}" + (f" (nearest: {item.nearest})" if item.nearest else "") for item in misnamed]
    more = f" and {len(texts) - 8} more" if len(texts) > 8 else ""
    return (
        f"No neuron of this model is named {', '.join(texts[:8])}{more}: {misnamed[0].reason} Correct these names or "
        "leave them out."
    )
