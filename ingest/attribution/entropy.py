"""What single neurons of the last layer do to the entropy of the prediction: entropy and token-frequency neurons.

A neuron of the last layer reaches the logits through the final norm alone. With the neuron set to its mean, the logits
of a position are its own ones, rescaled as the norm's scale changes, less a multiple of what the neuron writes: vectors
over the vocabulary that are computed once for each position and each neuron, so an ablation costs no forward pass.
Source: Stolfo et al., "Confidence Regulation Neurons in Language Models", 2024.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from atlas.core.bins import ZERO_BIN, bin_edges
from ingest.attribution.distributions import Term, distributions
from ingest.attribution.first_order import directions, linear
from ingest.process.arrow import Columns
from ingest.study.norms import norm_scales
from ingest.study.study_model import StudyModel
from ingest.texts.tokens import Text

POSITIONS = 4096
"""Counted positions that are looked at, of all texts together."""
TOKENS = 256
"""First tokens of a text that are run."""
ABLATIONS = 64
"""Most positions at which a neuron is ablated. Half of them are those at which its activation is farthest from its
mean, which decide a mean of so long a tail; the others are drawn from the rest and stand for it."""

_PART = 4096
"""Residual streams with a neuron ablated that exist together."""


@dataclass(frozen=True)
class _Positions:
    """Positions of texts, at the end of the model: the final norm's input, the last layer's activations, and the output
    of its output projection."""

    final: Float[Tensor, "row d_model"]
    activations: Float[Tensor, "row d_mlp"]
    projected: Float[Tensor, "row d_model"]


@dataclass(frozen=True)
class _Ablations:
    """Neurons to ablate: the row of `_Positions`, the neuron's index, and how far its activation is above its mean.

    `weight`: the share of the positions at which the neuron fires that the item stands for.
    """

    row: Int[Tensor, " item"]
    neuron: Int[Tensor, " item"]
    excess: Float[Tensor, " item"]
    weight: Float[Tensor, " item"]


@torch.inference_mode()
def entropy_columns(
    model: StudyModel,
    texts: Iterable[Text],
    activation_mean: Float[np.ndarray, " neuron"],
    n_actual: Int[np.ndarray, " d_vocab"],
    first_position: int,
    progress: Callable[[int], object] = lambda _: None,
) -> Columns:
    """Columns of table `neuron` by mean ablation of each neuron of the last layer: means over the positions where it
    fires.

    The unigram distribution is (n_actual + 1) / (their sum): no token has probability 0.

    Args:
        model: in float32.
        texts: read until there are POSITIONS counted positions.
        activation_mean: the value that a neuron is set to.
        n_actual: how often each token comes next, over the atlas's data.
        first_position: the first counted position of a text.
        progress: called with the number of tokens of the vocabulary that are done.

    Raises:
        ModelError: the final norm is neither LayerNorm nor RMSNorm.
    """
    d_mlp, n_layers = model.model.d_mlp, model.n_layers
    mean = torch.as_tensor(activation_mean[-d_mlp:], dtype=torch.float32, device=model.device)
    count = torch.as_tensor(n_actual, dtype=torch.float64, device=model.device) + 1
    means, n = torch.zeros(3, d_mlp, dtype=torch.float64), torch.zeros(d_mlp)
    positions = _read(model, texts, first_position)
    if positions is not None:
        items = _choose(positions, mean)
        log_unigram = (count / count.sum()).log()
        guess, means = _guess(model, positions, items, mean, log_unigram)
        changes = _changes(model, positions, items, log_unigram, progress)
        n = torch.bincount(items.neuron, minlength=d_mlp).cpu()
        means.index_add_(1, items.neuron.cpu(), ((changes - guess) * items.weight).cpu())
    before = np.zeros(n_layers * d_mlp - d_mlp)
    values = np.concatenate([np.tile(before, (3, 1)), means.numpy()], axis=1)
    fires = np.concatenate([before, n.numpy()])
    names = ("entropy_change", "entropy_change_by_norm", "unigram_divergence_change")
    return {
        "neuron_id": np.arange(len(fires), dtype=np.int32),
        **{name: np.ma.masked_array(column, fires == 0) for name, column in zip(names, values, strict=True)},
        "n_ablated": np.ma.masked_array(fires.astype(np.int32), np.arange(len(fires)) < len(before)),
    }


def _read(model: StudyModel, texts: Iterable[Text], first: int) -> _Positions | None:
    """Counted positions at the beginnings of texts; None: the texts have none."""
    parts: list[_Positions] = []
    n = 0
    for text in texts:
        ids = torch.as_tensor(text.token_ids[:TOKENS].astype(np.int64), device=model.device)
        if len(ids) <= first:
            continue
        run = model.record(ids)
        rows = slice(first, first + POSITIONS - n)
        parts.append(_Positions(run.residual[-1, rows], run.activations[-1, rows], run.projected[-1, rows]))
        n += len(parts[-1].final)
        if n >= POSITIONS:
            break
    if not parts:
        return None
    fields = ("final", "activations", "projected")
    return _Positions(*(torch.cat([getattr(part, name) for part in parts]).float().clone() for name in fields))


def _choose(positions: _Positions, mean: Float[Tensor, " d_mlp"]) -> _Ablations:
    """Up to ABLATIONS of the positions at which each neuron fires; ties by lower position."""
    activations, fires = positions.activations.T, _fires(positions).T
    distance = torch.where(fires, (activations - mean[:, None]).abs(), -1.0)
    half = ABLATIONS // 2
    order = distance.argsort(dim=1, descending=True, stable=True)
    farthest = torch.zeros_like(fires).scatter_(1, order[:, :half], True) & fires
    lot = torch.randperm(fires.shape[1], generator=torch.Generator().manual_seed(0)).to(fires.device)
    rest = fires & ~farthest
    drawn = rest.gather(1, lot.expand_as(rest))
    drawn &= drawn.cumsum(1) <= ABLATIONS - half
    drawn = torch.zeros_like(rest).scatter_(1, lot.expand_as(rest), drawn)
    weight = torch.where(farthest, 1.0, rest.sum(1, keepdim=True) / drawn.sum(1, keepdim=True).clamp(min=1))
    neuron, row = (farthest | drawn).nonzero(as_tuple=True)
    return _Ablations(row, neuron, activations[neuron, row] - mean[neuron], weight[neuron, row] / fires.sum(1)[neuron])


def _fires(positions: _Positions) -> Bool[Tensor, "row d_mlp"]:
    low, high = bin_edges(ZERO_BIN)
    return (positions.activations < low) | (positions.activations >= high)


def _guess(
    model: StudyModel,
    positions: _Positions,
    items: _Ablations,
    mean: Float[Tensor, " d_mlp"],
    log_unigram: Float[Tensor, " d_vocab"],
) -> tuple[Float[Tensor, "3 item"], Float[Tensor, "3 d_mlp"]]:
    """The three changes to first order: of each ablation, and their means over all positions at which a neuron fires. A
    mean of guesses plus the mean error of a sample of them is as right as a mean of that sample, and far less noisy."""
    ablated, block, fires = _ablate(model, positions, items), model.blocks[-1], _fires(positions)
    excess = (positions.activations - mean) * fires
    if block.post_norm is not None and block.post_gain is not None:
        scale, _ = norm_scales(block.post_norm, block.post_gain, positions.projected, model.model.layer_norm)
        excess = excess * scale.float()[:, None]
    of_items, means = [], []
    for direction in directions(model, positions.final, log_unigram):
        change = -excess * (direction @ ablated.written.T)
        of_items.append(change[items.row, items.neuron].double())
        means.append((change.sum(0, dtype=torch.float64) / fires.sum(0).clamp(min=1)).cpu())
    return torch.stack(of_items), torch.stack(means)


def _changes(
    model: StudyModel,
    positions: _Positions,
    items: _Ablations,
    log_unigram: Float[Tensor, " d_vocab"],
    progress: Callable[[int], object],
) -> Float[Tensor, "3 item"]:
    """Of each ablation: change of entropy, that by the final norm's scale alone, change of divergence; float64."""
    n_rows = len(positions.final)
    gain, layer_norm = model.model.final_gain, model.model.layer_norm
    scale, centred = norm_scales(model.norm, gain, positions.final, layer_norm)
    ablated = _ablate(model, positions, items)
    none = torch.zeros_like(ablated.scale)
    # Logits with the neuron ablated; the positions' own, with the norm's scale of those; the positions' own.
    row = torch.cat([items.row, items.row, torch.arange(n_rows, device=model.device)])
    neuron = torch.cat([items.neuron, items.neuron, torch.zeros_like(row[:n_rows])])
    terms = [
        Term(positions.final, row, torch.cat([ablated.scale, ablated.scale, scale])),
        Term(ablated.written, neuron, torch.cat([ablated.scale * ablated.of_written, none, 0 * scale])),
    ]
    if ablated.behind is not None:
        terms.append(Term(ablated.behind, row, torch.cat([ablated.scale * ablated.of_behind, none, 0 * scale])))
    for term in terms:
        term.vectors = linear(term.vectors, gain, centred)
    entropy, cross = distributions(model, terms, log_unigram, progress)
    divergence = -entropy - cross
    n = len(items.row)
    own, own_divergence = entropy[2 * n :][items.row], divergence[2 * n :][items.row]
    return torch.stack([entropy[:n] - own, entropy[n : 2 * n] - own, divergence[:n] - own_divergence])


@dataclass(frozen=True)
class _Ablated:
    """The final norm's input after each ablation, x + of_behind * behind[row] + of_written * written[neuron] with x the
    one before, and the norm's scale there."""

    written: Float[Tensor, "d_mlp d_model"]
    of_written: Float[Tensor, " item"]
    behind: Float[Tensor, "row d_model"] | None
    of_behind: Float[Tensor, " item"]
    scale: Float[Tensor, " item"]


def _ablate(model: StudyModel, positions: _Positions, items: _Ablations) -> _Ablated:
    loaded, block, factor = model.model, model.blocks[-1], model.factors[-1].mlp
    w_out, behind = loaded.layers[-1].w_out.to(model.device, torch.float32), None
    written, of_written = factor * w_out, -items.excess.double()
    of_behind = torch.zeros_like(of_written)
    if block.post_norm is not None and block.post_gain is not None:
        # The norm behind the MLP changes its scale too: that of every other neuron's part.
        norm = block.post_norm, block.post_gain
        before, centred = norm_scales(*norm, positions.projected, loaded.layer_norm)
        after = [
            norm_scales(*norm, positions.projected[row] - excess[:, None] * w_out[neuron], loaded.layer_norm)[0]
            for row, neuron, excess in _parts(items)
        ]
        behind, written = (factor * linear(x, block.post_gain, centred) for x in (positions.projected, w_out))
        of_behind = torch.cat(after) - before[items.row]
        of_written = of_written * torch.cat(after)
    scale = []
    for (row, neuron, _), by, by_behind in zip(
        _parts(items), of_written.split(_PART), of_behind.split(_PART), strict=True
    ):
        x = positions.final[row] + by.float()[:, None] * written[neuron]
        x = x if behind is None else x + by_behind.float()[:, None] * behind[row]
        scale.append(norm_scales(model.norm, loaded.final_gain, x, loaded.layer_norm)[0])
    return _Ablated(written, of_written, behind, of_behind, torch.cat(scale))


def _parts(items: _Ablations) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    return zip(*(part.split(_PART) for part in (items.row, items.neuron, items.excess)), strict=True)
