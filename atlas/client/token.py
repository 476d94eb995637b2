"""A token of an opened atlas: all its data, read on first use."""

from __future__ import annotations

from functools import cached_property

from rich.console import Group, RenderableType

from atlas.client.methods import OpenedRow
from atlas.client.records import Records
from atlas.client.sources import Source
from atlas.client.table import rich_table, rows_of
from atlas.core.info import AtlasInfo
from atlas.topics.token import CongruentNeuron, TokenRow


class OpenToken(OpenedRow, spelt="demo.token({token})"):
    """One token. The columns of its row of the table `token` are attributes too: `token.neuron_gap`."""

    _record, _noun = TokenRow, "token"

    def __init__(self, source: Source, info: AtlasInfo, record: TokenRow) -> None:
        token = record.token
        super().__init__(source, token.token_id, token.shown, f"{token.shown} of {info.model_name}")
        self.record = record
        self._info = info

    def __repr__(self) -> str:
        return f"<token {self.token_id} {self.shown} of {self._info.slug}>"

    @property
    def token_id(self) -> int:
        """Its id."""
        return self.record.token.token_id

    @property
    def text(self) -> str | None:
        """The text that the token adds; None: it is not in the tokenizer."""
        return self.record.token.text

    @property
    def shown(self) -> str:
        """The token as shown on its own."""
        return self.record.token.shown

    @cached_property
    def neurons(self) -> Records[CongruentNeuron]:
        """The neurons most and least congruent with it."""
        return self._list("neurons", "token_neurons")

    @property
    def best_neurons(self) -> Records[CongruentNeuron]:
        """The neurons most congruent with it, best first."""
        return Records(f"{self.shown}: best neurons", [item for item in self.neurons if item.direction == "top"])

    @property
    def worst_neurons(self) -> Records[CongruentNeuron]:
        """The neurons least congruent with it, worst first."""
        return Records(f"{self.shown}: worst neurons", [item for item in self.neurons if item.direction == "bottom"])

    def __rich__(self) -> RenderableType:
        lists = (self.best_neurons, self.worst_neurons)
        return Group(rich_table(self._caption, rows_of(self.record), 0), *(item.__rich__() for item in lists))

    def _repr_html_(self) -> str:
        lists = (self.best_neurons, self.worst_neurons)
        return super()._repr_html_() + "".join(item._repr_html_() for item in lists)
