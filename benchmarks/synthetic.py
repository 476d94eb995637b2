"""A finished run made up from a seed: what the load phase is given, in GPT-2 Large's shape, without any model.

Sizes and distributions are those of a real run where they matter to the load: lists full on both ends, some 50 bins a
neuron, a dozen bins a pair, windows of 64, weights that are normal float32. Totals add up, so that the checks pass.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import duckdb
import numpy as np
import torch

from atlas.bins import N_BINS, ZERO_BIN
from atlas.names import neuron_name
from atlas.schema import schema_sql
from ingest.accumulators import ExampleLists
from ingest.accumulators.activations import ActivationResult
from ingest.accumulators.predictions import PredictionResult
from ingest.congruence import Congruence, RankedList
from ingest.pairs import CandidatePairs, ExclusivePairs, candidate_pairs, exclusive_pairs
from ingest.settings import Settings
from ingest.stream import INTERVAL_EXAMPLES, N_INTERVALS
from ingest.texts import TextStore
from ingest.tokens import Text
from ingest.vocabulary import Vocabulary
from ingest.weight_phase import INPUT_TOKENS
from ingest.weights import LayerWeights, Readout

N_POSITIONS = 5_000_000
N_TEXTS = 10_000
D_MLP, D_MODEL, WINDOW, TOP = 5_120, 1_280, 64, 20
_ANYTHING = {
    "VARCHAR": "synthetic", "JSON": "{}", "INTEGER": 1, "BIGINT": 1, "BOOLEAN": False, "FLOAT[]": [0.0],
    "TIMESTAMP": np.datetime64("2000-01-01", "us"),
}  # fmt: skip
OCTAVES_USED = 7
"""Octaves of the per-text maximum that a neuron has examples in: 21 of them."""


@dataclass(frozen=True)
class Finished:
    """The arguments of `ingest.load.write_tables`."""

    run: SimpleNamespace
    weights: SimpleNamespace
    exclusive: dict[str, ExclusivePairs]
    pairs: CandidatePairs
    reader: SimpleNamespace


def finished_run(scale: float, out: Path, seed: int = 0) -> Finished:
    """Everything a run of 36 layers and 50,257 tokens, both times `scale`, hands to the load phase."""
    rng = np.random.default_rng(seed)
    n_layers, d_vocab = max(1, round(36 * scale)), max(64, round(50_257 * scale))
    neurons = n_layers * D_MLP
    lists = {
        (side, direction): _ranked(rng, rows, k, high, direction)
        for side, rows, k, high in (
            ("neuron", neurons, 50, d_vocab), ("token", d_vocab, 50, neurons), ("in", neurons, INPUT_TOKENS, d_vocab)
        )
        for direction in ("top", "bottom")
    }  # fmt: skip
    for token in range(0, d_vocab, 10):  # A tenth of the vocabulary in exclusive pairs.
        lists["token", "top"].ids[token, 0] = token * (neurons // d_vocab)
        lists["neuron", "top"].ids[token * (neurons // d_vocab), 0] = token
    by = {side: {d: lists[side, d] for d in ("top", "bottom")} for side in ("neuron", "token", "in")}
    zeros = torch.zeros(neurons, dtype=torch.float64)
    congruence = Congruence(by["neuron"], by["token"], zeros, zeros)
    exclusive = {"top": exclusive_pairs(congruence, "top")}
    nobody = np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.float32)
    pairs = candidate_pairs(congruence, exclusive, nobody, k=5, gated=False)
    settings = Settings(model="synthetic", dataset="synthetic", out=out)
    run = SimpleNamespace(settings=settings, n_layers=n_layers, d_mlp=D_MLP, vocabulary=_vocabulary(d_vocab))
    weights = SimpleNamespace(
        congruence=congruence, input_tokens={"in": by["in"]}, layers=_layers(rng),
        readout=Readout("unembed", _normal(rng, d_vocab, D_MODEL), torch.zeros(D_MODEL)),
        columns={name: rng.random(neurons) for name in (
            "w_in_norm", "w_gate_norm", "w_out_norm", "in_out_cosine", "gate_out_cosine", "mean_congruence",
            "congruence_mean", "congruence_std", "congruence_skewness", "congruence_kurtosis",
        )},
    )  # fmt: skip
    return Finished(run, weights, exclusive, pairs, _reader(rng, n_layers, d_vocab, pairs))


def atlas_columns(finished: Finished, build_id: str) -> dict[str, list]:
    """The row of table `atlas`: what the checks read of it, and for the other columns anything of their type."""
    run = finished.run
    with duckdb.connect() as connection:
        connection.execute(schema_sql(D_MODEL))
        columns = connection.execute("SELECT column_name, data_type FROM duckdb_columns() WHERE table_name = 'atlas'")
        row = {name: [_ANYTHING[kind]] for name, kind in columns.fetchall()}
    sizes = {"n_layers": run.n_layers, "d_model": D_MODEL, "d_mlp": D_MLP, "d_vocab": len(run.vocabulary)}
    known = {**sizes, "n_texts": N_TEXTS, "n_positions": N_POSITIONS, "has_weights": True, "build_id": build_id}
    return row | {name: [value] for name, value in known.items()}


def _normal(rng: np.random.Generator, *shape: int) -> torch.Tensor:
    return torch.from_numpy(rng.standard_normal(shape, dtype=np.float32))


def _ranked(rng: np.random.Generator, rows: int, k: int, high: int, direction: str) -> RankedList:
    ids = torch.from_numpy(rng.integers(0, high, (rows, k)))
    values = 9 - np.cumsum(rng.exponential(0.05, (rows, k)), axis=1, dtype=np.float64).astype(np.float32)
    return RankedList(ids, torch.from_numpy(values if direction == "top" else -values))


def _vocabulary(d_vocab: int) -> Vocabulary:
    pieces = [f"Ġtoken{i}" for i in range(d_vocab)]
    texts = [f" token{i}" for i in range(d_vocab)]
    return Vocabulary(pieces, texts, [t.encode() for t in texts], [False] * d_vocab, [True] * d_vocab, 0)


def _layers(rng: np.random.Generator):
    """Every layer's weights: one layer of normal numbers, turned and stretched (normals are slow to draw)."""
    w_in, w_out = _normal(rng, D_MLP, D_MODEL), _normal(rng, D_MLP, D_MODEL)

    def weights(layer: int) -> LayerWeights:
        stretch = 1 + layer / 37
        return LayerWeights(w_in.roll(layer, 0) * stretch, w_out.roll(layer, 1) * stretch, None)

    return weights


def _reader(rng: np.random.Generator, n_layers: int, d_vocab: int, pairs: CandidatePairs) -> SimpleNamespace:
    neurons = n_layers * D_MLP
    texts = TextStore()
    lengths = rng.integers(WINDOW, 1025, N_TEXTS)
    for text_id, length in enumerate(lengths.tolist()):
        tokens = rng.integers(0, d_vocab, length, dtype=np.int32)
        texts.add(Text(text_id, text_id, 0, tokens), rng.integers(0, d_vocab, length))
    examples = {
        "max": _examples(rng, neurons, 1, TOP, lengths),
        "interval": _examples(rng, neurons, N_INTERVALS, INTERVAL_EXAMPLES, lengths),
    }
    best = examples["max"].pool["activation"][examples["max"].slots[:, 0]]
    zeros = torch.zeros(neurons, dtype=torch.float64)
    statistics = ActivationResult(
        _histogram(rng, neurons), zeros, zeros + 1, zeros, zeros, torch.full((neurons,), -0.17), best,
        torch.full((neurons,), N_POSITIONS // 2),
    )  # fmt: skip
    counts = {}
    for role in ("input", "actual", "predicted"):
        counts[role] = torch.from_numpy(rng.multinomial(N_POSITIONS, np.full(d_vocab, 1 / d_vocab)))
    cells = _cells(rng, pairs)
    return SimpleNamespace(
        statistics=SimpleNamespace(result=lambda: statistics, n_positions=N_POSITIONS),
        tokens=SimpleNamespace(result=lambda: counts), predictions=SimpleNamespace(result=lambda: cells),
        texts=texts, examples=examples, cited=lambda: np.arange(N_TEXTS),
    )  # fmt: skip


def _histogram(rng: np.random.Generator, neurons: int) -> torch.Tensor:
    """Some 50 bins about zero, each of 1,000 and more; the zero bin takes what is left."""
    counts = np.zeros((neurons, N_BINS), dtype=np.int64)
    low, high = ZERO_BIN - 20, ZERO_BIN + 30
    counts[:, low:high] = 1000 + rng.exponential(30_000, (neurons, high - low)).astype(np.int64)
    counts[:, ZERO_BIN] = 0
    counts[:, ZERO_BIN] = N_POSITIONS - counts.sum(1)
    return torch.from_numpy(counts)


def _cells(rng: np.random.Generator, pairs: CandidatePairs) -> PredictionResult:
    """1 to 23 neighbouring bins a pair, most counts small, as real ones are."""
    length = rng.integers(1, 24, len(pairs.neuron))
    first = rng.integers(ZERO_BIN - 20, ZERO_BIN + 7, len(length))
    pair = np.repeat(np.arange(len(length)), length)
    step = np.arange(len(pair)) - np.repeat(np.cumsum(length) - length, length)
    predicted = np.minimum(rng.geometric(0.25, len(pair)) - 1, 1000)
    actual = np.minimum(rng.geometric(0.35, len(pair)), 1000)
    columns = (pairs.neuron[pair], pairs.token[pair], first[pair] + step, predicted, actual)
    return PredictionResult(*(torch.from_numpy(column) for column in columns))


def _examples(rng: np.random.Generator, neurons: int, groups: int, k: int, lengths: np.ndarray) -> ExampleLists:
    """Full lists: of every neuron, or of OCTAVES_USED of a neuron's octaves."""
    lists = ExampleLists(neurons * groups, k, WINDOW)
    used = np.arange(neurons) if groups == 1 else (
        np.arange(neurons)[:, None] * groups + groups // 2 + np.arange(OCTAVES_USED)
    ).ravel()  # fmt: skip
    n = len(used) * k
    lists.n_slots = n
    lists.slots[used] = torch.from_numpy(rng.permutation(n)).view(-1, k)  # Texts came in any order.
    lists.keys[used] = torch.arange(n, 0, -1).view(-1, k)
    text = rng.integers(0, N_TEXTS, n)
    size = np.where(rng.random(n) < 0.2, rng.integers(8, WINDOW, n), WINDOW)
    start = (rng.random(n) * (lengths[text] - size)).astype(np.int64)
    activation = np.empty(n, dtype=np.float32)
    activation[lists.slots[used].ravel()] = -np.sort(-rng.exponential(3.0, (len(used), k)), axis=1).ravel()
    block = np.clip(rng.normal(0, 6000, (50_000, WINDOW)), -32767, 32767).astype(np.int16)
    lists.pool = {
        "text": torch.from_numpy(text), "position": torch.from_numpy((start + size * 3 // 4).astype(np.int32)),
        "activation": torch.from_numpy(activation), "window_start": torch.from_numpy(start.astype(np.int32)),
        "window_length": torch.from_numpy(size.astype(np.int32)), "scale": torch.from_numpy(activation / 32767),
        "window": torch.from_numpy(np.resize(block, (n, WINDOW))),
    }  # fmt: skip
    used_columns = torch.arange(WINDOW) < lists.pool["window_length"][:, None]
    lists.pool["window"] *= used_columns
    return lists


def middle_neuron(finished: Finished) -> tuple[int, str]:
    """A neuron to look at: its id and name."""
    neuron = finished.run.n_layers * D_MLP // 2 + 7
    return neuron, neuron_name(*divmod(neuron, D_MLP))
