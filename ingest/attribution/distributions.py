"""Entropies of many rows of logits that are sums of a few vectors over the vocabulary, which goes by in tiles."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ingest.study.norms import norm_bias
from ingest.study.study_model import StudyModel

_TOKEN_TILE = 1024
_ROWS = {"cpu": 128, "cuda": 8192}
"""Rows of logits that exist together: on a CPU those of a tile stay in its cache."""


@dataclass
class Term:
    """A part of rows of logits: each row gets one of the vectors, read out, times its factor."""

    vectors: Float[Tensor, "vector d_model"]
    index: Int[Tensor, " item"]
    factor: Float[Tensor, " item"]


def distributions(
    model: StudyModel,
    terms: list[Term],
    log_unigram: Float[Tensor, " d_vocab"],
    progress: Callable[[int], object],
) -> tuple[Float[Tensor, " item"], Float[Tensor, " item"]]:
    """Of each row of logits, which is the sum of the terms and the bias: the entropy, and the mean of log_unigram under
    it. The vocabulary goes by in tiles, so no row is ever whole."""
    n, rows, device = len(terms[0].index), _ROWS[model.device.type], model.device
    factors = [term.factor.float()[:, None] for term in terms]
    top = torch.full((n,), torch.finfo(torch.float32).min, device=device)
    total, weighted, cross = torch.zeros(3, n, dtype=torch.float64, device=device)
    bias = norm_bias(model.norm, model.model.final_gain).to(device, torch.float32)
    for first in range(0, len(log_unigram), _TOKEN_TILE):
        tokens = slice(first, min(first + _TOKEN_TILE, len(log_unigram)))
        weight, offset = model.unembedding(tokens)
        offset = offset + weight @ bias
        tiles = [term.vectors @ weight.T for term in terms]
        log_u = log_unigram[tokens].float()
        logits, part = torch.empty(2, rows, tokens.stop - first, device=device)
        for start in range(0, n, rows):
            here = slice(start, min(start + rows, n))
            x, y = logits[: here.stop - start], part[: here.stop - start]
            x[:] = offset
            for tile, term, factor in zip(tiles, terms, factors, strict=True):
                x.addcmul_(torch.index_select(tile, 0, term.index[here], out=y), factor[here])
            x = model.capped(x)
            highest = torch.maximum(top[here], x.amax(1))
            shrink, moved = (top[here] - highest).double().exp(), (top[here] - highest).double()
            torch.exp(x.sub_(highest[:, None]), out=y)
            weighted[here] = shrink * (weighted[here] + moved * total[here]) + torch.linalg.vecdot(y, x)
            total[here] = shrink * total[here] + y.sum(1)
            cross[here] = shrink * cross[here] + y @ log_u
            top[here] = highest
        progress(tokens.stop - first)
    return total.log() - weighted / total, cross / total
