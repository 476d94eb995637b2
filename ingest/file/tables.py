"""Columns of each table from the results, in the table's order.

Tables that grow with the model come in batches of bounded size, so no table is in memory twice.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pyarrow as pa
import torch

from atlas.core.bins import N_BINS, bin_edges, bin_interval
from atlas.core.names import neuron_name
from ingest.congruence.pairs import CandidatePairs, ExclusivePairs, gap, hub_count
from ingest.congruence.result import Congruence, RankedList
from ingest.model.vocabulary import Vocabulary
from ingest.model.weights import LayerWeights
from ingest.process.arrow import Columns, nullable, slices, vectors, words

DIRECTIONS = ("bottom", "top")  # In the order of the tables' sort.


def _listed(lists: Sequence[RankedList]) -> Iterator[tuple[np.ndarray, ...]]:
    """Several ranked lists a row as columns (row, list, rank, id, value) in that order; empty places left out."""
    n, k = lists[0].ids.shape
    for rows in slices(n, len(lists) * k):
        ids = torch.stack([ranked.ids[rows] for ranked in lists], 1).cpu().numpy().astype(np.int32)
        values = torch.stack([ranked.values[rows] for ranked in lists], 1).cpu().numpy()
        row = np.arange(rows.start, rows.stop, dtype=np.int32)[:, None, None]
        number, rank = np.arange(len(lists), dtype=np.int8)[:, None], np.arange(1, k + 1, dtype=np.int16)
        filled = ids >= 0
        full = bool(filled.all())
        columns = (np.broadcast_to(column, ids.shape) for column in (row, number, rank, ids, values))
        yield tuple(column.ravel() if full else column[filled] for column in columns)


def ranked_rows(lists: dict[str, RankedList], row: str, item: str, value: str) -> Iterator[Columns]:
    """Ranked lists as rows ordered by row, direction, rank; empty places left out."""
    for rows, number, rank, ids, values in _listed([lists[direction] for direction in DIRECTIONS]):
        yield {row: rows, "direction": words(number, DIRECTIONS), "rank": rank, item: ids, value: values}


def token_rows(vocabulary: Vocabulary, congruence: Congruence) -> Columns:
    """Columns of table `token` from the vocabulary and the weights."""
    best, worst = congruence.token_neuron["top"], congruence.token_neuron["bottom"]
    best_tokens = congruence.neuron_token["top"].ids[:, 0].cpu().numpy()
    return {
        "token_id": np.arange(len(vocabulary), dtype=np.int32),
        "piece": pa.array(vocabulary.piece, pa.string()),
        "text": pa.array(vocabulary.text, pa.string()),
        "bytes": pa.array(vocabulary.bytes, pa.binary()),
        "special": np.array(vocabulary.special),
        "in_tokenizer": np.array(vocabulary.in_tokenizer),
        "best_neuron_id": best.ids[:, 0].cpu().numpy().astype(np.int32),
        "best_congruence": best.values[:, 0].cpu().numpy(),
        "neuron_gap": nullable(gap(best)),
        "worst_neuron_id": worst.ids[:, 0].cpu().numpy().astype(np.int32),
        "worst_congruence": worst.values[:, 0].cpu().numpy(),
        "neuron_gap_bottom": nullable(gap(worst)),
        "hub_count": hub_count(best_tokens, len(vocabulary)).astype(np.int32),
    }


def neuron_rows(
    n_layers: int,
    d_mlp: int,
    weights: dict[str, np.ndarray],
    congruence: Congruence,
) -> Columns:
    """Columns of table `neuron` from the weights; `weights` holds most of them (see `ingest.congruence.phase`)."""
    neuron = np.arange(n_layers * d_mlp)
    best, worst = congruence.neuron_token["top"], congruence.neuron_token["bottom"]
    best_neurons = congruence.token_neuron["top"].ids[:, 0].cpu().numpy()
    return {
        "neuron_id": neuron.astype(np.int32),
        "layer": (neuron // d_mlp).astype(np.int32),
        "index": (neuron % d_mlp).astype(np.int32),
        "name": [neuron_name(*divmod(n, d_mlp)) for n in neuron.tolist()],
        "best_token_id": best.ids[:, 0].cpu().numpy().astype(np.int32),
        "best_congruence": best.values[:, 0].cpu().numpy(),
        "token_gap": nullable(gap(best)),
        "worst_token_id": worst.ids[:, 0].cpu().numpy().astype(np.int32),
        "worst_congruence": worst.values[:, 0].cpu().numpy(),
        "token_gap_bottom": nullable(gap(worst)),
        "hub_count": hub_count(best_neurons, len(neuron)).astype(np.int32),
        **{name: nullable(values) for name, values in weights.items()},
    }


def exclusive_rows(exclusive: dict[str, ExclusivePairs]) -> Iterator[Columns]:
    """Table `exclusive_pair`, a direction at a time."""
    for direction in sorted(exclusive):
        pairs = exclusive[direction]
        yield {
            "direction": words(np.zeros(len(pairs.neuron), dtype=np.int8), [direction]),
            "rank": np.arange(1, len(pairs.neuron) + 1, dtype=np.int32),
            "neuron_id": pairs.neuron.astype(np.int32),
            "token_id": pairs.token.astype(np.int32),
            "congruence": pairs.congruence,
            "token_gap": pairs.token_gap,
            "neuron_gap": pairs.neuron_gap,
            "score": pairs.score,
        }


def sided_rows(sides: dict[str, dict[str, RankedList]], item: str, value: str) -> Iterator[Columns]:
    """A neuron's ranked lists by side, as rows ordered by neuron, side, direction, rank; empty places left out."""
    names = sorted(sides)
    for neuron, number, rank, ids, values in _listed([sides[side][d] for side in names for d in DIRECTIONS]):
        side, direction = np.divmod(number, len(DIRECTIONS))
        yield {
            "neuron_id": neuron,
            "side": words(side, names),
            "direction": words(direction, DIRECTIONS),
            "rank": rank,
            item: ids,
            value: values,
        }


def weight_rows(weights: LayerWeights, layer: int) -> Columns:
    """Table `neuron_weight`, one layer."""
    d_mlp = len(weights.w_out)
    gate = pa.nulls(d_mlp, pa.list_(pa.float32(), weights.w_out.shape[1]))
    return {
        "neuron_id": np.arange(layer * d_mlp, (layer + 1) * d_mlp, dtype=np.int32),
        "w_in": vectors(weights.w_in.numpy()),
        "w_out": vectors(weights.w_out.numpy()),
        "w_gate": gate if weights.w_gate is None else vectors(weights.w_gate.numpy()),
    }


def bin_rows() -> Columns:
    """Table `histogram_bin`."""
    edges = [bin_edges(bin) for bin in range(N_BINS)]
    return {
        "bin": np.arange(N_BINS, dtype=np.int16),
        "lower": [lower for lower, _ in edges],
        "upper": [upper for _, upper in edges],
        "interval": np.array([bin_interval(bin) for bin in range(N_BINS)], dtype=np.int16),
    }


def candidate_rows(pairs: CandidatePairs) -> Iterator[Columns]:
    """Table `candidate_pair`."""
    for rows in slices(len(pairs.neuron)):
        yield {
            "neuron_id": pairs.neuron[rows].astype(np.int32),
            "token_id": pairs.token[rows].astype(np.int32),
            "congruence": pairs.congruence[rows].astype(np.float32),
            "source": pa.array(pairs.source[rows], pa.string()).dictionary_encode(),
        }


def family_rows(of_token: np.ndarray) -> Columns:
    """Table `token_family`: the members of families of more than one."""
    token = np.flatnonzero(np.bincount(of_token, minlength=len(of_token))[of_token] > 1)
    return {"token_id": token.astype(np.int32), "family_id": of_token[token].astype(np.int32)}
