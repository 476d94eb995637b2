"""The engine of a study: the post's experiments on one pair or many."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache

import numpy as np
import torch
from jaxtyping import Float

from ingest.errors import StudyError
from ingest.model.load import LoadedModel
from ingest.study.ablation import ablate
from ingest.study.lens import direct_effects, logit_lens
from ingest.study.options import StudyOptions, best_layers, find_neurons
from ingest.study.patching import patch_neurons, patch_sites
from ingest.study.prompts import PromptPair, TokenPair, tokenise_pair
from ingest.study.result import Predictions, StudyResult, describe_pair
from ingest.study.runs import Batches, PairRuns, Progress
from ingest.study.steps import Measured, steps_of
from ingest.study.study_model import StudyModel

_LAYERS = 4


def run_study(
    model: LoadedModel | StudyModel,
    pairs: Sequence[PromptPair],
    options: StudyOptions,
    *,
    activation_mean: Float[np.ndarray, " neuron"],
    device: torch.device | None = None,
    progress: Progress | None = None,
) -> StudyResult:
    """Run every experiment.

    Args:
        model: its bridge is taken apart. A StudyModel serves any number of studies.
        activation_mean: each neuron's mean activation over the atlas's data, used by 'mean' ablation.
        device: where to run, in float32; the CPU when left out. A StudyModel has its own.
        progress: called with the number of forward passes done, of about `planned_passes`.

    Raises:
        StudyError: impossible pairs or options (see `tokenise_pair`, `StudyOptions`); names the pair.
        ModelError: the architecture cannot be studied.
    """
    if not isinstance(model, StudyModel):
        tokens, layers = _prepare(model, pairs, options)
        model = StudyModel(model, device or torch.device("cpu"))
    else:
        tokens, layers = _prepare(model.model, pairs, options)
    neurons = model.n_layers * model.model.d_mlp
    if activation_mean.shape != (neurons,):
        raise StudyError(f"Mean activations have the shape {activation_mean.shape}, expected ({neurons},).")
    return _Study(model, tokens, options, activation_mean, progress or (lambda _: None)).run(layers)


def planned_passes(model: LoadedModel, pairs: Sequence[PromptPair], options: StudyOptions) -> int:
    """Forward passes a study will take at most: for a progress bar.

    Raises:
        StudyError: as `run_study`.
    """
    tokens, layers = _prepare(model, pairs, options)
    n_layers = len(model.layers)
    chosen = min(_LAYERS, n_layers) if layers is None else len(layers)
    sites = sum(3 * n_layers * (len(pair) - pair.first_difference) for pair in tokens)
    return sites + len(tokens) * (chosen * model.d_mlp + 3 * (options.found + 1))


def _prepare(
    model: LoadedModel, pairs: Sequence[PromptPair], options: StudyOptions
) -> tuple[list[TokenPair], tuple[int, ...] | None]:
    layers = options.chosen(len(model.layers))
    if not pairs:
        raise StudyError("There is no prompt pair: a study needs at least one.")
    tokens = []
    for number, pair in enumerate(pairs):
        with _named(number, len(pairs)):
            tokens.append(tokenise_pair(model, pair))
    return tokens, layers


class _Study:
    """A study in progress. Recorded runs of a pair are kept until those of another pair are needed."""

    def __init__(
        self,
        model: StudyModel,
        tokens: list[TokenPair],
        options: StudyOptions,
        activation_mean: Float[np.ndarray, " neuron"],
        progress: Progress,
    ) -> None:
        self.model, self.tokens, self.options, self.activation_mean = model, tokens, options, activation_mean
        self._progress, self._phase = progress, ""
        self.passes: dict[str, int] = defaultdict(int)
        self.seconds: dict[str, float] = {}
        self.batches = Batches(options.batch_size, self._advance)
        self._runs: Callable[[int], PairRuns] = lru_cache(maxsize=1)(self._record)

    def run(self, layers: tuple[int, ...] | None) -> StudyResult:
        predictions, prompts, measured = Predictions(), [], []
        for number, tokens in enumerate(self.tokens):
            with self._timed("runs"):
                runs = self._runs(number)
                prompts.append(describe_pair(runs))
                predictions.add(number, runs)
                lens = logit_lens(self.model, runs.clean, tokens)
            with self._timed("direct effects"):
                effects = {
                    side: direct_effects(self.model, run, tokens)
                    for side, run in (("clean", runs.clean), ("corrupt", runs.corrupt))
                }
            with self._timed("patching"):
                measured.append(Measured(tokens, lens, effects, patch_sites(runs, self.batches)))
        if layers is None:
            layers = best_layers(np.mean([pair.sites["mlp_out"][:, -1] for pair in measured], axis=0, dtype=np.float64))
        for number, pair in enumerate(measured):
            with self._timed("neuron patching"):
                pair.neurons = np.stack([patch_neurons(self._runs(number), layer, self.batches) for layer in layers])
        neuron_ids = self._find(layers, measured)
        for number, pair in enumerate(measured):
            with self._timed("ablation"):
                pair.ablation = ablate(self._runs(number), neuron_ids, self.activation_mean, self.batches)
        from_end = len({len(tokens) for tokens in self.tokens}) > 1
        with self._timed("tables"):
            steps = steps_of(measured, self.model.model.d_mlp, layers, neuron_ids, from_end, self.options)
        return StudyResult(
            prompts=prompts,
            predictions=predictions.columns,
            steps=steps,
            patched_layers=list(layers),
            found_neuron_ids=neuron_ids,
            from_end=from_end,
            forward_passes=dict(self.passes),
            seconds=self.seconds,
        )

    def _find(self, layers: tuple[int, ...], measured: list[Measured]) -> list[int]:
        recovery = np.mean([pair.neurons for pair in measured], axis=0, dtype=np.float64).ravel()
        d_mlp = self.model.model.d_mlp
        places = find_neurons(recovery, self.options.found)
        return [layers[place // d_mlp] * d_mlp + place % d_mlp for place in places]

    def _record(self, number: int) -> PairRuns:
        with _named(number, len(self.tokens)):
            return PairRuns(self.model, self.tokens[number])

    def _advance(self, passes: int) -> None:
        self.passes[self._phase] += passes
        self._progress(passes)

    @contextmanager
    def _timed(self, phase: str) -> Iterator[None]:
        self._phase, started = phase, time.perf_counter()
        yield
        self.seconds[phase] = self.seconds.get(phase, 0.0) + time.perf_counter() - started


@contextmanager
def _named(number: int, n_pairs: int) -> Iterator[None]:
    """Name the pair of a suite in an error."""
    try:
        yield
    except StudyError as error:
        if n_pairs == 1:
            raise
        raise StudyError(f"Pair {number} (from 0): {error}") from error
