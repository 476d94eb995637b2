"""From results to the columns of each table, in the table's order."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import torch

from atlas.bins import MAX_INTERVAL, N_BINS, ZERO_BIN, bin_edges, bin_interval
from atlas.names import neuron_name
from ingest.accumulators.activations import ActivationResult
from ingest.accumulators.examples import ExampleLists
from ingest.accumulators.predictions import PredictionResult
from ingest.congruence import Congruence, RankedList
from ingest.pairs import CandidatePairs, ExclusivePairs, gap, hub_count
from ingest.stream import N_INTERVALS
from ingest.texts import StoredText
from ingest.vocabulary import Vocabulary
from ingest.weights import LayerWeights
from ingest.writer import Columns, nullable, ragged, vectors

DIRECTIONS = ("bottom", "top")  # In the order of the tables' sort.


def ranked_rows(lists: dict[str, RankedList], row: str, item: str, value: str, first_row: int = 0) -> Columns:
    """Ranked lists as rows ordered by row, direction, rank; empty places left out."""
    ids = torch.stack([lists[d].ids for d in DIRECTIONS], 1).cpu().numpy()
    values = torch.stack([lists[d].values for d in DIRECTIONS], 1).cpu().numpy()
    filled = ids >= 0
    rows, direction, rank = np.nonzero(filled)
    return {
        row: (rows + first_row).astype(np.int32),
        "direction": pa.DictionaryArray.from_arrays(direction.astype(np.int8), list(DIRECTIONS)).cast(pa.string()),
        "rank": (rank + 1).astype(np.int16),
        item: ids[filled].astype(np.int32),
        value: values[filled],
    }


def token_rows(vocabulary: Vocabulary, counts: dict[str, torch.Tensor], congruence: Congruence) -> Columns:
    """Table `token`."""
    best, worst = congruence.token_neuron["top"], congruence.token_neuron["bottom"]
    best_tokens = congruence.neuron_token["top"].ids[:, 0].cpu().numpy()
    return {
        "token_id": np.arange(len(vocabulary), dtype=np.int32),
        "piece": pa.array(vocabulary.piece, pa.string()),
        "text": pa.array(vocabulary.text, pa.string()),
        "bytes": pa.array(vocabulary.bytes, pa.binary()),
        "special": np.array(vocabulary.special),
        "in_tokenizer": np.array(vocabulary.in_tokenizer),
        **{f"n_{role}": n.numpy() for role, n in counts.items()},
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
    statistics: ActivationResult,
    n_positions: int,
) -> Columns:
    """Table `neuron`; `weights` holds the columns that follow from weights alone (see `ingest.weight_phase`)."""
    neuron = np.arange(n_layers * d_mlp)
    best, worst = congruence.neuron_token["top"], congruence.neuron_token["bottom"]
    best_neurons = congruence.token_neuron["top"].ids[:, 0].cpu().numpy()
    nullable_weights = {"w_gate_norm", "in_out_cosine", "gate_out_cosine", "congruence_skewness", "congruence_kurtosis"}
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
        **{name: nullable(v) if name in nullable_weights else v.astype(np.float32) for name, v in weights.items()},
        "activation_mean": statistics.mean.numpy().astype(np.float32),
        "activation_std": statistics.std.numpy().astype(np.float32),
        "activation_skewness": nullable(statistics.skewness.numpy()),
        "activation_kurtosis": nullable(statistics.kurtosis.numpy()),
        "activation_min": statistics.minimum.numpy(),
        "activation_max": statistics.maximum.numpy(),
        "positive_fraction": statistics.positive.numpy() / n_positions,
        "dead": (statistics.histogram[:, ZERO_BIN] == n_positions).numpy(),
    }


def exclusive_rows(exclusive: dict[str, ExclusivePairs]) -> Iterator[Columns]:
    """Table `exclusive_pair`, a direction at a time."""
    for direction in sorted(exclusive):
        pairs = exclusive[direction]
        yield {
            "direction": [direction] * len(pairs.neuron),
            "rank": np.arange(1, len(pairs.neuron) + 1, dtype=np.int32),
            "neuron_id": pairs.neuron.astype(np.int32),
            "token_id": pairs.token.astype(np.int32),
            "congruence": pairs.congruence,
            "token_gap": pairs.token_gap,
            "neuron_gap": pairs.neuron_gap,
            "score": pairs.score,
        }


def input_rows(sides: dict[str, dict[str, RankedList]], n_layers: int, d_mlp: int) -> Iterator[Columns]:
    """Table `neuron_input_token`, a layer at a time: ordered by neuron, side, direction, rank."""
    for layer in range(n_layers):
        here = slice(layer * d_mlp, (layer + 1) * d_mlp)
        parts = []
        for side in sorted(sides):
            lists = {d: RankedList(ranked.ids[here], ranked.values[here]) for d, ranked in sides[side].items()}
            part = ranked_rows(lists, "neuron_id", "token_id", "value", layer * d_mlp)
            parts.append(pa.table({"neuron_id": part.pop("neuron_id"), "side": [side] * len(part["rank"]), **part}))
        table = pa.concat_tables(parts).combine_chunks()
        order = np.argsort(table["neuron_id"].to_numpy(), kind="stable")
        table = table.take(order).combine_chunks()
        yield {name: table[name].chunk(0) for name in table.column_names}


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


def histogram_rows(statistics: ActivationResult) -> Columns:
    """Table `activation_histogram`."""
    neuron, bin = statistics.histogram.nonzero(as_tuple=True)
    return {
        "neuron_id": neuron.numpy().astype(np.int32),
        "bin": bin.numpy().astype(np.int16),
        "n": statistics.histogram[neuron, bin].numpy(),
    }


def candidate_rows(pairs: CandidatePairs) -> Columns:
    """Table `candidate_pair`."""
    return {
        "neuron_id": pairs.neuron.astype(np.int32),
        "token_id": pairs.token.astype(np.int32),
        "congruence": pairs.congruence.astype(np.float32),
        "source": pairs.source,
    }


def prediction_rows(result: PredictionResult) -> Columns:
    """Table `prediction_histogram`."""
    return {
        "neuron_id": result.neuron.numpy().astype(np.int32),
        "token_id": result.token.numpy().astype(np.int32),
        "bin": result.bin.numpy().astype(np.int16),
        "n_predicted": result.n_predicted.numpy(),
        "n_actual": result.n_actual.numpy(),
    }


def text_rows(texts: list[StoredText]) -> Columns:
    """Table `text`, in order of text_id."""
    return {
        "text_id": np.array([t.text.text_id for t in texts], dtype=np.int64),
        "source_row": np.array([t.text.source_row for t in texts], dtype=np.int64),
        "chunk": np.array([t.text.chunk for t in texts], dtype=np.int32),
        "token_ids": pa.array([t.text.token_ids for t in texts], pa.list_(pa.int32())),
        "predicted_token_ids": pa.array([t.predicted for t in texts], pa.list_(pa.int32())),
    }


def example_rows(
    examples: dict[str, ExampleLists], texts: dict[int, StoredText], n_layers: int, d_mlp: int
) -> Iterator[Columns]:
    """Table `example`, a layer at a time: ordered by neuron, kind, interval, rank."""
    kinds = sorted(examples)
    results = {kind: {n: v.numpy() for n, v in examples[kind].result().items()} for kind in kinds}
    groups = {kind: N_INTERVALS if kind == "interval" else 1 for kind in kinds}
    for layer in range(n_layers):
        parts = []
        for kind in kinds:
            edges = np.array([layer, layer + 1]) * d_mlp * groups[kind]
            low, high = np.searchsorted(results[kind]["group"], edges)
            part = {name: values[low:high] for name, values in results[kind].items()}
            part["kind"] = np.full(high - low, kinds.index(kind), dtype=np.int8)
            part["neuron"], part["interval"] = np.divmod(part["group"], groups[kind])
            parts.append(part)
        rows = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
        order = np.lexsort((rows["rank"], rows["interval"], rows["kind"], rows["neuron"]))
        yield _example_columns({name: values[order] for name, values in rows.items()}, kinds, texts)


def _example_columns(rows: dict[str, np.ndarray], kinds: list[str], texts: dict[int, StoredText]) -> Columns:
    predicted = [
        texts[text].predicted[position] for text, position in zip(rows["text"].tolist(), rows["position"], strict=True)
    ]
    is_interval = rows["kind"] == kinds.index("interval")
    return {
        "neuron_id": rows["neuron"].astype(np.int32),
        "kind": pa.DictionaryArray.from_arrays(rows["kind"], kinds).cast(pa.string()),
        "interval": pa.array((rows["interval"] - MAX_INTERVAL).astype(np.int16), mask=~is_interval),
        "rank": rows["rank"].astype(np.int16),
        "text_id": rows["text"],
        "position": rows["position"],
        "activation": rows["activation"],
        "predicted_token_id": np.array(predicted, dtype=np.int32),
        "window_start": rows["window_start"],
        "window_activations": ragged(rows["window"], rows["window_length"]),
        "window_scale": rows["scale"],
    }
