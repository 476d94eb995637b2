"""A neuron of an opened atlas: all its data, read on first use."""

from __future__ import annotations

from functools import cached_property
from html import escape

from rich.console import RenderableType

from atlas.cli.terminal import NeuronView, curves_shown
from atlas.client.methods import OpenedRow
from atlas.client.records import CurveRecords, Records
from atlas.client.sources import Source
from atlas.core.errors import PairError
from atlas.core.info import AtlasInfo
from atlas.topics.curve import Candidate
from atlas.topics.neuron import CongruentToken, Neuron
from atlas.topics.threshold import Threshold


class OpenNeuron(OpenedRow, spelt='demo.neuron("{neuron}")'):
    """One neuron. The columns of its row of the table `neuron` are attributes too: `neuron.token_gap`."""

    _record, _noun = Neuron, "neuron"

    def __init__(self, source: Source, info: AtlasInfo, name: str) -> None:
        super().__init__(source, name, name, f"{name} of {info.model_name}")
        self.name = name
        self._info = info

    def __repr__(self) -> str:
        return f"<neuron {self.name} of {self._info.slug}>"

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
    def _candidates(self) -> Records[Candidate]:
        return self._list("counted pairs", "neuron_candidates")

    def candidates(self) -> Records[Candidate]:
        """Its pairs whose predictions were counted: those that have a curve."""
        return self._candidates

    def curve(self, token: str | int) -> CurveRecords:
        """How often a token (text or id) is predicted and comes next, by the neuron's activation.

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
        verdict = f"<p>{escape(self.record.verdict.text)}</p>"
        return verdict + super()._repr_html_() + self.best_tokens._repr_html_() + self.worst_tokens._repr_html_()

    def _token_id(self, token: str | int) -> int:
        if isinstance(token, int):
            return token
        ids = [item.token.token_id for item in self._candidates if item.token.text == token]
        if not ids:
            counted = ", ".join(repr(item.token.text) for item in self._candidates[:6])
            raise PairError(
                f"{self.name} and {token!r} were not counted together, so they have no curve; expected a token of "
                f"its candidates: {counted}, …"
            )
        return ids[0]
