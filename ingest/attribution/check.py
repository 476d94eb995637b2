"""The check of attributions: single neurons, at single positions, mean-ablated exactly."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from ingest.attribution.sums import counted_positions
from ingest.process.arrow import Columns
from ingest.study.gradients import GradientRun
from ingest.study.study_model import StudyModel
from ingest.study.text_run import TextRun, written
from ingest.texts.tokens import Text


@dataclass(frozen=True)
class Estimate:
    """The attribution of a neuron at a position of a text, for the token predicted there."""

    text: Text
    position: int
    neuron_id: int
    token_id: int
    value: float


def draw_estimates(
    model: StudyModel,
    texts: Sequence[Text],
    activation_mean: Float[np.ndarray, " neuron"],
    first_position: int,
    n: int,
    seed: int = 0,
) -> list[Estimate]:
    """Attributions to check: half of them each the strongest of its position, half of any neuron, positions at random.

    A neuron is drawn once at a position; where positions are too few there are fewer than `n`.
    """
    rng, d_mlp = np.random.default_rng(seed), model.model.d_mlp
    mean = torch.as_tensor(activation_mean, dtype=torch.float32, device=model.device).view(model.n_layers, d_mlp)
    strongest: list[Estimate] = []
    drawn: list[Estimate] = []
    for text in texts:
        ids = torch.as_tensor(text.token_ids.astype(np.int64), device=model.device)[None]
        lengths = torch.tensor([len(text)], device=model.device)
        run = GradientRun(model, ids, counted_positions(ids, lengths, first_position))
        n_rows = len(run.token)
        if not n_rows:
            continue
        best = torch.zeros(n_rows, device=model.device)
        best_neuron = torch.zeros(n_rows, dtype=torch.int64, device=model.device)
        random = torch.as_tensor(rng.integers(model.n_layers * d_mlp, size=n_rows), device=model.device)
        value = torch.zeros(n_rows, device=model.device)

        def look(layer: int, activations: Tensor, gradient: Tensor) -> None:
            attribution = (activations - mean[layer]) * gradient
            size, index = attribution.abs().max(1)
            signed = attribution.gather(1, index[:, None])[:, 0]
            stronger = size > best.abs()  # noqa: B023
            best[stronger] = signed[stronger]  # noqa: B023
            best_neuron[stronger] = index[stronger] + layer * d_mlp  # noqa: B023
            here = (random // d_mlp == layer).nonzero()[:, 0]  # noqa: B023
            value[here] = attribution[here, random[here] % d_mlp]  # noqa: B023

        run.backward(look)
        for row in range(n_rows):
            place = text, row + first_position
            token = int(run.token[row])
            strongest.append(Estimate(*place, int(best_neuron[row]), token, float(best[row])))
            drawn.append(Estimate(*place, int(random[row]), token, float(value[row])))
    chosen: dict[tuple[int, int, int], Estimate] = {}
    for kind, size in ((strongest, n - n // 2), (drawn, n // 2)):
        for place in rng.permutation(len(kind))[:size].tolist():
            estimate = kind[place]
            chosen[estimate.text.text_id, estimate.position, estimate.neuron_id] = estimate
    return list(chosen.values())


@torch.inference_mode()
def check_rows(
    model: StudyModel,
    estimates: Sequence[Estimate],
    activation_mean: Float[np.ndarray, " neuron"],
    progress: Callable[[int], object] = lambda _: None,
) -> Columns:
    """Table `attribution_check`: each estimate beside the fall of the score when the neuron is set to its mean there.

    Raises:
        ModelError: resumed runs do not give the model's own logits.
    """
    by_text: dict[int, list[Estimate]] = defaultdict(list)
    for estimate in estimates:
        by_text[estimate.text.text_id].append(estimate)
    rows: list[tuple] = []
    cached: bool | None = None
    # The longest first: its trial holds for all.
    for text_id in sorted(by_text, key=lambda key: (-len(by_text[key][0].text), key)):
        ids = torch.as_tensor(by_text[text_id][0].text.token_ids.astype(np.int64), device=model.device)
        run = TextRun(model, ids, cached)
        cached = run.cached
        for item in by_text[text_id]:
            rows.append(
                (item.neuron_id, item.token_id, text_id, item.position, item.value, *_falls(run, item, activation_mean))
            )
            progress(1)
    rows.sort()
    ids = [np.array([row[place] for row in rows], np.int64) for place in range(4)]
    estimate, exact, whole = (np.array([row[place] for row in rows], np.float64) for place in range(4, 7))
    return {
        **dict(zip(("neuron_id", "token_id", "text_id", "position"), ids, strict=True)),
        "estimate": estimate,
        "exact": np.ma.masked_invalid(exact),
        "exact_full": whole,
    }


def _falls(run: TextRun, item: Estimate, activation_mean: Float[np.ndarray, " neuron"]) -> tuple[float, float]:
    """Fall of the score with the position's keys and values held (NaN: the model has no cache to hold them in), and in
    the whole model."""
    model = run.model
    layer, index = divmod(item.neuron_id, model.model.d_mlp)
    excess = float(run.run.activations[layer, item.position, index]) - float(activation_mean[item.neuron_id])
    change = written(model, run.run, layer, index, item.position, -excess)
    finals = [run.run.residual[-1, item.position], run.resume(layer + 1, item.position, change)]
    if run.cached:
        finals.append(run.resume(layer + 1, item.position, change, held=True))
    token = torch.full((len(finals),), item.token_id, device=model.device)
    before, whole, *held = model.score(torch.stack(finals), token).double().tolist()
    return (before - held[0] if held else np.nan), before - whole
