"""The post's experiments on its two prompts, with the conventions of its plots and notebooks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Float64

from atlas.core.names import parse_neuron
from ingest.model.weights import read_readout
from ingest.reproduce.figures import Published
from ingest.reproduce.post import negated_activation, negated_w_in, post_predictions
from ingest.study.engine import run_study
from ingest.study.options import StudyOptions
from ingest.study.prompts import PromptPair
from ingest.study.result import StudyResult
from ingest.study.runs import Progress
from ingest.study.study_model import StudyModel

_TURNED = {"negated_activation": negated_activation, "negated_w_in": negated_w_in}


@dataclass(frozen=True)
class Experiments:
    """The results of the experiments. Sides are 'clean' and 'corrupt'."""

    result: StudyResult
    """The study, as recorded."""
    lens: Mapping[str, float]
    """Logit lens with the final norm's scale and without biases, by label: '31_pre', '31_mid', 'final_post'."""
    maps: Mapping[str, Float64[np.ndarray, "layer pos"]]
    """Recovery by site."""
    neurons: Mapping[int, Float64[np.ndarray, " d_mlp"]]
    """Recovery of each neuron, by layer patched."""
    logits: Mapping[tuple[str, str, str], Float64[np.ndarray, " d_vocab"]]
    """Logits after a prompt less their mean over the vocabulary, by (variant, neuron, side); of variant 'plain' the
    neuron is ''."""
    tops: Mapping[str, tuple[int, int]]
    """Top prediction by side: the post's, the model's own."""


def run_experiments(
    model: StudyModel, published: Published, activation_mean: Float[np.ndarray, " neuron"], progress: Progress | None
) -> Experiments:
    """Run the study, and the notebook's two ways of negating a neuron.

    Raises:
        StudyError: the prompts cannot be compared on this model.
    """
    study = published.study
    pair = PromptPair(study["clean"], study["corrupt"], study["answer"], study["other"])
    options = StudyOptions(layers=tuple(study["layers"]))
    result = run_study(model, [pair], options, activation_mean=activation_mean, progress=progress)
    prompt, steps = result.prompts[0], _Steps(result)
    ids = {
        side: torch.tensor(tokens, device=model.device)
        for side, tokens in (("clean", prompt.clean_token_ids), ("corrupt", prompt.corrupt_token_ids))
    }
    logits, tops = {}, {}
    columns = read_readout(model.model, "embed").columns.to(model.device)
    for side, tokens in ids.items():
        run = model.record(tokens)
        logits["plain", "", side] = _centred(run.logits)
        post = post_predictions(run.residual[-1][-1:], columns, model.model.cfg.eps)
        tops[side] = (int(post), int(run.logits.argmax()))
    for variant, neuron in _turned_neurons(published):
        layer, index = parse_neuron(neuron, model.n_layers, model.model.d_mlp)
        for side, tokens in ids.items():
            logits[variant, neuron, side] = _centred(_TURNED[variant](model, tokens, layer, index))
    return Experiments(
        result=result,
        lens=steps.lens(prompt.logit_bias),
        logits=logits,
        tops=tops,
        maps={site: steps.heat_map(site) for site in ("resid_pre", "attn_out", "mlp_out")},
        neurons={layer: steps.neurons(layer) for layer in result.patched_layers},
    )


def _turned_neurons(published: Published) -> list[tuple[str, str]]:
    figures = published.of_kind("predictions")
    return sorted({(f.data["variant"], f.data["neuron"]) for f in figures if f.data["variant"] != "plain"})


def _centred(logits: torch.Tensor) -> Float64[np.ndarray, " d_vocab"]:
    logits = logits.double()
    return (logits - logits.mean()).cpu().numpy()


@dataclass(frozen=True)
class _Steps:
    """Reads a study's rows."""

    result: StudyResult

    def rows(self, kind: str, **where: object) -> dict[str, np.ndarray]:
        """Rows of a kind, in order of layer, position, neuron."""
        steps = self.result.steps
        here = steps["kind"] == kind
        for column, value in where.items():
            here &= np.asarray(steps[column] == value)
        return {column: values[here] for column, values in steps.items()}

    def heat_map(self, site: str) -> Float64[np.ndarray, "layer pos"]:
        """Recovery of a site."""
        rows = self.rows(f"patch_{site}")
        return np.asarray(rows["value"], np.float64).reshape(int(rows["layer"].max()) + 1, -1)

    def neurons(self, layer: int) -> Float64[np.ndarray, " d_mlp"]:
        """Recovery of a layer's neurons."""
        return np.asarray(self.rows("patch_neuron", layer=layer)["value"], np.float64)

    def lens(self, bias: float) -> dict[str, float]:
        """The logit lens without the biases."""
        rows = self.rows("logit_lens", variant="final_norm")
        labels = [
            "final_post" if site == "post" else f"{layer}_{site}"
            for site, layer in zip(rows["site"], rows["layer"], strict=True)
        ]
        return {label: float(value) - bias for label, value in zip(labels, rows["value"], strict=True)}
