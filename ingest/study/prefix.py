"""Keys and values of the tokens that both prompts begin with, shared by every run of a batch."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer


class _SharedLayer(DynamicLayer):
    """One layer's keys and values, [1, head, prefix, d_head]: put before every row's own, and never added to."""

    def __init__(self, keys: Tensor, values: Tensor) -> None:
        super().__init__()
        self.lazy_initialization(keys, values)
        self.keys, self.values = keys, values

    def update(self, key_states: Tensor, value_states: Tensor, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
        rows = len(key_states)
        keys = torch.cat([self.keys.expand(rows, -1, -1, -1), key_states], dim=-2)
        values = torch.cat([self.values.expand(rows, -1, -1, -1), value_states], dim=-2)
        return keys, values


def share(cache: DynamicCache) -> DynamicCache:
    """A cache that serves any number of runs of what follows, of any number of rows."""
    shared = DynamicCache()
    shared.layers = [_SharedLayer(layer.keys, layer.values) for layer in cache.layers]
    return shared


def first_tokens(cache: DynamicCache, n: int) -> DynamicCache:
    """The keys and values of a shared cache's first `n` tokens, as views."""
    first = DynamicCache()
    first.layers = [_SharedLayer(layer.keys[..., :n, :], layer.values[..., :n, :]) for layer in cache.layers]
    return first
