"""Sums of attributions: by neuron, by predicted token and neuron, and by counted pair. All of them add up.

The attribution of a neuron at a position is (activation - its mean over the atlas's data) * gradient of the position's
score (`ingest.study.gradients`). Its direct part is (activation - mean) * congruence / scale of the final norm.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ingest.model.weights import Readout
from ingest.process.arrow import Columns
from ingest.study.gradients import GradientRun
from ingest.study.study_model import StudyModel
from ingest.texts.tokens import TextBatch

MIN_POSITIONS = 10
"""Fewest positions that predict a token, for its neurons to be ranked."""
RANKED = 50
"""Neurons of a token at either end."""

_DRIVER = {
    "token_id": "i4",
    "direction": "U6",
    "rank": "i2",
    "neuron_id": "i4",
    "n": "i8",
    "attribution": "f8",
    "direct": "f8",
    "standard_error": "f8",
}
"""Columns of `token_driver`."""


@dataclass(frozen=True, eq=False)
class AttributionPlan:
    """What to sum: for each of `tokens` (ascending ids) every neuron, and each pair (sorted by neuron, token)."""

    activation_mean: Float[np.ndarray, " neuron"]
    tokens: Int[np.ndarray, " token"]
    pair_neuron: Int[np.ndarray, " pair"]
    pair_token: Int[np.ndarray, " pair"]
    first_position: int


_LANES = 4
"""What a mean over positions and its standard error need, with texts as clusters: with x a text's sum of attributions
and n its positions, the total of x, of x * x and of x * n, and the total of the direct part."""


@dataclass(frozen=True)
class _Rows:
    """The counted positions of a batch. Those that predict one of the plan's tokens are cut into segments, of one token
    in one text each."""

    run: GradientRun
    text: Int[Tensor, " row"]
    distinct: Int[Tensor, " token"]
    """The tokens that are predicted, and each row's place among them."""
    place_of_row: Int[Tensor, " row"]
    some: Int[Tensor, " some"]
    segment: Int[Tensor, " some"]
    place: Int[Tensor, " segment"]
    """The token's place in the plan."""
    size: Float[Tensor, " segment"]


class AttributionSums:
    """Sums over the counted positions of texts. Two over different texts add up (`merge`)."""

    def __init__(self, model: StudyModel, readout: Readout, plan: AttributionPlan) -> None:
        self.model, self.plan, device = model, plan, model.device
        d_mlp, n_layers, d_vocab = model.model.d_mlp, model.n_layers, len(readout.columns)
        self._mean = torch.as_tensor(plan.activation_mean, dtype=torch.float32, device=device).view(n_layers, d_mlp)
        self._readout = readout.columns.to(device)
        self._w_out = [raw.w_out.to(device) for raw in model.model.layers]
        self._place_of = torch.full((d_vocab,), -1, dtype=torch.int64, device=device)
        self._place_of[_ids(plan.tokens, device)] = torch.arange(len(plan.tokens), device=device)
        self._pairs_of = [self._layer_pairs(layer) for layer in range(n_layers)]
        self.size = torch.zeros(2, dtype=torch.int64)
        """Texts, and positions."""
        self.neurons = torch.zeros(4, n_layers, d_mlp, dtype=torch.float64, device=device)
        """Attribution, its direct part, the magnitude of either."""
        self.counts = torch.zeros(3, d_vocab, dtype=torch.float64, device=device)
        """By predicted token: positions, texts, and the sum over texts of positions squared."""
        # The system gives zeros without memory until they are written to.
        self.tokens = torch.zeros(n_layers, len(plan.tokens), _LANES, d_mlp, device=device)
        self.pairs = torch.zeros(len(plan.pair_neuron), _LANES, device=device)

    def read(self, batch: TextBatch) -> None:
        """Take in a batch of texts: one forward and one backward pass."""
        device = self.model.device
        ids, lengths = (torch.as_tensor(array, device=device) for array in (batch.input_ids, batch.lengths))
        counted = counted_positions(ids, lengths, self.plan.first_position)
        text = torch.arange(len(ids), device=device)[:, None].expand_as(ids)[counted]
        run = GradientRun(self.model, ids, counted)
        self._count(run.token, text)
        rows = self._rows(run, text)
        run.backward(lambda layer, activations, gradient: self._add(layer, activations, gradient, rows))
        self.size += torch.tensor([len(ids), len(text)])

    @property
    def n_texts(self) -> int:
        """Texts read."""
        return int(self.size[0])

    @property
    def n_positions(self) -> int:
        """Positions counted."""
        return int(self.size[1])

    def merge(self, tensors: Mapping[str, Tensor]) -> None:
        """Add the sums of the same plan over other texts."""
        for name, mine in self.tensors().items():
            mine += tensors[name].to(mine.device)

    def tensors(self) -> dict[str, Tensor]:
        """All sums, by name: the state of a checkpoint, and what ranks send each other."""
        names = ("size", "neurons", "counts", "tokens", "pairs")
        return {name: getattr(self, name) for name in names}

    def _count(self, token: Int[Tensor, " row"], text: Int[Tensor, " row"]) -> None:
        n_texts = int(text[-1]) + 1 if len(text) else 1
        key, size = (token * n_texts + text).unique(return_counts=True)
        of, size = key // n_texts, size.double()
        for row, values in zip(self.counts, (size, torch.ones_like(size), size * size), strict=True):
            row.index_add_(0, of, values)

    def _rows(self, run: GradientRun, text: Int[Tensor, " row"]) -> _Rows:
        distinct, place_of_row = run.token.unique(return_inverse=True)
        place = self._place_of[run.token]
        some = (place >= 0).nonzero()[:, 0]
        width = len(self.plan.tokens) or 1
        key, segment, size = (text[some] * width + place[some]).unique(return_inverse=True, return_counts=True)
        return _Rows(run, text, distinct, place_of_row, some, segment, key % width, size.float())

    def _add(
        self, layer: int, activations: Float[Tensor, "row d_mlp"], gradient: Float[Tensor, "row d_mlp"], rows: _Rows
    ) -> None:
        excess = activations - self._mean[layer]
        # Attribution and direct part, side by side: one pass over rows sums both.
        both = torch.stack([excess * gradient, excess * self._direct(layer, rows)], dim=1)
        self.neurons[:2, layer] += both.sum(0)
        self.neurons[2:, layer] += both.abs().sum(0)
        summed = both.new_zeros(len(rows.place), *both.shape[1:]).index_add_(0, rows.segment, both[rows.some])
        x, direct = summed.unbind(1)
        lanes = torch.stack([x, x * x, x * rows.size[:, None], direct], dim=1)
        self.tokens[layer].index_add_(0, rows.place, lanes)
        self._add_pairs(layer, both, rows)

    def _direct(self, layer: int, rows: _Rows) -> Float[Tensor, "row d_mlp"]:
        """The congruence of every neuron with each row's token, over the scale of the final norm."""
        direction, behind = self._readout[rows.distinct], self.model.model.layers[layer].behind
        if behind.gain is not None:
            direction = direction * behind.gain.to(direction)
        if behind.centred:
            direction = direction - direction.mean(-1, keepdim=True)
        congruence = (direction @ self._w_out[layer].T.float())[rows.place_of_row]
        return congruence.mul_(rows.run.direct_scale(layer).to(direction)[:, None])

    def _layer_pairs(self, layer: int) -> tuple[Tensor, Tensor, Tensor]:
        """A layer's pairs in order of token: the token of each, its place among all pairs, its neuron's index."""
        d_mlp, device = self.model.model.d_mlp, self.model.device
        places = np.flatnonzero(self.plan.pair_neuron // d_mlp == layer)
        places = places[np.argsort(self.plan.pair_token[places], kind="stable")]
        return (
            _ids(self.plan.pair_token[places], device),
            _ids(places, device),
            _ids(self.plan.pair_neuron[places] % d_mlp, device),
        )

    def _add_pairs(self, layer: int, both: Float[Tensor, "row 2 d_mlp"], rows: _Rows) -> None:
        tokens, places, index = self._pairs_of[layer]
        token, text = rows.run.token, rows.text
        first = torch.searchsorted(tokens, token)
        count = torch.searchsorted(tokens, token, right=True) - first
        # Every row beside each pair of its token.
        row = torch.arange(len(token), device=token.device).repeat_interleave(count)
        item = torch.arange(len(row), device=token.device) + (first - (count.cumsum(0) - count)).repeat_interleave(
            count
        )
        n_texts = int(text[-1]) + 1 if len(text) else 1
        key, segment, size = (item * n_texts + text[row]).unique(return_inverse=True, return_counts=True)
        x, direct = both.new_zeros(len(key), 2).index_add_(0, segment, both[row, :, index[item]]).unbind(1)
        self.pairs.index_add_(0, places[key // n_texts], torch.stack([x, x * x, x * size, direct], dim=1))

    def neuron_rows(self) -> Columns:
        """Table `neuron_attribution`."""
        attribution, direct, magnitude, direct_magnitude = (
            (self.neurons.flatten(1) / max(self.n_positions, 1)).cpu().numpy()
        )
        return {
            "neuron_id": np.arange(len(attribution), dtype=np.int32),
            "n_positions": np.full(len(attribution), self.n_positions),
            "attribution_mean": attribution,
            "attribution_abs_mean": magnitude,
            "direct_mean": direct,
            "direct_abs_mean": direct_magnitude,
        }

    def token_rows(self) -> Columns:
        """Table `token_driver`: the neurons that support and oppose each token most, of tokens that are predicted often
        enough. Neurons without any attribution are in neither list."""
        n, texts, n_square = self.counts.cpu().numpy()
        columns: dict[str, list[np.ndarray]] = {name: [np.empty(0, kind)] for name, kind in _DRIVER.items()}
        for place, token in enumerate(self.plan.tokens.tolist()):
            if n[token] < MIN_POSITIONS:
                continue
            sums = self.tokens[:, place].transpose(0, 1).flatten(1).double().cpu().numpy()
            mean = sums[0] / n[token]
            for direction in ("bottom", "top"):
                chosen = _strongest(mean if direction == "top" else -mean)
                rows = {
                    "token_id": np.full(len(chosen), token, np.int32),
                    "direction": np.full(len(chosen), direction),
                    "rank": np.arange(1, len(chosen) + 1, dtype=np.int16),
                    "neuron_id": chosen.astype(np.int32),
                    **_means(sums[:, chosen], n[token], texts[token], n_square[token]),
                }
                for name, values in rows.items():
                    columns[name].append(values)
        return {name: np.ma.concatenate(parts) for name, parts in columns.items()}

    def pair_rows(self) -> Columns:
        """Table `pair_attribution`: pairs whose token is predicted at all."""
        n, texts, n_square = (row[self.plan.pair_token] for row in self.counts.cpu().numpy())
        there = n > 0
        sums = self.pairs.T.double().cpu().numpy()[:, there]
        return {
            "neuron_id": self.plan.pair_neuron[there].astype(np.int32),
            "token_id": self.plan.pair_token[there].astype(np.int32),
            **_means(sums, n[there], texts[there], n_square[there]),
        }


def counted_positions(
    ids: Int[Tensor, "batch pos"], lengths: Int[Tensor, " batch"], first: int
) -> Bool[Tensor, "batch pos"]:
    """Which positions count: from `first` on, without padding."""
    position = torch.arange(ids.shape[1], device=ids.device)
    return (position >= first) & (position < lengths[:, None])


def _ids(values: np.ndarray, device: torch.device) -> Int[Tensor, " item"]:
    return torch.as_tensor(values.astype(np.int64), device=device)


def _strongest(values: Float[np.ndarray, " neuron"]) -> Int[np.ndarray, " item"]:
    """The greatest values above 0, greatest first, ties by lower id."""
    above = np.flatnonzero(values > 0)
    if len(above) > RANKED:
        least = np.partition(values[above], -RANKED)[-RANKED]
        above = above[values[above] >= least]
    return above[np.argsort(-values[above], kind="stable")][:RANKED]


def _means(sums: Float[np.ndarray, "4 item"], n: np.ndarray, texts: np.ndarray, n_square: np.ndarray) -> Columns:
    """Means over positions, and the standard error of the first over texts (a ratio of two sums over texts, by
    linearisation, as in Cochran, "Sampling Techniques", 1977, 6.3); NULL for one text."""
    total, square, product, direct = sums
    mean = total / n
    spread = np.maximum(square - 2 * mean * product + mean * mean * n_square, 0)
    with np.errstate(divide="ignore", invalid="ignore"):
        error = np.sqrt(spread * texts / (texts - 1)) / n
    return {
        "n": np.broadcast_to(n, mean.shape).astype(np.int64),
        "attribution": mean,
        "direct": direct / n,
        "standard_error": np.ma.masked_array(error, np.broadcast_to(texts < 2, mean.shape)),
    }
