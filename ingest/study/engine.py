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
from ingest.study.attribution import PASSES, attribute_neurons
from ingest.study.edges import CHECKED, check_edges, edges_between, estimate_edges, strongest
from ingest.study.lens import direct_effects, logit_lens
from ingest.study.options import StudyOptions, find_neurons
from ingest.study.patching import patch_neurons, patch_sites
from ingest.study.prompts import PromptPair, TokenPair, tokenise_pair
from ingest.study.result import Predictions, StudyResult, describe_pair
from ingest.study.runs import Batches, PairRuns, Progress
from ingest.study.steps import Chosen, Measured, edges_of, steps_of
from ingest.study.study_model import StudyModel


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
        tokens = _prepare(model, pairs)
        model = StudyModel(model, device or torch.device("cpu"))
    else:
        tokens = _prepare(model.model, pairs)
    neurons = model.n_layers * model.model.d_mlp
    if activation_mean.shape != (neurons,):
        raise StudyError(f"Mean activations have the shape {activation_mean.shape}, expected ({neurons},).")
    return _Study(model, tokens, options, activation_mean, progress or (lambda _: None)).run()


def planned_passes(model: LoadedModel, pairs: Sequence[PromptPair], options: StudyOptions) -> int:
    """Forward passes a study will take at most: for a progress bar.

    Raises:
        StudyError: as `run_study`.
    """
    tokens, n_layers = _prepare(model, pairs), len(model.layers)
    sites = sum(3 * n_layers * (len(pair) - pair.first_difference) for pair in tokens)
    patched = min(options.patched + len(options.layers) * model.d_mlp, n_layers * model.d_mlp)
    edges = PASSES + options.found + 2 * CHECKED
    return sites + len(tokens) * (PASSES + patched + 3 * (options.found + 1) + edges)


def _prepare(model: LoadedModel, pairs: Sequence[PromptPair]) -> list[TokenPair]:
    if not pairs:
        raise StudyError("There is no prompt pair: a study needs at least one.")
    tokens = []
    for number, pair in enumerate(pairs):
        with _named(number, len(pairs)):
            tokens.append(tokenise_pair(model, pair))
    return tokens


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

    def run(self) -> StudyResult:
        predictions, prompts, measured = Predictions(), [], []
        for number in range(len(self.tokens)):
            with self._timed("runs"):
                runs = self._runs(number)
                prompts.append(describe_pair(runs))
                predictions.add(number, runs)
            measured.append(self._measure(runs))
        chosen = self._patch(measured)
        for number, pair in enumerate(measured):
            with self._timed("ablation"):
                pair.ablation = ablate(self._runs(number), chosen.found, self.activation_mean, self.batches)
        with self._timed("edges"):
            edges = self._edges(chosen)
        from_end = len({len(tokens) for tokens in self.tokens}) > 1
        with self._timed("tables"):
            steps = steps_of(measured, self.model.model.d_mlp, chosen, from_end, self.options)
        return StudyResult(
            prompts=prompts,
            predictions=predictions.columns,
            steps=steps,
            edges=edges,
            patched_layers=sorted(set(self.options.layers)),
            found_neuron_ids=chosen.found,
            from_end=from_end,
            forward_passes=dict(self.passes),
            seconds=self.seconds,
        )

    def _measure(self, runs: PairRuns) -> Measured:
        """What the choice of neurons does not decide."""
        with self._timed("direct effects"):
            lens = logit_lens(self.model, runs.clean, runs.tokens)
            effects = {
                side: direct_effects(self.model, run, runs.tokens)
                for side, run in (("clean", runs.clean), ("corrupt", runs.corrupt))
            }
        with self._timed("patching"):
            sites = patch_sites(runs, self.batches)
        with self._timed("attribution"):
            attribution = attribute_neurons(runs, self.batches)
        return Measured(runs.tokens, lens, effects, sites, attribution)

    def _patch(self, measured: list[Measured]) -> Chosen:
        """Patch the neurons of greatest attribution, and find those that stand out."""
        recovery = np.mean([pair.attribution for pair in measured], axis=0, dtype=np.float64)
        ids = self.options.chosen(recovery, self.model.model.d_mlp)
        for number, pair in enumerate(measured):
            with self._timed("neuron patching"):
                pair.neurons = patch_neurons(self._runs(number), ids, self.batches)
        recovery[ids] = np.mean([pair.neurons for pair in measured], axis=0, dtype=np.float64)
        patched = np.isin(np.arange(len(recovery)), ids)
        return Chosen(ids, find_neurons(recovery, patched, self.options.found))

    def _edges(self, chosen: Chosen) -> dict[str, np.ndarray]:
        """Columns of `study_edge`: means over the pairs."""
        edges, pairs = edges_between(chosen.found, self.model.model.d_mlp), range(len(self.tokens))
        estimates = np.mean([estimate_edges(self._runs(number), edges, self.batches) for number in pairs], axis=0)
        checked = strongest(estimates)
        exact = np.ma.masked_all(len(edges), np.float32)
        if checked:
            some = [edges[place] for place in checked]
            exact[checked] = np.mean([check_edges(self._runs(number), some, self.batches) for number in pairs], axis=0)
        return edges_of(edges, estimates, exact)

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
