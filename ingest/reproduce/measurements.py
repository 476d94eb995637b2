"""Everything that was measured, asked for by name; what is not comparable says so."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from atlas.core.names import parse_neuron
from ingest.reproduce.conventions import data_differs, dataset_differs, readout_differs, texts_missing
from ingest.reproduce.curves import CurvePair, CurvePass
from ingest.reproduce.experiments import Experiments
from ingest.reproduce.stored import Stored


class NotComparableError(Exception):
    """A figure has nothing to be compared with; the text says why. Never leaves this package."""


@dataclass(frozen=True)
class Measured:
    """An atlas, the experiments on its model, and the pass over the data."""

    atlas: Stored
    experiments: Experiments
    curves: CurvePass | str
    """The pass; or why there was none."""
    conventions: Mapping[str, Any]
    """The post's."""

    def weights(self) -> Stored:
        """The atlas, for congruences."""
        return self._unless(readout_differs(self.atlas.info, self.conventions))

    def data(self, predicted: bool = False) -> Stored:
        """The atlas, for counts over the data; `predicted`: of predictions, which depend on the readout too."""
        if predicted:
            self.weights()
        return self._unless(data_differs(self.atlas.info, self.conventions))

    def curve_pass(self) -> CurvePass:
        """The pass over the data."""
        if isinstance(self.curves, str):
            raise NotComparableError(self.curves)
        why = dataset_differs(self.curves.dataset_name, self.conventions)
        why = why or texts_missing(self.curves.n_texts, self.conventions)
        if why is not None:
            raise NotComparableError(why)
        return self.curves

    def neuron(self, name: str) -> tuple[int, int]:
        """(layer, index) of a neuron's name."""
        return parse_neuron(name, self.atlas.info.n_layers, self.atlas.info.d_mlp)

    def neuron_id(self, name: str) -> int:
        """Its id."""
        layer, index = self.neuron(name)
        return layer * self.atlas.info.d_mlp + index

    def token(self, text: str) -> int:
        """Token of a text."""
        if text not in self.atlas.token_ids:
            raise NotComparableError(f"The vocabulary has no token {text!r}.")
        return self.atlas.token_ids[text]

    def pair(self, neuron: str, token: str, width: float) -> CurvePair:
        """What identifies a curve."""
        return CurvePair(*self.neuron(neuron), self.token(token), width)

    def _unless(self, why: str | None) -> Stored:
        if why is not None:
            raise NotComparableError(why)
        return self.atlas
