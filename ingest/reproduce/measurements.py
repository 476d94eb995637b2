"""The measurements by name, with a reason for those that are not comparable."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from atlas.core.names import parse_neuron
from ingest.reproduce.atlas_values import Stored
from ingest.reproduce.conventions import data_differs, dataset_differs, readout_differs, texts_missing
from ingest.reproduce.curves import CurvePair, CurvePass
from ingest.reproduce.experiments import Experiments


class NotComparableError(Exception):
    """A figure has no comparable measurement; the text gives the reason. It never leaves this package."""


@dataclass(frozen=True)
class Measured:
    """An atlas, the experiments on its model, and the pass over the data."""

    atlas: Stored
    experiments: Experiments
    curves: CurvePass | str
    """The pass; or the reason why there is none."""
    conventions: Mapping[str, Any]
    """The post's."""

    def weights(self) -> Stored:
        """The atlas, if its congruences are comparable."""
        return self._unless(readout_differs(self.atlas.info, self.conventions))

    def data(self, predicted: bool = False) -> Stored:
        """The atlas, if its counts over the data are comparable; `predicted`: counts of predictions, which depend on
        the readout too."""
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
        """The identity of a curve."""
        return CurvePair(*self.neuron(neuron), self.token(token), width)

    def _unless(self, why: str | None) -> Stored:
        if why is not None:
            raise NotComparableError(why)
        return self.atlas


Measure = Callable[[Measured, Mapping[str, Any]], float | int]


def _neuron_recovery(measured: Measured, data: Mapping[str, Any]) -> float:
    layer, index = measured.neuron(data["neuron"])
    if layer not in measured.experiments.neurons:
        raise NotComparableError(f"Neurons of layer {layer} were not patched.")
    return float(measured.experiments.neurons[layer][index])


def _score(measured: Measured, data: Mapping[str, Any]) -> float:
    for (neuron, _), pair in measured.weights().pairs.items():
        if neuron == data["neuron"]:
            return pair.score
    raise NotComparableError(f"{data['neuron']} is in no mutually exclusive pair.")


def _hub_share(measured: Measured, data: Mapping[str, Any]) -> float:
    atlas = measured.weights()
    return atlas.hubs.get(data["neuron"], 0) / atlas.info.d_vocab


def _prompt(name: str) -> Measure:
    return lambda measured, _: getattr(measured.experiments.result.prompts[0], name)


def _denominator(measured: Measured, _: Mapping[str, Any]) -> float:
    prompt = measured.experiments.result.prompts[0]
    return prompt.clean_logit_diff - prompt.corrupt_logit_diff


MEASURES: dict[str, Measure] = {
    "p_answer_clean": _prompt("p_answer_clean"),
    "clean_logit_diff": _prompt("clean_logit_diff"),
    "corrupt_logit_diff": _prompt("corrupt_logit_diff"),
    "denominator": _denominator,
    "logit_bias": _prompt("logit_bias"),
    "mlp_recovery": lambda measured, data: float(measured.experiments.maps["mlp_out"][data["layer"], -1]),
    "neuron_recovery": _neuron_recovery,
    "n_predicted": lambda measured, data: measured.data(predicted=True).counts(measured.token(data["token"]))[0],
    "n_actual": lambda measured, data: measured.data().counts(measured.token(data["token"]))[1],
    "n_positions": lambda measured, _: measured.data().info.n_positions,
    "score": _score,
    "hub_share": _hub_share,
    "hub_distinct": lambda measured, _: len(measured.weights().hubs),
}
