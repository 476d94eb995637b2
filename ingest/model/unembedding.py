"""The top prediction of each position, without float32 logits: products rounded to bfloat16 exclude all tokens but a
few, by the bound of `ingest.process.error_bound`; those are multiplied again exactly.

So the prediction is the same for any device, tile and number of threads: the token whose logit, computed exactly and
rounded to float32, is greatest; of equal ones the lowest id.
"""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional

from ingest.process.error_bound import LARGEST, ROUNDING, bfloat16_pays, column_bound, row_bound
from ingest.process.product import linear, multiply, true_float32

_WIDTH = 64
"""Tokens of a chunk, whose greatest product says whether it is looked at."""
_ROWS = {"cpu": (32, 1024), "cuda": (256, 8192)}
"""Least and most rows of a tile."""
_BYTES = {"cpu": 1 << 26, "cuda": 1 << 30}
"""Bytes of a tile's products."""
_PART = 1 << 22
"""Numbers that are multiplied exactly at a time."""


class TopToken:
    """Finds the token with the greatest logit.

    Args:
        weight: the unembedding, in its own dtype; a copy in bfloat16 is made where that differs and pays.
        bias: of the logits; None: there is none.
    """

    def __init__(self, weight: Float[Tensor, "d_vocab d_model"], bias: Float[Tensor, " d_vocab"] | None = None) -> None:
        self.weight, self.bias = weight, bias
        small = all(bool(part.abs().amax() < LARGEST) for part in (weight, bias) if part is not None)
        pays = small and bfloat16_pays(weight.device)
        self.dtype = torch.bfloat16 if pays else torch.float32
        """Of the products that exclude tokens."""
        self.n_chunks = -(-len(weight) // _WIDTH)
        rounded = self._rows(slice(None)).to(self.dtype)
        # A last whole chunk: the last token again and again.
        spare = rounded[-1:].expand(self._spare, -1)
        self._approximate = torch.cat([rounded, spare]) if self._spare else rounded
        self._bound = self._column_bound()
        least, most = _ROWS[weight.device.type]
        width = len(self._approximate)
        self._n_rows = max(least, min(most, _BYTES[weight.device.type] // (width * self.dtype.itemsize)))
        self._products = rounded.new_empty(self._n_rows, width)

    @property
    def _spare(self) -> int:
        return self.n_chunks * _WIDTH - len(self.weight)

    def _rows(self, tokens: slice | Int[Tensor, " token"]) -> Float[Tensor, "token d"]:
        """Rows of the unembedding. Where there is a bias, it is their last coordinate, by which 1 is multiplied."""
        rows = self.weight[tokens]
        if self.bias is None:
            return rows
        bias = self.bias[tokens, None]
        dtype = torch.promote_types(rows.dtype, bias.dtype)  # Neither is rounded to the other's.
        return torch.cat([rows.to(dtype), bias.to(dtype)], dim=1)

    def _column_bound(self) -> Float[Tensor, "2 chunk"]:
        """The chunk c has the tokens c, c + n_chunks, ...: reading along them is faster than reading 64 neighbours."""
        parts = []
        for start in range(0, len(self.weight), 4096):
            here = slice(start, min(start + 4096, len(self.weight)))
            parts.append(column_bound(self._rows(here).to(torch.float32), self._approximate[here], 1))
        bound = torch.cat(parts, dim=1)
        return functional.pad(bound, (0, self._spare), "replicate").view(2, _WIDTH, self.n_chunks).amax(1)

    @torch.inference_mode()
    def __call__(self, hidden: Float[Tensor, "row d_model"]) -> Int[Tensor, " row"]:
        """The token of each row; `hidden` is what the unembedding multiplies, float32."""
        if self.bias is not None:
            hidden = functional.pad(hidden, (0, 1), value=1.0)
        with true_float32():
            return torch.cat([self._tile(rows) for rows in hidden.split(self._n_rows)])

    def _tile(self, hidden: Float[Tensor, "row d"]) -> Int[Tensor, " row"]:
        rounded = hidden.to(self.dtype)
        products = multiply(rounded, self._approximate, self._products[: len(hidden)])
        products = products.view(len(hidden), _WIDTH, self.n_chunks)
        norm, error = row_bound(hidden, rounded)
        greatest = products.amax(1).to(torch.float32)
        bound = torch.addmm(ROUNDING[self.dtype] * greatest.abs(), torch.stack([norm, error], 1), self._bound)
        limit = (greatest - bound).amax(1)
        row, chunk = (greatest + bound >= limit[:, None]).nonzero().T
        near = products[row, :, chunk].to(torch.float32)
        near += (
            ROUNDING[self.dtype] * near.abs()
            + (norm[row] * self._bound[0, chunk] + error[row] * self._bound[1, chunk])[:, None]
        )
        pair, place = (near >= limit[row, None]).nonzero().T
        row, token = row[pair], (place * self.n_chunks + chunk[pair]).clamp(max=len(self.weight) - 1)
        best = self._best(hidden, row, token)
        odd = (~torch.isfinite(limit)).nonzero()[:, 0]
        if len(odd):
            best[odd] = linear(hidden[odd], self._rows(slice(None)).to(torch.float32)).argmax(1)
        return best

    def _best(
        self, hidden: Float[Tensor, "row d"], row: Int[Tensor, " pair"], token: Int[Tensor, " pair"]
    ) -> Int[Tensor, " row"]:
        """Of each row's tokens the one with the greatest exact product."""
        size = max(1, _PART // hidden.shape[1])
        exact = [
            (hidden[rows].to(torch.float64) * self._rows(tokens).to(torch.float64)).sum(1)
            for rows, tokens in zip(row.split(size), token.split(size), strict=True)
        ]
        value = torch.cat(exact).to(torch.float32)
        top = torch.full((len(hidden),), -torch.inf, device=hidden.device).scatter_reduce(0, row, value, "amax")
        none = len(self.weight)
        token = torch.where(value == top[row], token, none)
        best = torch.full((len(hidden),), none, device=hidden.device).scatter_reduce(0, row, token, "amin")
        return torch.where(best < none, best, 0)
