"""Mean ablation of one neuron at one position, and the model's prediction there without it.

A text is run once, up to its last position of interest, and its cache serves every ablation in it: the run is resumed
behind the neuron's layer for the one position alone, over the keys and values of earlier positions.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer

from ingest.effects.choose import ChosenPair, Firing
from ingest.errors import ModelError
from ingest.process.memory import is_out_of_memory
from ingest.study.blocks import RecordedRun
from ingest.study.bootstrap import means
from ingest.study.norms import hold
from ingest.study.study_model import StudyModel, Tokens, first_tokens, share

_SAME = 1e-4
"""Largest relative difference of logits between a resumed run and a whole run."""
_RESAMPLES = 2000
MEASURES = ("activation", "probability", "probability_change", "rank", "rank_change", "logit_change", "direct_effect")
"""The measures at a position, in order."""


@dataclass(frozen=True)
class PairEffect:
    """A pair's measures, at each of its positions: float64, [position, MEASURES]."""

    pair: ChosenPair
    values: Float[np.ndarray, "position measure"]

    def mean(self, measure: str, seed: int) -> tuple[float, float, float]:
        """Mean over the positions and its 95% bootstrap interval (NaN: one position)."""
        estimate = means(self.values[:, [MEASURES.index(measure)]].astype(np.float32), _RESAMPLES, seed)
        return float(estimate.value[0]), float(estimate.low[0]), float(estimate.high[0])


@torch.inference_mode()
def measure_effects(
    model: StudyModel,
    pairs: Sequence[ChosenPair],
    texts: Mapping[int, Sequence[int]],
    activation_mean: Float[np.ndarray, " neuron"],
    progress: Callable[[int], object] = lambda _: None,
) -> list[PairEffect]:
    """Measure every pair at its positions.

    Args:
        texts: token ids by text id, BOS included.
        activation_mean: the value that a neuron is set to.
        progress: called with the number of forward passes, of whole texts and of resumed runs.

    Raises:
        ModelError: resumed runs do not give the model's own logits.
    """
    by_text: dict[int, list[tuple[int, int, Firing]]] = defaultdict(list)
    for number, pair in enumerate(pairs):
        for place, firing in enumerate(pair.firings):
            by_text[firing.text_id].append((number, place, firing))
    values = [np.zeros((len(pair.firings), len(MEASURES))) for pair in pairs]
    # The longest first: its check holds for all.
    length = {text_id: 1 + max(firing.position for _, _, firing in jobs) for text_id, jobs in by_text.items()}
    text_run: TextRun | None = None
    for text_id in sorted(by_text, key=lambda text_id: (-length[text_id], text_id)):
        ids = torch.tensor(texts[text_id][: length[text_id]], device=model.device)
        text_run = TextRun(model, ids, None if text_run is None else text_run.cached)
        progress(1)
        for number, place, firing in by_text[text_id]:
            values[number][place] = _measure(text_run, pairs[number], firing.position, activation_mean)
            progress(1)
    return [PairEffect(pair, pair_values) for pair, pair_values in zip(pairs, values, strict=True)]


class _HeldLayer(DynamicLayer):
    """One layer's keys and values of a position and those before it, whatever is computed anew."""

    def __init__(self, keys: Tensor, values: Tensor) -> None:
        super().__init__()
        self.lazy_initialization(keys, values)
        # The library's masks expect the new position's own to come in `update`.
        self.keys, self.values, self._all = keys[..., :-1, :], values[..., :-1, :], (keys, values)

    def update(self, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
        return self._all


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
        if layer == self.model.n_layers:
            return self.run.residual[layer, position] + change
        if self._cache is not None:
            residual = (self.run.residual[layer, position] + change)[None, None]
            if held:
                prefix = DynamicCache()
                whole = first_tokens(self._cache, position + 1)
                prefix.layers = [_HeldLayer(each.keys, each.values) for each in whole.layers]
            else:
                prefix = first_tokens(self._cache, position) if position else None
            tokens = Tokens(self.ids[position : position + 1], prefix)
        else:
            residual = self.run.residual[layer, : position + 1].clone()[None]
            residual[0, -1] += change
            tokens = Tokens(self.ids[: position + 1])
        return self.model.resume(layer, residual, tokens)[0]

    def _exact(self) -> bool:
        layer, last = self.model.n_layers // 2, len(self.ids) - 1
        try:
            logits = self.model.logits(self.resume(layer, last, torch.zeros_like(self.run.residual[0, 0]))[None])[0]
        except Exception as error:  # Libraries raise any exception for unsupported operations.
            if is_out_of_memory(error):
                raise
            return False
        return bool((logits - self.run.logits).norm() <= _SAME * self.run.logits.norm())


def _measure(
    text: TextRun, pair: ChosenPair, position: int, activation_mean: Float[np.ndarray, " neuron"]
) -> list[float]:
    model, d_mlp = text.model, text.model.model.d_mlp
    layer, index = divmod(pair.neuron_id, d_mlp)
    activation = float(text.run.activations[layer, position, index])
    excess = activation - float(activation_mean[pair.neuron_id])
    change = written(model, text.run, layer, index, position, -excess)
    final = torch.stack([text.run.residual[-1, position], text.resume(layer + 1, position, change)])
    logits = model.logits(final)
    probability = logits.softmax(-1)[:, pair.token_id]
    own = logits[:, pair.token_id]
    rank = 1 + (logits > own[:, None]).sum(-1)
    centred = own - logits.mean(-1)
    before, after = zip(probability.tolist(), rank.tolist(), centred.tolist(), strict=True)
    direct = excess * pair.congruence * _scale(model, text.run, layer, position) * model.scale
    return [
        activation,
        before[0],
        after[0] - before[0],
        before[1],
        after[1] - before[1],
        after[2] - before[2],
        direct,
    ]


def written(
    model: StudyModel, run: RecordedRun, layer: int, index: int, position: int, by: float
) -> Float[Tensor, " d_model"]:
    """A block's output if a neuron's activation changes by `by`."""
    block, factor = model.blocks[layer], model.factors[layer].mlp
    change = by * model.model.layers[layer].w_out[index].to(model.device)
    if block.post_norm is None:
        return factor * change
    projected = run.projected[layer, position]
    both = block.post_norm(torch.stack([projected, projected + change]))
    return factor * (both[1] - both[0])


def _scale(model: StudyModel, run: RecordedRun, layer: int, position: int) -> float:
    """The factor of the norms between a neuron and the logits at a position, without their gains: the final norm's, and
    that of the norm behind the MLP where there is one."""
    final, block = run.residual[-1, position], model.blocks[layer]
    scale = hold(model.norm, model.model.final_gain, final, model.model.layer_norm).scale
    if block.post_norm is None or block.post_gain is None:
        return scale
    return scale * hold(block.post_norm, block.post_gain, run.projected[layer, position], model.model.layer_norm).scale
