"""A neuron of an opened atlas: everything the atlas knows of it, read when it is asked for."""

from __future__ import annotations

from functools import cached_property
from typing import Any

from rich.console import RenderableType

from atlas.cli.terminal import NeuronView, curves_shown
from atlas.client.records import CurveRecords, Records
from atlas.client.sources import Source
from atlas.client.table import flat, html_table
from atlas.core.call import CALLS
from atlas.core.errors import PairError
from atlas.core.info import AtlasInfo
from atlas.core.units import field_names
from atlas.topics.curve import Candidate, HistogramBar, Threshold
from atlas.topics.example import Example
from atlas.topics.family import FamilyCurve
from atlas.topics.kind import NeuronKind
from atlas.topics.neuron import CongruentToken, InputToken, Neuron
from atlas.topics.pair import ExclusivePair
from atlas.topics.pair_metric.ranked import PairMetric
from atlas.topics.percentile import Neighbours, Percentile
from atlas.topics.reduced import ReducedPair
from atlas.topics.sign_case import SignCase
from atlas.topics.spread import SimilarNeuron, TokenSpread


class OpenNeuron:
    """One neuron. The columns of its row of the table `neuron` are attributes too: `neuron.token_gap`."""

    def __init__(self, source: Source, info: AtlasInfo, name: str) -> None:
        self.name = name
        self._source = source
        self._info = info

    def __repr__(self) -> str:
        return f"<neuron {self.name} of {self._info.slug}>"

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") or name not in field_names(Neuron):
            raise AttributeError(f"{self!r} has no {name!r}")
        return getattr(self.record, name)

    def __dir__(self) -> list[str]:
        return [*super().__dir__(), *field_names(Neuron)]

    @cached_property
    def record(self) -> Neuron:
        """Its row."""
        return self._ask("neuron")

    @cached_property
    def tokens(self) -> Records[CongruentToken]:
        """The tokens most and least congruent with it."""
        return self._list("tokens", "neuron_tokens")

    @property
    def best_tokens(self) -> Records[CongruentToken]:
        """The tokens most congruent with it, best first."""
        return Records(f"{self.name}: best tokens", [item for item in self.tokens if item.direction == "top"])

    @property
    def worst_tokens(self) -> Records[CongruentToken]:
        """The tokens least congruent with it, worst first."""
        return Records(f"{self.name}: worst tokens", [item for item in self.tokens if item.direction == "bottom"])

    @cached_property
    def percentiles(self) -> dict[str, Percentile]:
        """By column: the fractions of the layer's and of the model's neurons that have less."""
        return self._ask("percentiles")

    def input_tokens(self) -> Records[InputToken]:
        """The tokens whose embedding its input weights and its gate read most and least."""
        return self._list("input tokens", "input_tokens")

    def pairs(self) -> Records[ExclusivePair]:
        """The exclusive pairs it is in."""
        return self._list("exclusive pairs", "neuron_pairs")

    def neighbours(self) -> Neighbours:
        """The neurons before and after it, and those of its rank in the layers below and above."""
        return self._ask("neighbours")

    def histogram(self) -> Records[HistogramBar]:
        """How its activation is distributed."""
        return self._list("activation", "histogram")

    def examples(self, kind: str | None = None) -> Records[Example]:
        """Its texts; `kind` is 'max', 'min' or 'interval'."""
        return self._list("texts", "examples", kind=kind)

    @cached_property
    def _candidates(self) -> Records[Candidate]:
        return self._list("counted pairs", "neuron_candidates")

    def candidates(self) -> Records[Candidate]:
        """Its pairs whose predictions were counted: those that have a curve."""
        return self._candidates

    def curve(self, token: str | int) -> CurveRecords:
        """How often a token, by its text or id, is predicted and comes, by its activation.

        Raises:
            PairError: the pair was not counted.
        """
        return CurveRecords(self._ask("curve", token=self._token_id(token)))

    def thresholds(self, token: str | int, side: str | None = None) -> Records[Threshold]:
        """How often a token is predicted beyond each activation; `side` of zero is 'above' or 'below'.

        Raises:
            PairError: the pair was not counted.
        """
        return self._list("thresholds", "curve_thresholds", token=self._token_id(token), side=side)

    def pair_metrics(self) -> Records[PairMetric]:
        """How well its activation predicts each of its counted tokens, a row a side of zero."""
        return self._list("how well it predicts", "neuron_pair_metrics")

    def kind(self) -> NeuronKind:
        """What kind it is, by the moments of its congruence, and the token that it detects."""
        return self._ask("neuron_kind")

    def families(self) -> Records[FamilyCurve]:
        """Predictions of its best token (gated models: and its worst) alone and with its family."""
        return self._list("families", "neuron_families")

    def reduced(self, limit: int = 50) -> Records[ReducedPair]:
        """Its stored best tokens by reduced congruence."""
        return self._list("best tokens, hubs discounted", "neuron_reduced", limit=limit)

    def sign_cases(self) -> Records[SignCase]:
        """The sign cases of its gate and input; empty where the atlas was ingested without --sign-cases."""
        return self._list("sign cases", "sign_cases")

    def similar(self, side: str = "out", limit: int = 10) -> Records[SimilarNeuron]:
        """Neurons whose weights ('out', 'in' or 'gate') point most the same way, then least.

        Raises:
            WeightsError: the atlas holds no such weights.
        """
        return self._list("similar neurons", "similar", side=side, limit=limit)

    def spread(self, limit: int = 20) -> TokenSpread:
        """Its congruence with every token of the vocabulary.

        Raises:
            WeightsError: the atlas holds no weights.
        """
        return self._ask("neuron_spread", limit=limit)

    def __rich__(self) -> RenderableType:
        candidates = curves_shown(self._candidates)
        return NeuronView(
            self.record,
            self._info.model_name,
            list(self.tokens),
            list(self.histogram()),
            list(self.pairs()),
            [self.curve(candidate.token.token_id).record for candidate in candidates],
            list(self.examples()),
        )

    def _repr_html_(self) -> str:
        columns = {name: [value] for name, value in flat(self.record).items()}
        title = f"{self.name} of {self._info.model_name}"
        numbers = html_table(title, {"column": list(columns), "value": [v[0] for v in columns.values()]}, 0)
        return numbers + self.best_tokens._repr_html_() + self.worst_tokens._repr_html_()

    def _token_id(self, token: str | int) -> int:
        if isinstance(token, int):
            return token
        found = [item.token.token_id for item in self._candidates if item.token.text == token]
        if not found:
            counted = ", ".join(repr(item.token.text) for item in self._candidates[:6])
            raise PairError(
                f"{self.name} and {token!r} were not counted together, so they have no curve; expected a token of "
                f"its candidates: {counted}, …"
            )
        return found[0]

    def _ask(self, name: str, **arguments: Any) -> Any:
        return self._source.ask(CALLS[name], neuron=self.name, **arguments)

    def _list(self, title: str, name: str, **arguments: Any) -> Records:
        return Records(f"{self.name}: {title}", self._ask(name, **arguments))
