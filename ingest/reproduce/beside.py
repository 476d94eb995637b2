"""What the post's conventions make of the model beside what the model itself does: the same word, two numbers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from atlas.core.names import parse_neuron
from ingest.model.load import LoadedModel
from ingest.model.weights import layer_weights, read_readout
from ingest.reproduce.curves import CurvePass
from ingest.reproduce.experiments import Experiments
from ingest.reproduce.figures import Published
from ingest.reproduce.stored import Stored


@dataclass(frozen=True)
class Beside:
    """A quantity in both ways."""

    what: str
    post: float | int | str
    """As the post's plots and notebooks count it."""
    own: float | int | str
    """The model's own."""


def beside(
    published: Published, model: LoadedModel, atlas: Stored, experiments: Experiments, curves: CurvePass | str
) -> list[Beside]:
    """Everything that has both."""
    text = atlas.token_texts
    rows = [
        Beside(f"top prediction after the {side} prompt", repr(text[post]), repr(text[own]))
        for side, (post, own) in experiments.tops.items()
    ]
    own = experiments.result.prompts[0].clean_logit_diff
    rows.append(Beside("logit lens at the end (without biases, with them)", experiments.lens["final_post"], own))
    if not isinstance(curves, str):
        for pair, curve in curves.curves.items():
            what = f"positions whose top prediction is {text[pair.token_id]!r}"
            rows.append(Beside(what, curve.total("n_predicted"), curve.total("n_own")))
    return rows + _congruences(published, model, text)


def _congruences(published: Published, model: LoadedModel, text: Mapping[int, str]) -> list[Beside]:
    """Congruence by W_E, and by the unembedding with the final norm's gain."""
    readouts = [read_readout(model, kind).columns for kind in ("embed", "unembed")]
    rows = []
    for figure in published.of_kind("congruence"):
        name, token = figure.data["neuron"], figure.data["top"][0][0]
        layer, index = parse_neuron(name, len(model.layers), model.d_mlp)
        w_out = layer_weights(model, layer).w_out[index]
        both = [columns.double() @ w_out.double() for columns in readouts]
        rows.append(Beside(f"congruence of {name} with {text[token]!r}", *(float(values[token]) for values in both)))
        best = (repr(text[int(values.argmax())]) for values in both)
        rows.append(Beside(f"token that {name} is most congruent with", *best))
    return rows
