"""Figures of one number each, by the name of what is measured."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ingest.reproduce.measurements import Measured, NotComparableError

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
