"""A text's run, and runs resumed at one of its positions with something added to the residual stream there.

A run is resumed behind a neuron's layer for the one position alone, over the keys and values of earlier positions.
"""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer

from ingest.errors import ModelError
from ingest.process.memory import is_out_of_memory
from ingest.study.blocks import RecordedRun
from ingest.study.study_model import StudyModel, Tokens, first_tokens, share

_SAME = 1e-4
"""Largest relative difference of logits between a resumed run and a whole run."""


class _HeldLayer(DynamicLayer):
    """One layer's keys and values of a position and those before it, whatever is computed anew."""

    def __init__(self, keys: Tensor, values: Tensor) -> None:
        super().__init__()
        self.lazy_initialization(keys, values)
        # The library's masks expect the new position's own to come in `update`.
        self.keys, self.values, self._all = keys[..., :-1, :], values[..., :-1, :], (keys, values)

    def update(self, key_states: Tensor, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
        keys, values = self._all
        return keys.expand(len(key_states), -1, -1, -1), values.expand(len(key_states), -1, -1, -1)


class TextRun:
    """A text's run, and runs resumed at one of its positions. `cached`: whether those use keys and values of the
    positions before; None: a trial decides."""

    def __init__(self, model: StudyModel, ids: Tensor, cached: bool | None) -> None:
        self.model, self.ids = model, ids
        self.cached = True if cached is None else cached
        cache = DynamicCache() if self.cached else None
        self.run: RecordedRun = model.record(ids, cache)
        self._cache = None if cache is None else share(cache)
        if cached is None and not self._exact():
            self.cached, self._cache = False, None
            if not self._exact():
                raise ModelError(
                    f"Runs of {model.model.name!r} that are resumed at a middle layer do not give the model's own "
                    "logits: effects of this architecture cannot be measured."
                )

    def resume(
        self, layer: int, position: int, change: Float[Tensor, " d_model"], *, held: bool = False
    ) -> Float[Tensor, " d_model"]:
        """The final residual stream at a position if `change` is added to the stream before block `layer` there.

        Args:
            held: attention keeps the keys and values that the position had (only where `cached`).
        """
        return self.resume_each(layer, position, change[None], held=held)[0]

    def resume_each(
        self, layer: int, position: int, changes: Float[Tensor, "row d_model"], *, held: bool = False
    ) -> Float[Tensor, "row d_model"]:
        """The same for several changes, each by itself, run together."""
        if layer == self.model.n_layers:
            return self.run.residual[layer, position] + changes
        if self._cache is not None:
            residual = (self.run.residual[layer, position] + changes)[:, None]
            if held:
                prefix = DynamicCache()
                whole = first_tokens(self._cache, position + 1)
                prefix.layers = [_HeldLayer(each.keys, each.values) for each in whole.layers]
            else:
                prefix = first_tokens(self._cache, position) if position else None
            tokens = Tokens(self.ids[position : position + 1], prefix)
        else:
            residual = self.run.residual[layer, : position + 1].repeat(len(changes), 1, 1)
            residual[:, -1] += changes
            tokens = Tokens(self.ids[: position + 1])
        return self.model.resume(layer, residual, tokens)

    def _exact(self) -> bool:
        layer, last = self.model.n_layers // 2, len(self.ids) - 1
        try:
            logits = self.model.logits(self.resume(layer, last, torch.zeros_like(self.run.residual[0, 0]))[None])[0]
        except Exception as error:  # Libraries raise any exception for unsupported operations.
            if is_out_of_memory(error):
                raise
            return False
        return bool((logits - self.run.logits).norm() <= _SAME * self.run.logits.norm())


def written(
    model: StudyModel, run: RecordedRun, layer: int, index: int, position: int, by: float
) -> Float[Tensor, " d_model"]:
    """A block's output if a neuron's activation changes by `by`."""
    block, factor = model.blocks[layer], model.factors[layer].mlp
    change = by * model.model.layers[layer].w_out[index].to(model.device, torch.float32)
    if block.post_norm is None:
        return factor * change
    projected = run.projected[layer, position]
    both = block.post_norm(torch.stack([projected, projected + change]))
    return factor * (both[1] - both[0])
