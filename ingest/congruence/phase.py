"""The weight phase: congruence both ways, input tokens, norms and moments, from the weights alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from atlas.core.names import neuron_name
from ingest.congruence.connections import connect
from ingest.congruence.moments import Moments
from ingest.congruence.result import Congruence, RankedList
from ingest.congruence.search import SharedSearch, search
from ingest.errors import ModelError
from ingest.model.load import LoadedModel
from ingest.model.weights import LayerWeights, Readout, layer_weights
from ingest.process.session import Session

INPUT_TOKENS = 20
"""Input tokens kept per neuron, side and direction."""


@dataclass(frozen=True)
class WeightResult:
    """The results of the weight phase. `columns` are those of table `neuron`; NaN stands for NULL."""

    readout: Readout
    congruence: Congruence
    input_tokens: dict[str, dict[str, RankedList]]
    columns: dict[str, np.ndarray]
    layers: Callable[[int], LayerWeights]
    connections: dict[str, Congruence]
    """By side, in `neuron_token` what each neuron reads, in `token_neuron` what reads it; empty unless asked for."""


def run_weight_phase(
    model: LoadedModel,
    readout: Readout,
    session: Session,
    *,
    device: torch.device,
    k_tokens: int,
    k_neurons: int,
    progress: Callable[[int], None],
    connections: bool = False,
) -> WeightResult:
    """Run the weight phase; `progress` gets the number of rows of weights that have been searched.

    Args:
        connections: search the connections between neurons too.

    Raises:
        OutOfMemoryError: the output weights of all neurons, which connections need at once, do not fit.
        ModelError: finite weights become infinite or NaN when the norms' gains are folded in.
    """
    if not torch.isfinite(readout.columns).all():
        raise ModelError(f"The readout of {model.name!r} is not finite once the final norm's gain is folded in.")
    d_mlp, n_layers = model.d_mlp, len(model.layers)
    columns: dict[str, list[np.ndarray]] = {}
    strength = []
    for layer in range(n_layers):
        weights = layer_weights(model, layer)
        _check_finite(weights, layer, model.name)
        for name, values in _norms(weights).items():
            columns.setdefault(name, []).append(values)
        columns.setdefault("mean_congruence", []).append(_dot(weights.w_out, readout.mean))
        strength.append(float(weights.w_out.norm(dim=1).amax()))
    order = sorted(range(n_layers), key=lambda layer: -strength[layer])
    on_device = Readout(readout.kind, readout.columns.to(device), readout.mean)
    searches = SharedSearch(session, order, d_mlp, progress)
    of_all = partial(search, d_mlp=d_mlp, n_layers=n_layers)
    congruence = searches.run(
        "congruence",
        partial(
            of_all,
            lambda layer: layer_weights(model, layer).w_out,
            on_device.columns,
            k_tokens=k_tokens,
            k_neurons=k_neurons,
        ),
        device,
    )
    moments = Moments(readout)
    for layer in range(n_layers):
        here = slice(layer * d_mlp, (layer + 1) * d_mlp)
        w_out = layer_weights(model, layer).w_out
        layer_moments = moments.of(w_out, congruence.third[here], congruence.fourth[here])
        columns.setdefault("unembedding_null_fraction", []).append(moments.null_fraction(w_out))
        for name, values in layer_moments.items():
            columns.setdefault(f"congruence_{name}", []).append(values)
    embed = model.embedding.to(device, torch.float32)
    sides = {"in": lambda layer: layer_weights(model, layer).w_in}
    if model.gated:
        sides["gate"] = lambda layer: layer_weights(model, layer).w_gate
    lists = partial(of_all, k_tokens=INPUT_TOKENS, k_neurons=0, moments=False)
    input_tokens = {
        side: searches.run(side, partial(lists, rows, embed), device).neuron_token for side, rows in sides.items()
    }
    connected = {}
    if connections:
        session.budget.reserve("--connections", 4 * n_layers * d_mlp * embed.shape[1], "leave it out")
        w_out = torch.cat([layer_weights(model, layer).w_out for layer in range(n_layers)]).to(device)
        connected = {
            side: searches.run(f"connections-{side}", partial(connect, rows, w_out, d_mlp=d_mlp), device)
            for side, rows in sides.items()
        }
    whole = {name: np.concatenate(parts) for name, parts in columns.items()}
    return WeightResult(readout, congruence, input_tokens, whole, lambda layer: layer_weights(model, layer), connected)


def _check_finite(weights: LayerWeights, layer: int, name: str) -> None:
    for part in ("w_in", "w_out", "w_gate"):
        matrix = getattr(weights, part)
        if matrix is not None and not torch.isfinite(matrix).all():
            index = int((~torch.isfinite(matrix)).any(1).nonzero()[0])
            raise ModelError(
                f"The weights {part} of {neuron_name(layer, index)} in {name!r} are not finite once norms are folded "
                "in."
            )


def _dot(rows: Float[Tensor, "row d_model"], vector: Float[Tensor, " d_model"]) -> Float[np.ndarray, " row"]:
    return (rows.to(torch.float64) @ vector.to(torch.float64)).numpy()


def _norms(weights: LayerWeights) -> dict[str, np.ndarray]:
    w_out = weights.w_out.to(torch.float64)
    norms = {"w_out_norm": w_out.norm(dim=1).numpy()}
    for side in ("in", "gate"):
        matrix = getattr(weights, f"w_{side}")
        if matrix is None:
            norms[f"w_{side}_norm"] = norms[f"{side}_out_cosine"] = np.full(len(w_out), np.nan)
            continue
        rows = matrix.to(torch.float64)
        norm = rows.norm(dim=1)
        norms[f"w_{side}_norm"] = norm.numpy()
        product = norm * w_out.norm(dim=1)
        # 0 / 0 is NaN, which the table shows as NULL: a zero vector has no direction.
        norms[f"{side}_out_cosine"] = ((rows * w_out).sum(1) / product).numpy()
    return norms
