"""Mean ablation of one neuron at one position, and the model's prediction there without it.

A text is run once, up to its last position of interest, and its cache serves every ablation in it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float

from ingest.effects.choose import ChosenPair, Firing
from ingest.study.blocks import RecordedRun
from ingest.study.bootstrap import means
from ingest.study.norms import hold
from ingest.study.study_model import StudyModel
from ingest.study.text_run import TextRun, written

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


def _scale(model: StudyModel, run: RecordedRun, layer: int, position: int) -> float:
    """The factor of the norms between a neuron and the logits at a position, without their gains: the final norm's, and
    that of the norm behind the MLP where there is one."""
    final, block = run.residual[-1, position], model.blocks[layer]
    scale = hold(model.norm, model.model.final_gain, final, model.model.layer_norm).scale
    if block.post_norm is None or block.post_gain is None:
        return scale
    return scale * hold(block.post_norm, block.post_gain, run.projected[layer, position], model.model.layer_norm).scale
