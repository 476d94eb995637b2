"""Exact counts by activation in the post's own bins: a light pass over the data for a few named pairs.

The atlas's own histograms have bins of a quarter octave, which cannot be summed to bins 0.2 wide.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, Int64
from torch import Tensor

from ingest.model.forward import LeanModel, bytes_per_token
from ingest.model.load import LoadedModel
from ingest.model.saved_tokenizer import bos_for
from ingest.model.weights import read_readout
from ingest.process.cursor import TextReport
from ingest.process.memory import Budget
from ingest.reproduce.post import post_predictions
from ingest.texts.dataset import Dataset
from ingest.texts.tokens import TextBatch, batches, iter_texts

COUNTS = ("n", "n_predicted", "n_own", "n_actual")
"""Positions in a bin; those at which the token is the post's top prediction, the model's own, the actual next token."""


@dataclass(frozen=True)
class CurvePair:
    """A neuron and a token to count, and the width of bins: bin b holds activations that round to b * width."""

    layer: int
    index: int
    token_id: int
    width: float


@dataclass
class Curve:
    """Counts of one pair by bin, in the order of COUNTS. Curves of parts of the data add up."""

    bins: dict[int, Int64[np.ndarray, " count"]] = field(default_factory=dict)

    def update(
        self, activation: Float[Tensor, " position"], width: float, is_token: Sequence[Bool[Tensor, " position"]]
    ) -> None:
        """Count positions; `is_token`: whether the token is the post's prediction, the model's, the actual next
        token."""
        place = torch.round(activation.double() / width).to(torch.int64)
        present, of = place.unique(return_inverse=True)
        counts = torch.zeros(len(present), len(COUNTS), dtype=torch.int64, device=place.device)
        for column, mask in enumerate((torch.ones_like(place), *is_token)):
            counts[:, column].index_add_(0, of, mask.to(torch.int64))
        for bin_, row in zip(present.tolist(), counts.cpu().numpy(), strict=True):
            self.bins[bin_] = self.bins.get(bin_, np.zeros(len(COUNTS), np.int64)) + row

    def rows(self) -> list[list[int]]:
        """[bin, counts ...], ascending."""
        return [[bin_, *self.bins[bin_].tolist()] for bin_ in sorted(self.bins)]

    def total(self, count: str) -> int:
        """A count over all bins."""
        return int(sum(row[COUNTS.index(count)] for row in self.bins.values()))


@dataclass(frozen=True)
class CurvePass:
    """The counts of the pass, BOS included, as in the post."""

    curves: dict[CurvePair, Curve]
    dataset_name: str
    n_texts: int
    n_positions: int


def count_curves(
    model: LoadedModel,
    dataset: Dataset,
    pairs: Iterable[CurvePair],
    *,
    context_length: int,
    device: torch.device,
    max_texts: int | None = None,
    batch_tokens: int | None = None,
    progress: Callable[[float, float], None] | None = None,
) -> CurvePass:
    """Run every text, cut to `context_length` tokens BOS included, in float32, and count.

    Args:
        model: its bridge is taken apart for good.
        batch_tokens: tokens a batch, padding included; as many as ingest takes when left out.
        progress: called with the number of texts and tokens of each batch.

    Raises:
        DatasetError, TokenizerError: as ingest.
    """
    lean, columns = LeanModel(model, device, torch.float32), read_readout(model, "embed").columns.to(device)
    curves = {pair: Curve() for pair in pairs}
    limit = batch_tokens or Budget(None, device).batch_tokens(
        context_length, bytes_per_token(lean.n_layers, lean.d_mlp, lean.d_model, lean.dtype)
    )
    report, bos = TextReport(), bos_for(model.tokenizer)
    texts = iter_texts(
        dataset,
        model.tokenizer,
        context_length=context_length,
        overflow="truncate",
        bos_token_id=bos,
        max_texts=max_texts,
        report=report,
        d_vocab=len(columns),
    )
    n_positions = 0
    for batch in batches(texts, max_tokens=limit, pad_id=bos or 0):
        _count(lean, columns, batch, curves)
        tokens = int(batch.lengths.sum())
        n_positions += tokens
        if progress is not None:
            progress(len(batch.texts), tokens)
    return CurvePass(curves, dataset.name, report.texts, n_positions)


@torch.inference_mode()
def _count(
    lean: LeanModel, columns: Float[Tensor, "d_vocab d_model"], batch: TextBatch, curves: dict[CurvePair, Curve]
) -> None:
    ids = torch.from_numpy(batch.input_ids).to(lean.device)
    lengths = torch.from_numpy(batch.lengths).to(lean.device)
    real = torch.arange(ids.shape[1], device=lean.device) < lengths[:, None]
    activations: dict[CurvePair, Float[Tensor, " position"]] = {}

    def keep(layer: int, x: Float[Tensor, "batch pos d_mlp"]) -> None:
        for pair in curves:
            if pair.layer == layer:
                activations[pair] = x[..., pair.index][real]

    residual = lean.run(ids, keep)[real]
    post, own = post_predictions(residual, columns, lean.model.cfg.eps), lean.predict(residual)
    actual = _next_tokens(ids, lengths)[real]
    for pair, curve in curves.items():
        is_token = [tokens == pair.token_id for tokens in (post, own, actual)]
        curve.update(activations[pair], pair.width, is_token)


def _next_tokens(ids: Int[Tensor, "batch pos"], lengths: Int[Tensor, " batch"]) -> Int[Tensor, "batch pos"]:
    """The token after each position; -1 after the last of a text."""
    following = ids.roll(-1, dims=1)
    following[torch.arange(len(ids), device=ids.device), lengths - 1] = -1
    return following
