"""The neurons that a study patched one by one: those that stand out, and the distribution of all of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from atlas.core.db import Atlas
from atlas.core.statements import Statement
from atlas.core.stats import number_or_none, spearman
from atlas.core.units import neuron_ref
from atlas.topics.study.records import Agreement, EffectCell, RecoveryCell, Study, StudyNeuron, StudyNeurons

BARS = 60
"""Bars of the distribution of recovery."""

CELLS = (48, 36)
"""Columns and rows of the cells of direct share against recovery."""

_NUMBERS = ("recovery", "low", "high", "attribution", "direct_effect_clean", "direct_effect_corrupt")

PATCHED = Statement("""SELECT rank, neuron, recovery, low, high, attribution,
       direct_effect_clean, direct_effect_corrupt, found, best_token, neuron_id
FROM study_neuron
WHERE study = $study
ORDER BY rank
LIMIT $limit""")
"""The neurons that a study patched, greatest |recovery| first; all of them for a limit of None."""

ATTRIBUTION = Statement("""SELECT n.name AS neuron, s.value AS attribution, s.low, s.high, p.recovery, s.neuron_id
FROM study_step AS s
JOIN neuron AS n USING (neuron_id)
LEFT JOIN study_neuron AS p ON p.study = s.study AND p.neuron_id = s.neuron_id
WHERE s.study = $study AND s.kind = 'attribution'
ORDER BY abs(s.value) DESC, s.neuron_id
LIMIT $limit""")
"""The neurons of greatest |attribution|, with their recovery where they were patched."""

_ESTIMATED = Statement("""SELECT neuron_id, value FROM study_step WHERE study = $study AND kind = 'attribution'
ORDER BY neuron_id""")

DIRECT = Statement("""SELECT n.neuron, n.recovery,
       (n.direct_effect_clean - n.direct_effect_corrupt) / (s.clean_logit_diff - s.corrupt_logit_diff) AS direct_share
FROM study_neuron AS n JOIN study AS s ON s.name = n.study
WHERE n.study = $study
ORDER BY abs(direct_share) DESC NULLS LAST, n.neuron_id
LIMIT $limit""")
"""The neurons with the greatest direct share; `study_neurons` selects them among the patched ones in memory."""


def study_neurons(atlas: Atlas, study: Study, limit: int = 50) -> StudyNeurons:
    """The neurons that a study patched: the `limit` of greatest |recovery| and those that stood out, all in numbers."""
    columns, every, n_estimated = atlas.remembered(f"neurons of study {study.name}", lambda: _read(atlas, study))
    names = {neuron.neuron_id for neuron in study.found_neurons}
    n = len(columns["neuron_id"])

    def row(place: int) -> StudyNeuron:
        neuron_id = int(columns["neuron_id"][place])
        values: list[Any] = [number_or_none(columns[name][place]) for name in _NUMBERS]
        return StudyNeuron(neuron_ref(atlas, neuron_id), place + 1, *values, neuron_id in names)

    places = [place for place in range(n) if place < limit or int(columns["neuron_id"][place]) in names]
    shares = columns["share"]
    known = np.flatnonzero(np.isfinite(shares))
    direct = known[np.lexsort((columns["neuron_id"][known], -np.abs(shares[known])))][:limit]
    return StudyNeurons(
        n=n,
        top=tuple(row(place) for place in places),
        bars=_bars(every),
        direct=tuple(row(int(place)) for place in direct),
        cells=_cells(shares[known], columns["recovery"][known]),
        n_estimated=n_estimated,
        agreement=_agreement(columns, row),
    )


def _agreement(columns: dict[str, np.ndarray], row: Callable[[int], StudyNeuron]) -> Agreement | None:
    there = np.flatnonzero(np.isfinite(columns["attribution"]))
    if not len(there):
        return None
    estimate, exact = columns["attribution"][there], columns["recovery"][there]
    varied = estimate.std() > 0 and exact.std() > 0
    return Agreement(
        pearson=float(np.corrcoef(estimate, exact)[0, 1]) if varied else None,
        spearman=number_or_none(spearman([estimate], exact)[0]),
        worst=row(int(there[np.argmax(np.abs(estimate - exact))])),
        cells=_cells(estimate, exact),
    )


def direct_share(study: Study, clean: float | None, corrupt: float | None) -> float | None:
    """The share of the clean logit difference that a neuron's change restores by its direct path alone; None: not
    known."""
    difference = study.clean_logit_diff - study.corrupt_logit_diff
    return None if clean is None or corrupt is None or difference == 0 else (clean - corrupt) / difference


def _read(atlas: Atlas, study: Study) -> tuple[dict[str, np.ndarray], np.ndarray, int]:
    """Columns over the patched neurons, greatest |recovery| first (NaN where there is no value); the recovery of every
    neuron, patched or estimated; and the number of neurons with an estimate."""
    columns = PATCHED.arrays(atlas, study=study.name, limit=None)
    filled: dict[str, np.ndarray] = {"neuron_id": np.asarray(columns["neuron_id"], np.int64)}
    filled |= {name: np.ma.filled(np.ma.asarray(columns[name], np.float64), np.nan) for name in _NUMBERS}
    difference = study.clean_logit_diff - study.corrupt_logit_diff
    filled["share"] = (filled["direct_effect_clean"] - filled["direct_effect_corrupt"]) / (difference or np.nan)
    estimated = _ESTIMATED.arrays(atlas, study=study.name)
    elsewhere = ~np.isin(estimated["neuron_id"], filled["neuron_id"])
    every = np.concatenate([filled["recovery"], np.asarray(estimated["value"], np.float64)[elsewhere]])
    return filled, every, len(elsewhere)


def _edges(values: np.ndarray, n: int) -> np.ndarray:
    low, high = float(values.min()), float(values.max())
    return np.linspace(low, high, n + 1) if high > low else np.array([low - 0.5, high + 0.5])


def _bars(values: np.ndarray) -> tuple[RecoveryCell, ...]:
    if not len(values):
        return ()
    counts, edges = np.histogram(values, _edges(values, BARS))
    return tuple(
        RecoveryCell(float(low), float(high), int(n))
        for low, high, n in zip(edges[:-1], edges[1:], counts, strict=True)
        if n
    )


def _cells(x: np.ndarray, y: np.ndarray) -> tuple[EffectCell, ...]:
    if not len(x):
        return ()
    counts, xs, ys = np.histogram2d(x, y, (_edges(x, CELLS[0]), _edges(y, CELLS[1])))
    return tuple(
        EffectCell(float(xs[i]), float(xs[i + 1]), float(ys[j]), float(ys[j + 1]), int(counts[i, j]))
        for i, j in np.argwhere(counts).tolist()
    )
