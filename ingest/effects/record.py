"""Measure effects on an atlas's model and record them in the atlas."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
from rich.console import Console

from atlas.core.db import Atlas, open_atlas
from atlas.core.stats import number_or_none
from ingest.effects.choose import ChosenPair, choose_pairs
from ingest.effects.measure import MEASURES, PairEffect, measure_effects
from ingest.errors import StudyError
from ingest.file.append import check_extendable, extend_atlas
from ingest.process.device import choose_device
from ingest.process.progress import Phases
from ingest.study.record import load_own_model
from ingest.study.study_model import StudyModel

_INTERVALS = ("probability_change", "rank_change", "logit_change")


@dataclass(frozen=True)
class EffectsRequest:
    """The options of `atlas effects` (its help explains each)."""

    file: Path
    pairs: int
    positions: int
    budget: int
    model: str | None
    revision: str | None
    device: str
    out: Path | None
    seed: int
    force: bool


@dataclass(frozen=True)
class EffectsReport:
    """The results of a run."""

    out: Path
    build_id: str
    n_pairs: int
    n_left_out: int
    """Pairs that the budget did not reach."""
    forward_passes: int
    seconds: dict[str, float]


def record_effects(request: EffectsRequest, console: Console) -> EffectsReport:
    """Measure the atlas's best pairs and write them into it, in place of those measured before.

    Raises:
        StudyError: the model that was loaded is not the atlas's, or no pair can be measured.
        AtlasError: any of its kinds, for the file and the model. Nothing is written then.
    """
    check_extendable(request.file, request.out, force=request.force)
    device = choose_device(request.device)
    out = request.out or request.file
    with open_atlas(request.file) as atlas, Phases(console, device, out=out) as phases:
        with phases.phase("Choosing pairs"):
            pairs = choose_pairs(atlas, request.pairs, request.positions)
            chosen = within_budget(pairs, request.budget)
        if not chosen:
            raise StudyError(
                f"No pair of {request.file} can be measured with a budget of {request.budget} forward passes: "
                f"{len(pairs)} have stored texts in which their neuron fires. Raise --budget."
            )
        texts = _texts(atlas, chosen)
        means = np.asarray(
            atlas.arrays("SELECT activation_mean FROM neuron ORDER BY neuron_id")["activation_mean"], np.float64
        )
        with phases.phase("Loading model"):
            model = StudyModel(load_own_model(atlas.info, request.model, request.revision), device)
        done = 0

        def count(passes: int) -> None:
            nonlocal done
            done += passes
            advance(passes)

        with phases.phase("Ablation", total=planned_passes(chosen), unit="passes") as advance:
            effects = measure_effects(model, chosen, texts, means, count)
        with phases.phase("Writing"):
            rows = {"pair_effect": effect_rows(effects, request.seed)}
            build_id = extend_atlas(request.file, rows, out=request.out, without="TRUE")
    return EffectsReport(out, build_id, len(chosen), len(pairs) - len(chosen), done, phases.seconds)


def planned_passes(pairs: Sequence[ChosenPair]) -> int:
    """Forward passes for pairs: one a text, one a position."""
    texts = {firing.text_id for pair in pairs for firing in pair.firings}
    return len(texts) + sum(len(pair.firings) for pair in pairs)


def within_budget(pairs: Sequence[ChosenPair], budget: int) -> list[ChosenPair]:
    """The first pairs that take at most `budget` forward passes together."""
    chosen: list[ChosenPair] = []
    texts: set[int] = set()
    passes = 0
    for pair in pairs:
        new = {firing.text_id for firing in pair.firings} - texts
        passes += len(new) + len(pair.firings)
        if passes > budget:
            break
        texts |= new
        chosen.append(pair)
    return chosen


def effect_rows(effects: Sequence[PairEffect], seed: int) -> pa.Table:
    """Table `pair_effect`, in no order."""
    rows = []
    for effect in effects:
        pair = effect.pair
        row = {name: getattr(pair, name) for name in ("neuron_id", "token_id", "side", "chosen_by")}
        row |= {"n_positions": len(effect.values)}
        for measure, column in (("activation", "activation_mean"), ("probability", "probability")):
            row[column] = effect.mean(measure, seed)[0]
        row["rank_median"] = float(np.median(effect.values[:, MEASURES.index("rank")]))
        for measure in _INTERVALS:
            mean, low, high = effect.mean(measure, seed)
            row |= {measure: mean, f"{measure}_low": number_or_none(low), f"{measure}_high": number_or_none(high)}
        row["direct_effect"] = effect.mean("direct_effect", seed)[0]
        rows.append(row)
    return pa.Table.from_pylist(rows)


def _texts(atlas: Atlas, pairs: Sequence[ChosenPair]) -> dict[int, list[int]]:
    text_ids = sorted({firing.text_id for pair in pairs for firing in pair.firings})
    ids = ", ".join(map(str, text_ids))
    return dict(atlas.rows(f'SELECT text_id, token_ids FROM "text" WHERE text_id IN ({ids})'))
