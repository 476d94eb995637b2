"""A neuron among the others: percentiles of its numbers, its rank in its layer, its neighbours.

Every numeric column of `neuron` is read once and kept sorted, by model and by layer (35 MB for GPT-2 Large, which the
processes of a site share), so that a page's two dozen percentiles are binary searches.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from atlas.core.call import OF_NEURON, call
from atlas.core.db import Atlas
from atlas.core.parameter import NeuronId
from atlas.core.statements import Statement, literal, wrapped
from atlas.core.term import BEST_PAIR, Term
from atlas.core.units import NeuronRef, neuron_ref
from atlas.topics.neuron import Neuron, find_neuron
from atlas.topics.neuron_columns import COLUMN, COLUMNS, column_names


@dataclass(frozen=True)
class Percentile:
    """Percentiles of a number: the fractions, 0 to 1, of the layer's and of the model's neurons with a lower value."""

    layer: float
    model: float


@dataclass(frozen=True)
class Neighbours:
    """Neighbours of a neuron. `above` and `below` have the same rank by best congruence in the next and the previous
    layer; None at either end of the model."""

    previous: NeuronRef | None
    following: NeuronRef | None
    rank: int
    below: NeuronRef | None
    above: NeuronRef | None


PERCENTILE_COLUMNS = column_names(COLUMNS, numbers=True)
"""Columns of `neuron` that have percentiles."""

PLACE = Statement("""SELECT name AS neuron, best_congruence, rank
FROM (
    SELECT neuron_id, name, best_congruence,
           row_number() OVER (PARTITION BY layer ORDER BY best_congruence DESC, neuron_id) AS rank
    FROM neuron
)
WHERE neuron_id = $neuron_id""")
"""A neuron's rank in its layer, as `neighbours` has it."""

_STANDING = """WITH number AS (
    UNPIVOT (
        SELECT neuron_id, name AS neuron, layer,
               {columns}
        FROM neuron
    )
    ON COLUMNS(* EXCLUDE (neuron_id, neuron, layer))
    INTO NAME number VALUE value
)
SELECT one.neuron, one.number, one.value,
       count(*) FILTER (other.layer = one.layer AND other.value < one.value)
           / count(*) FILTER (other.layer = one.layer) AS lower_in_layer,
       count(*) FILTER (other.value < one.value) / count(*) AS lower_in_model
FROM number AS one JOIN number AS other USING (number)
WHERE one.neuron_id IN (SELECT unnest($neuron_ids)){noise}
GROUP BY one.neuron_id, one.neuron, one.number, one.value
ORDER BY list_position([
    {names}
], one.number), list_position($neuron_ids, one.neuron_id)"""


def standing(columns: Sequence[str] = PERCENTILE_COLUMNS) -> Statement:
    """Numbers of neurons (`$neuron_ids`), and the fractions of the layer's and of the model's neurons whose number is
    lower: the SQL of `percentiles`."""
    return Statement(
        _STANDING.format(
            # UNPIVOT wants values of one type.
            columns=wrapped((f"{name}::DOUBLE AS {name}" for name in columns), 15),
            names=wrapped(map(literal, columns), 4),
            # Rounding errors of a number that is 0.
            noise="".join(
                f"\n  AND NOT (one.number = {literal(name)} AND abs(one.value) < {COLUMN[name].noise})"
                for name in columns
                if COLUMN[name].noise
            ),
        )
    )


@dataclass(frozen=True)
class _Sorted:
    """One column: its values sorted over the model, [n], and by layer, [layer][n]; NULLs left out."""

    model: np.ndarray
    layers: tuple[np.ndarray, ...]

    def of(self, layer: int, value: float) -> Percentile:
        return Percentile(_below(self.layers[layer], value), _below(self.model, value))


def _below(values: np.ndarray, value: float) -> float:
    return float(np.searchsorted(values, np.asarray(value, values.dtype), side="left") / len(values))


@dataclass(frozen=True)
class _Standing:
    """All columns sorted, and each layer's neurons by rank: `order[layer, rank]` and `rank[layer, index]`, from 0."""

    columns: dict[str, _Sorted]
    order: np.ndarray
    rank: np.ndarray


def _pieces(atlas: Atlas) -> Iterator[tuple[str, np.ndarray]]:
    """For each column with values: the sorted values; those sorted by layer, concatenated; each layer's start."""
    shape = (atlas.info.n_layers, atlas.info.d_mlp)
    for name in PERCENTILE_COLUMNS:
        values = atlas.arrays(f'SELECT "{name}" FROM neuron ORDER BY neuron_id')[name]
        known, plain = ~np.ma.getmaskarray(values), np.ma.getdata(values)
        if known.any():
            known, plain = known.reshape(shape), plain.reshape(shape)
            yield f"model {name}", np.sort(plain[known])
            yield f"first {name}", np.concatenate(([0], np.cumsum(known.sum(axis=1))))
            for row, mask in zip(plain, known, strict=True):
                yield f"layers {name}", np.sort(row[mask])
    # A stable sort of the negated values keeps equal ones in order of index: the atlas's rule for ties.
    best = atlas.arrays("SELECT best_congruence FROM neuron ORDER BY neuron_id")["best_congruence"]
    order = np.argsort(-np.asarray(best).reshape(shape), axis=1, kind="stable").astype(np.int32)
    yield "order", order.ravel()
    yield "rank", np.argsort(order, axis=1).astype(np.int32).ravel()


def _read(atlas: Atlas) -> _Standing:
    shape = (atlas.info.n_layers, atlas.info.d_mlp)
    arrays = atlas.shared("sorted columns", lambda: _pieces(atlas))
    columns = {}
    for name in PERCENTILE_COLUMNS:
        if f"model {name}" in arrays:
            layers = np.split(arrays[f"layers {name}"], arrays[f"first {name}"][1:-1])
            columns[name] = _Sorted(arrays[f"model {name}"], tuple(layers))
    return _Standing(columns, arrays["order"].reshape(shape), arrays["rank"].reshape(shape))


def _standing(atlas: Atlas) -> _Standing:
    return atlas.remembered_large("standing", lambda: _read(atlas))


def percentiles(atlas: Atlas, neuron: Neuron) -> dict[str, Percentile]:
    """The fractions of the layer's and of the model's neurons with a lower value, by column.

    Columns that are NULL or rounding noise for this neuron are left out; neurons whose value is NULL are not counted.
    """
    columns = _standing(atlas).columns
    values = {name: getattr(neuron, name) for name in PERCENTILE_COLUMNS}
    return {
        name: columns[name].of(neuron.layer, value)
        for name, value in values.items()
        if value is not None and not COLUMN[name].is_noise(value)
    }


@call(OF_NEURON + "/percentiles", name="percentiles", python='demo.neuron("{neuron}").percentiles')
def neuron_percentiles(atlas: Atlas, neuron_id: NeuronId) -> dict[str, Percentile]:
    """The fractions of the layer's and of the model's neurons with a lower value, by column of the table `neuron`."""
    return percentiles(atlas, find_neuron(atlas, neuron_id))


@call(OF_NEURON + "/neighbours", python='demo.neuron("{neuron}").neighbours()')
def neighbours(atlas: Atlas, neuron_id: NeuronId) -> Neighbours:
    """The neurons before and after a neuron, and those of its rank in the layers below and above."""
    info, standing = atlas.info, _standing(atlas)
    layer, index = divmod(neuron_id, info.d_mlp)
    rank = int(standing.rank[layer, index])

    def same_rank(other: int) -> int | None:
        return other * info.d_mlp + int(standing.order[other, rank]) if 0 <= other < info.n_layers else None

    ids = (
        neuron_id - 1 if neuron_id > 0 else None,
        neuron_id + 1 if neuron_id < info.n_neurons - 1 else None,
        same_rank(layer - 1),
        same_rank(layer + 1),
    )
    previous, following, below, above = (None if i is None else neuron_ref(atlas, i) for i in ids)
    return Neighbours(previous, following, rank + 1, below, above)


TERMS = (
    Term(
        "Percentile",
        "percentile",
        "For a neuron's number: the fraction of the model's (or its layer's) neurons whose number is lower. p99.9 of "
        "the token gap: one neuron in a thousand has one as large.",
        BEST_PAIR + "SELECT avg(CASE WHEN n.token_gap < chosen.token_gap THEN 1.0 ELSE 0.0 END) AS percentile\n"
        "FROM neuron AS n, (FROM neuron WHERE neuron_id = (SELECT neuron_id FROM best)) AS chosen",
    ),
)
