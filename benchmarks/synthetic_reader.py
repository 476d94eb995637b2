"""Made-up results of the phase over texts, from a seed: histograms, examples, texts, counts."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import torch

from atlas.core.bins import N_BINS, ZERO_BIN
from benchmarks.shape import CONTEXT, N_POSITIONS, TOP, WINDOW, Shape, distinct, normal
from ingest.activations.counts import TokenCounts
from ingest.activations.example_kinds import INTERVAL_EXAMPLES, N_INTERVALS, Examples
from ingest.activations.example_lists import ExampleLists
from ingest.activations.predictions import FamilyHistogram, PredictionHistogram
from ingest.activations.reduction.exact import LIMB_BITS
from ingest.activations.reduction.reference import reduce_layer
from ingest.activations.statistics import ActivationStatistics
from ingest.activations.text_store import TextStore
from ingest.congruence.pairs import CandidatePairs
from ingest.texts.tokens import Text


def made_up_reader(rng: np.random.Generator, shape: Shape, pairs: CandidatePairs) -> SimpleNamespace:
    """What the phase over texts hands on."""
    neurons, d_vocab = shape.n_neurons, shape.d_vocab
    texts = TextStore()
    lengths = rng.integers(WINDOW, CONTEXT + 1, shape.n_texts)
    for text_id, length in enumerate(lengths.tolist()):
        tokens = rng.integers(0, d_vocab, length, dtype=np.int32)
        tokens[0] = d_vocab - 1
        texts.add(Text(text_id, text_id, 0, tokens), rng.integers(0, d_vocab, length))
    # Of the octaves of the positive side, and of the zero bin.
    octaves = np.arange(neurons)[:, None] * N_INTERVALS + N_INTERVALS // 2 + np.arange(shape.octaves)
    examples = {
        "max": _examples(rng, np.arange(neurons), neurons, TOP, lengths),
        "interval": _examples(rng, octaves.ravel(), neurons * N_INTERVALS, INTERVAL_EXAMPLES, lengths),
    }
    statistics = ActivationStatistics(shape.n_layers, shape.d_mlp, reduce=reduce_layer)
    statistics.counted.fill_(N_POSITIONS)
    statistics.counts = _histogram(rng, neurons).view(shape.n_layers, -1)
    # Mean 0, standard deviation 1, kurtosis 3, and something below that.
    statistics.powers[:, [1, 3], 2] = torch.tensor([[N_POSITIONS], [3 * N_POSITIONS]])
    low = statistics.powers[:, :, :2]
    low[:] = torch.from_numpy(rng.integers(0, 1 << LIMB_BITS, low.shape))
    statistics.positive.fill_(N_POSITIONS // 2)
    statistics.minimum.fill_(-0.17)
    statistics.maximum = examples["max"].pool["activation"][examples["max"].slots[:, 0]]
    tokens = TokenCounts(d_vocab)
    for role in tokens.counts:
        role[:-1] = torch.from_numpy(rng.multinomial(N_POSITIONS, np.full(d_vocab, 1 / d_vocab)))
    _, actual, predicted = tokens.counts[:, :-1].numpy()
    counted = torch.from_numpy(pairs.neuron), torch.from_numpy(pairs.token)
    predictions = PredictionHistogram(*counted, d_vocab, shape.d_mlp)
    predictions.cells, predictions.counts = _cells(rng, pairs, d_vocab, predicted, actual)
    none = torch.zeros(0, dtype=torch.int64)
    made_up = (
        statistics,
        tokens,
        predictions,
        FamilyHistogram(none, none, d_vocab, shape.d_mlp),
        Examples(examples, neurons),
    )
    return SimpleNamespace(
        statistics={statistic.name: statistic for statistic in made_up},
        n_positions=N_POSITIONS,
        texts=texts,
        cited=lambda: np.arange(shape.n_texts),
    )


def _histogram(rng: np.random.Generator, neurons: int) -> torch.Tensor:
    """Some 50 bins about zero, each of 1,000 and more; the zero bin takes what is left."""
    counts = np.zeros((neurons, N_BINS), dtype=np.int64)
    low, high = ZERO_BIN - 20, ZERO_BIN + 30
    counts[:, low:high] = 1000 + rng.exponential(30_000, (neurons, high - low)).astype(np.int64)
    counts[:, ZERO_BIN] = 0
    counts[:, ZERO_BIN] = N_POSITIONS - counts.sum(1)
    return torch.from_numpy(counts)


def _cells(
    rng: np.random.Generator, pairs: CandidatePairs, d_vocab: int, *of_token: np.ndarray
) -> tuple[torch.Tensor, torch.Tensor]:
    """Cells and counts of a `PredictionHistogram`, from how often each token is predicted, and really next.

    1 to 23 neighbouring bins a pair, most counts small, as real ones are; the rest of a token's counts in the zero bin.
    """
    n_pairs = len(pairs.neuron)
    length = rng.integers(1, 24, n_pairs)
    first = rng.integers(ZERO_BIN - 20, ZERO_BIN + 7, n_pairs)
    pair = np.repeat(np.arange(n_pairs), length)
    step = np.arange(len(pair)) - np.repeat(np.cumsum(length) - length, length)
    drawn = np.minimum(rng.geometric(0.25, len(pair)) - 1, 1000), np.minimum(rng.geometric(0.35, len(pair)), 1000)
    cell = np.concatenate([pair * N_BINS + first[pair] + step, np.arange(n_pairs) * N_BINS + ZERO_BIN])
    cell, place = np.unique(cell, return_inverse=True)
    columns = []
    for counts, n in zip(of_token, drawn, strict=True):
        whole = counts[pairs.token]
        sums = np.bincount(pair, n, n_pairs).astype(np.int64)
        n = np.where(sums[pair] <= whole[pair], n, 0)
        rest = whole - np.bincount(pair, n, n_pairs).astype(np.int64)
        columns.append(np.bincount(place, np.concatenate([n, rest])).astype(np.int64))
    there = np.any(columns, axis=0)
    pair, bin = np.divmod(cell[there], N_BINS)
    cells = (pairs.neuron[pair] * d_vocab + pairs.token[pair]) * N_BINS + bin
    return torch.from_numpy(cells), torch.from_numpy(np.stack(columns, 1)[there])


def _examples(rng: np.random.Generator, used: np.ndarray, n_lists: int, k: int, lengths: np.ndarray) -> ExampleLists:
    """`n_lists` lists of which those `used` are full, the others empty."""
    lists = ExampleLists(n_lists, k, WINDOW)
    n = len(used) * k
    lists.n_slots = n
    lists.slots[used] = torch.from_numpy(rng.permutation(n)).view(-1, k)  # Texts came in any order.
    lists.keys[used] = torch.arange(n, 0, -1).view(-1, k)
    text = np.empty(n, dtype=np.int64)
    text[lists.slots[used].ravel()] = distinct(rng, len(used), k, len(lengths)).ravel()
    size = np.where(rng.random(n) < 0.2, rng.integers(8, WINDOW, n), WINDOW)
    start = (rng.random(n) * (lengths[text] - size)).astype(np.int64)
    activation = np.empty(n, dtype=np.float32)
    activation[lists.slots[used].ravel()] = -np.sort(-rng.exponential(3.0, (len(used), k)), axis=1).ravel()
    # A GELU's output where most inputs are negative, of a peak of 8: most tokens of a window are nearly quiet.
    block = (torch.nn.functional.gelu(normal(rng, 50_000, WINDOW) * 1.2 - 1.5) * (32767 / 8)).numpy().astype(np.int16)
    lists.pool = {
        "text": torch.from_numpy(text),
        "position": torch.from_numpy((start + size * 3 // 4).astype(np.int32)),
        "activation": torch.from_numpy(activation),
        "window_start": torch.from_numpy(start.astype(np.int32)),
        "window_length": torch.from_numpy(size.astype(np.int32)),
        "scale": torch.from_numpy(activation / 32767),
        "window": torch.from_numpy(np.resize(block, (n, WINDOW))),
    }
    lists.pool["window"][np.arange(n), size * 3 // 4] = 32767
    used_columns = torch.arange(WINDOW) < lists.pool["window_length"][:, None]
    lists.pool["window"] *= used_columns
    return lists
