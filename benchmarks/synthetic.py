"""A finished run made up from a seed: what the load phase is given, in GPT-2 Large's shape, without any model.

Sizes and distributions are those of a real run where they matter to the load and to pages: lists full on both ends and
of distinct ids, some 50 bins a neuron, a dozen bins a pair, windows of 64 that are mostly quiet, words of a real
vocabulary's length, weights that are normal float32. Totals add up, so that the checks pass.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import duckdb
import numpy as np
import torch

from atlas.core.names import neuron_name
from atlas.core.schema import SCHEMA_VERSION, schema_sql
from benchmarks.shape import CONTEXT, N_POSITIONS, TOP, WINDOW, Shape, distinct, normal
from benchmarks.synthetic_reader import made_up_reader
from ingest.congruence.pairs import (
    CandidatePairs,
    ExclusivePairs,
    NeuronFamilies,
    candidate_pairs,
    exclusive_pairs,
    no_families,
)
from ingest.congruence.phase import INPUT_TOKENS
from ingest.congruence.result import Congruence, RankedList
from ingest.model.vocabulary import Vocabulary
from ingest.model.weights import LayerWeights, Readout
from ingest.process.settings import Settings

_ANYTHING = {
    "VARCHAR": "synthetic",
    "JSON": "{}",
    "INTEGER": 1,
    "BIGINT": 1,
    "BOOLEAN": False,
    "FLOAT[]": [0.0],
    "TIMESTAMP": np.datetime64("2000-01-01", "us"),
}
_SYLLABLES = [consonant + vowel for consonant in "bdfghjklmnprst" for vowel in "aeiou"]


@dataclass(frozen=True)
class Finished:
    """The run, what its weights say (an `ingest.run.write.WeightFindings`), and what its reader has read."""

    run: SimpleNamespace
    weights: SimpleNamespace
    exclusive: dict[str, ExclusivePairs]
    pairs: CandidatePairs
    families: NeuronFamilies
    reader: SimpleNamespace


def finished_run(shape: Shape, out: Path, seed: int = 0) -> Finished:
    """Everything a run of a model of that shape hands to the load phase."""
    rng = np.random.default_rng(seed)
    neurons, d_vocab = shape.n_neurons, shape.d_vocab
    lists = {
        (side, direction): _ranked(rng, rows, k, high, direction)
        for side, rows, k, high in (
            ("neuron", neurons, 50, d_vocab),
            ("token", d_vocab, 50, neurons),
            ("in", neurons, INPUT_TOKENS, d_vocab),
        )
        for direction in ("top", "bottom")
    }
    token = torch.arange(0, d_vocab, 10)  # A tenth of the vocabulary in exclusive pairs.
    neuron = token * neurons // d_vocab
    _lead(lists["token", "top"], token, neuron, neurons)
    _lead(lists["neuron", "top"], neuron, token, d_vocab)
    by = {side: {d: lists[side, d] for d in ("top", "bottom")} for side in ("neuron", "token", "in")}
    zeros = torch.zeros(neurons, dtype=torch.float64)
    congruence = Congruence(by["neuron"], by["token"], zeros, zeros)
    exclusive = {"top": exclusive_pairs(congruence, "top")}
    nobody = np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.float32)
    pairs = candidate_pairs(congruence, exclusive, nobody, k=5, gated=False)
    settings = Settings(model="synthetic", dataset="synthetic", out=out)
    run = SimpleNamespace(
        settings=settings,
        shape=shape,
        n_layers=shape.n_layers,
        d_mlp=shape.d_mlp,
        vocabulary=_vocabulary(d_vocab),
        model=SimpleNamespace(gated=False),
    )
    layers = _layers(rng, shape)
    columns = {
        name: rng.random(neurons)
        for name in (
            "in_out_cosine",
            "mean_congruence",
            "congruence_mean",
            "congruence_std",
            "congruence_skewness",
            "congruence_kurtosis",
            "unembedding_null_fraction",
        )
    }
    for side in ("in", "out"):
        norms = [torch.linalg.vector_norm(getattr(layers(n), f"w_{side}"), dim=1) for n in range(shape.n_layers)]
        columns[f"w_{side}_norm"] = torch.cat(norms).numpy()
    for name in ("w_gate_norm", "gate_out_cosine"):  # Not gated.
        columns[name] = np.full(neurons, np.nan)
    # So that congruences are what the lists say they are: the best of 50,000 at about 9.
    readout = normal(rng, d_vocab, shape.d_model) * (2 / shape.d_model**0.5)
    weights = SimpleNamespace(
        congruence=congruence,
        input_tokens={"in": by["in"]},
        layers=layers,
        columns=columns,
        connections={},
        readout=Readout("unembed", readout, torch.zeros(shape.d_model)),
    )
    return Finished(run, weights, exclusive, pairs, no_families(d_vocab), made_up_reader(rng, shape, pairs))


def atlas_columns(finished: Finished, build_id: str) -> dict[str, list]:
    """The row of table `atlas`: what the checks read of it, and for the other columns anything of their type."""
    shape = finished.run.shape
    with duckdb.connect() as connection:
        connection.execute(schema_sql(shape.d_model))
        columns = connection.execute("SELECT column_name, data_type FROM duckdb_columns() WHERE table_name = 'atlas'")
        row = {name: [_ANYTHING[kind]] for name, kind in columns.fetchall()}
    sizes = {name: getattr(shape, name) for name in ("n_layers", "d_model", "d_mlp", "d_vocab", "n_texts")}
    known = {
        **sizes,
        "n_positions": N_POSITIONS,
        "has_weights": True,
        "build_id": build_id,
        "slug": "synthetic",
        "schema_version": SCHEMA_VERSION,
        "readout": "unembed",
        "normalization": "LN",
        "first_text": 0,
        "text_ranges": f"0:{shape.n_texts}",
        "context_length": CONTEXT,
        "window": WINDOW,
        "bos_token_id": shape.d_vocab - 1,
        "readout_mean": [0.0] * shape.d_model,
        "top_tokens": 50,
        "top_neurons": 50,
        "top_texts": TOP,
    }
    return row | {name: [value] for name, value in known.items()}


def _ranked(rng: np.random.Generator, rows: int, k: int, high: int, direction: str) -> RankedList:
    ids = torch.from_numpy(distinct(rng, rows, k, high))
    values = 9 - np.cumsum(rng.exponential(0.05, (rows, k)), axis=1, dtype=np.float64).astype(np.float32)
    return RankedList(ids, torch.from_numpy(values if direction == "top" else -values))


def _lead(ranked: RankedList, rows: torch.Tensor, ids: torch.Tensor, high: int) -> None:
    """Make each row's first id the one given; the others move along, so they stay distinct."""
    moved = ranked.ids[rows]
    ranked.ids[rows] = (moved - moved[:, :1] + ids[:, None]) % high


def _word(number: int) -> str:
    """A word of one to three syllables and more, another for each number."""
    word = ""
    while number >= 0:
        number, syllable = divmod(number, len(_SYLLABLES))
        word, number = _SYLLABLES[syllable] + word, number - 1
    return word


def _vocabulary(d_vocab: int) -> Vocabulary:
    """Two of three tokens begin with a space; the last is BOS."""
    texts = [f"{' ' if i % 3 else ''}{_word(i)}" for i in range(d_vocab - 1)] + ["<|endoftext|>"]
    pieces = [text.replace(" ", "Ġ") for text in texts]
    special = [False] * (d_vocab - 1) + [True]
    return Vocabulary(pieces, texts, [text.encode() for text in texts], special, [True] * d_vocab, 0)


def _layers(rng: np.random.Generator, shape: Shape):
    """Every layer's weights: one layer of normal numbers, turned and stretched (normals are slow to draw)."""
    w_in, w_out = (normal(rng, shape.d_mlp, shape.d_model) for _ in range(2))

    def weights(layer: int) -> LayerWeights:
        stretch = 1 + layer / 37
        return LayerWeights(w_in.roll(layer, 0) * stretch, w_out.roll(layer, 1) * stretch, None)

    return weights


def middle_neuron(finished: Finished) -> tuple[int, str]:
    """A neuron to look at: its id and name."""
    shape = finished.run.shape
    neuron = shape.n_neurons // 2 + 7
    return neuron, neuron_name(*divmod(neuron, shape.d_mlp))
