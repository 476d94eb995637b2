"""Sort keys: a float32 value and an id in one int64, so that a plain integer top-k follows the tie rule.

`torch.topk` does not order equal values. A key holds the value's bits, made to sort like the value, above the
complement of the id: the greatest key is the greatest value and, among equals, the lowest id. Keys of different ids
never tie, so top-k, sort and merge give one answer in any order, on any device.
"""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor

MAX_ID = 2**31 - 1
EMPTY = torch.iinfo(torch.int64).min
"""Key of an empty place: below every real key."""


def sortable(values: Float[Tensor, "*shape"]) -> Int[Tensor, "*shape"]:
    """Map float32 to int32 with the same order (-0.0 counts as 0.0)."""
    bits = (values.to(torch.float32) + 0.0).contiguous().view(torch.int32)
    return bits ^ ((bits >> 31) & 0x7FFFFFFF)


def encode(values: Float[Tensor, "*shape"], ids: Int[Tensor, "*shape"]) -> Int[Tensor, "*shape"]:
    """Key of (value, id): greater for a greater value, then for a lower id. Ids are 0 to 2^31 - 1."""
    return (sortable(values).to(torch.int64) << 32) + (MAX_ID - ids.to(torch.int64))


def decode_values(keys: Int[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """The float32 value of each key; -infinity for an empty place."""
    ordered = (keys >> 32).to(torch.int32)
    bits = ordered ^ ((ordered >> 31) & 0x7FFFFFFF)
    return torch.where(keys == EMPTY, -torch.inf, bits.view(torch.float32))


def decode_ids(keys: Int[Tensor, "*shape"]) -> Int[Tensor, "*shape"]:
    """The id of each key; -1 for an empty place."""
    return torch.where(keys == EMPTY, -1, MAX_ID - (keys & 0xFFFFFFFF))
