"""A token of an opened atlas: everything the atlas knows of it, read when it is asked for."""

from __future__ import annotations

from functools import cached_property
from typing import Any

from rich.console import Group, RenderableType

from atlas.client.records import Records
from atlas.client.sources import Source
from atlas.client.table import flat, html_table, rich_table
from atlas.core.call import CALLS
from atlas.core.info import AtlasInfo
from atlas.core.units import Token, field_names
from atlas.topics.curve import Candidate
from atlas.topics.family import FamilyMember, KinToken
from atlas.topics.pair import ExclusivePair
from atlas.topics.pair_metric.ranked import PairMetric
from atlas.topics.reduced import ReducedPair
from atlas.topics.spread import NeuronSpread
from atlas.topics.token import CongruentNeuron, TokenRow


class OpenToken:
    """One token. The columns of its row of the table `token` are attributes too: `token.neuron_gap`."""

    def __init__(self, source: Source, info: AtlasInfo, record: TokenRow) -> None:
        self.record = record
        self._source = source
        self._info = info

    def __repr__(self) -> str:
        return f"<token {self.token_id} {self.shown} of {self._info.slug}>"

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") or name not in field_names(TokenRow):
            raise AttributeError(f"a token has no {name!r}")
        return getattr(self.record, name)

    def __dir__(self) -> list[str]:
        return [*super().__dir__(), *field_names(TokenRow)]

    @property
    def token_id(self) -> int:
        """Its id."""
        return self.record.token.token_id

    @property
    def text(self) -> str | None:
        """The text it adds; None: it is not in the tokenizer."""
        return self.record.token.text

    @property
    def shown(self) -> str:
        """As it is shown on its own."""
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

    def pairs(self) -> Records[ExclusivePair]:
        """The exclusive pairs it is in."""
        return self._list("exclusive pairs", "token_pairs")

    def candidates(self) -> Records[Candidate]:
        """Its pairs whose predictions were counted."""
        return self._list("counted pairs", "token_candidates")

    def pair_metrics(self) -> Records[PairMetric]:
        """How well the neurons counted with it predict it, a row a side of zero."""
        return self._list("how well neurons predict it", "token_pair_metrics")

    def relatives(self) -> Records[Token]:
        """Other tokens with the same letters."""
        return self._list("relatives", "relatives")

    def family(self) -> Records[FamilyMember]:
        """The tokens that differ from it in spelling alone, itself included; empty where there are none."""
        return self._list("family", "token_family")

    def kin(self, limit: int = 20) -> Records[KinToken]:
        """The tokens that share best neurons with it, the most alike first."""
        return self._list("kin", "token_kin", limit=limit)

    def reduced(self, limit: int = 50) -> Records[ReducedPair]:
        """Its stored best neurons by reduced congruence."""
        return self._list("best neurons, hubs discounted", "token_reduced", limit=limit)

    def spread(self, limit: int = 60) -> NeuronSpread:
        """Its congruence with every neuron of the model.

        Raises:
            WeightsError: the atlas holds no weights.
        """
        return self._ask("token_spread", limit=limit)

    def __rich__(self) -> RenderableType:
        lists = (self.best_neurons, self.worst_neurons)
        return Group(rich_table(*self._row(), 0), *(item.__rich__() for item in lists))

    def _repr_html_(self) -> str:
        lists = (self.best_neurons, self.worst_neurons)
        return html_table(*self._row(), 0) + "".join(item._repr_html_() for item in lists)

    def _row(self) -> tuple[str, dict[str, list[Any]]]:
        row = flat(self.record)
        return f"{self.shown} of {self._info.model_name}", {"column": list(row), "value": list(row.values())}

    def _ask(self, name: str, **arguments: Any) -> Any:
        return self._source.ask(CALLS[name], token=self.token_id, **arguments)

    def _list(self, title: str, name: str, **arguments: Any) -> Records:
        return Records(f"{self.shown}: {title}", self._ask(name, **arguments))
