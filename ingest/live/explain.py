"""Why the model says a token after a text: every neuron's attribution, by one forward and one backward pass."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property, lru_cache
from itertools import groupby

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from atlas.topics.live import AblatedNeuron, ExplainWanted, Explanation, NeuronShare, Predicted, ToldPosition
from ingest.errors import StudyError
from ingest.live.texts import Texts
from ingest.study.gradients import GradientRun
from ingest.study.lens import reads_along
from ingest.study.prompts import one_token
from ingest.study.study_model import StudyModel
from ingest.study.text_run import TextRun, written

_TOP = 10
"""Tokens that are listed."""

_EACH = 3
"""Neurons listed for each position of the text."""


@lru_cache(maxsize=4)
def read_means(path: str) -> Float[Tensor, "layer d_mlp"]:
    """Mean activations over an atlas's data, from the site's file."""
    return torch.from_numpy(np.load(path))


def explain(model: StudyModel, texts: Texts, wanted: ExplainWanted) -> Explanation:
    """The neurons that support and oppose a token after a text, and those behind each position's prediction."""
    ids, has_bos = texts.read(wanted.text)
    token, against = (
        None if text is None else one_token(model.model, name, text, wanted.text, ids[has_bos:])
        for name, text in (("token", wanted.token), ("other token", wanted.against))
    )
    attributed = _Attributed(model, ids, has_bos, token, against, read_means(wanted.means))
    lists = {
        "supports": attributed.first(attributed.attribution, wanted.most),
        "opposes": attributed.first(-attributed.attribution, wanted.most),
        "direct": attributed.first(attributed.direct.abs(), max(1, wanted.most // 2)),
    }
    without = _Without(attributed)
    exact = without.falls(sorted({neuron for neurons in lists.values() for neuron in neurons}))
    listed = {attributed.token} | ({against} if against is not None else set())
    return Explanation(
        token_ids=ids,
        has_bos=has_bos,
        predictions=_predictions(attributed.logits, listed),
        token_id=attributed.token,
        against_id=against,
        value=attributed.value,
        positions=attributed.positions(),
        ablated=None if wanted.neuron is None else without.neuron(wanted.neuron),
        **{name: tuple(attributed.share(n, exact[n]) for n in neurons) for name, neurons in lists.items()},
    )


class _Attributed:
    """Attributions of every neuron at the last position, and the strongest of each position.

    Args:
        token: the token after the text; None: the predicted one.
        against: the token whose logit is subtracted; None: the mean over the vocabulary is subtracted.
    """

    def __init__(
        self,
        model: StudyModel,
        ids: tuple[int, ...],
        has_bos: bool,
        token: int | None,
        against: int | None,
        mean: Float[Tensor, "layer d_mlp"],
    ) -> None:
        self.model, self.first_position, self.mean, self.against = model, int(has_bos), mean, against
        self.ids = torch.tensor(ids, device=model.device)
        counted = torch.arange(len(ids), device=model.device)[None] >= self.first_position
        self._run = GradientRun(model, self.ids[None], counted)
        self.predicted = self._run.token
        self.token = int(self.predicted[-1]) if token is None else token
        if self.token == against:
            raise StudyError("The token and the one it is weighed against are the same: give two, or leave one out.")
        logits = model.logits(self._run.final.detach())
        self.logits, self.probability = logits[-1], logits.softmax(-1).max(-1).values
        self.value = float(self.scores(self._run.final[-1:].detach()))
        self.attribution, self.activations = torch.zeros_like(mean), torch.zeros_like(mean)
        self._best: list[tuple[Tensor, Tensor]] = []
        self._run.backward(self._look, self.scores)

    def scores(self, final: Float[Tensor, "row d_model"]) -> Float[Tensor, " row"]:
        """Of each row the predicted token's logit above the mean over the vocabulary; of the last row the token's."""
        token = self.predicted[-len(final) :].clone()
        token[-1] = self.token
        scores = self.model.score(final, token)
        if self.against is None:
            return scores
        return torch.cat([scores[:-1], self.model.difference(final[-1:], self.token, self.against)])

    def _look(self, layer: int, activations: Float[Tensor, "row d_mlp"], gradient: Float[Tensor, "row d_mlp"]) -> None:
        attribution = (activations - self.mean[layer].to(activations.device)) * gradient
        self.attribution[layer], self.activations[layer] = attribution[-1], activations[-1]
        place = attribution.abs().topk(min(_EACH, attribution.shape[1]), dim=1).indices
        self._best.append((attribution.gather(1, place), place + layer * attribution.shape[1]))

    @cached_property
    def direct(self) -> Float[Tensor, "layer d_mlp"]:
        """The direct parts."""
        direction, _ = self.model.direction(self.token, self.against)
        projected = [of_rows[-1] for of_rows in self._run.projected]
        reads = reads_along(self.model, direction, self._run.final[-1].detach(), projected)
        return (self.activations - self.mean) * reads

    def first(self, key: Float[Tensor, "layer d_mlp"], most: int) -> list[int]:
        """The neurons of greatest key, above 0; equal: the lower neuron first."""
        keys = key.flatten().numpy()
        return [n for n in np.argsort(-keys, kind="stable")[:most].tolist() if keys[n] > 0]

    def share(self, neuron_id: int, exact: float) -> NeuronShare:
        """A neuron's numbers."""
        place = divmod(neuron_id, self.model.model.d_mlp)
        values = (float(values[place]) for values in (self.activations, self.attribution, self.direct))
        return NeuronShare(neuron_id, *values, exact)

    def positions(self) -> tuple[ToldPosition, ...]:
        """What is predicted at each position, and the neurons of greatest |attribution| there."""
        values, neurons = (torch.cat(parts, dim=1) for parts in zip(*self._best, strict=True))
        told = []
        for row, (token, probability) in enumerate(
            zip(self.predicted.tolist(), self.probability.tolist(), strict=True)
        ):
            # By neuron, then by size: equal sizes keep the lower neuron first.
            each = sorted(zip(values[row].tolist(), neurons[row].tolist(), strict=True), key=lambda item: item[1])
            each.sort(key=lambda item: -abs(item[0]))
            shares = tuple((neuron, value) for value, neuron in each[:_EACH])
            told.append(ToldPosition(row + self.first_position, token, probability, shares))
        return tuple(told)


def _predictions(logits: Float[Tensor, " d_vocab"], listed: set[int]) -> tuple[Predicted, ...]:
    """The ten best tokens and the listed ones, by rank."""
    probabilities = logits.softmax(-1).cpu().numpy()
    values = logits.cpu().numpy()
    order = np.argsort(-values, kind="stable")
    rank = np.empty(len(order), np.int64)
    rank[order] = np.arange(1, len(order) + 1)
    return tuple(
        Predicted(number, int(rank[number]), float(values[number]), float(probabilities[number]))
        for number in sorted({*order[:_TOP].tolist(), *listed}, key=lambda number: rank[number])
    )


class _Without:
    """Neurons set to their means at the last position, exactly."""

    def __init__(self, attributed: _Attributed) -> None:
        self._attributed, self._model = attributed, attributed.model
        self._last = len(attributed.ids) - 1
        self._text = TextRun(self._model, attributed.ids, None)

    @torch.inference_mode()
    def falls(self, neuron_ids: Sequence[int]) -> dict[int, float]:
        """How far the explained value falls without each neuron, in the whole model."""
        falls: dict[int, float] = {}
        for layer, neurons in groupby(neuron_ids, key=lambda neuron: neuron // self._model.model.d_mlp):
            together = list(neurons)
            changes = torch.stack([self._change(neuron) for neuron in together])
            finals = self._text.resume_each(layer + 1, self._last, changes)
            for neuron, final in zip(together, finals, strict=True):
                falls[neuron] = self._fall(final)
        return falls

    @torch.inference_mode()
    def neuron(self, neuron_id: int) -> AblatedNeuron:
        """What becomes of the token without one neuron."""
        attributed, (layer, index) = self._attributed, divmod(neuron_id, self._model.model.d_mlp)
        change = self._change(neuron_id)
        whole = self._text.resume(layer + 1, self._last, change)
        held = self._text.resume(layer + 1, self._last, change, held=True) if self._text.cached else None
        logits = self._model.logits(whole[None])[0]
        probabilities, top = logits.softmax(-1), int(logits.argmax())
        return AblatedNeuron(
            neuron_id=neuron_id,
            activation=float(attributed.activations[layer, index]),
            mean=float(attributed.mean[layer, index]),
            attribution=float(attributed.attribution[layer, index]),
            exact=None if held is None else self._fall(held),
            exact_full=self._fall(whole),
            probability=float(attributed.logits.softmax(-1)[attributed.token]),
            probability_after=float(probabilities[attributed.token]),
            top_id=top,
            top_probability=float(probabilities[top]),
        )

    def _change(self, neuron_id: int) -> Float[Tensor, " d_model"]:
        layer, index = divmod(neuron_id, self._model.model.d_mlp)
        excess = float(self._attributed.activations[layer, index] - self._attributed.mean[layer, index])
        return written(self._model, self._text.run, layer, index, self._last, -excess)

    def _fall(self, final: Float[Tensor, " d_model"]) -> float:
        return self._attributed.value - float(self._attributed.scores(final[None]))
