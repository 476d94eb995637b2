"""The cost that counts and tables behind "does congruence predict" add to an ingest: time in one process, file size.

    python -m benchmarks.ingest [--texts 64] [--atlas demo.duckdb]

The activation phase over the same batches (SmolLM2, Python's language reference, float32): `limit` is the forward pass
and its predictions alone, `plain` every statistic but these, `families` with the families of each neuron's best and
worst token (drawn at random here, as many as there are), and one with each optional statistic too. Batches go through
every contestant in turning order; processor seconds beside the wall's, for machines that others use. Then, of the
atlas: the pair metrics from its histograms, and what its tables take.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import torch

from atlas.api.calls import OPTIONS
from atlas.core.bins import N_BINS
from atlas.topics.family import family_ids
from atlas.topics.pair_metric.arrow import NEURONS_EACH, metric_arrays
from atlas.topics.pair_metric.table import Cells, metric_rows
from benchmarks.stream import CPU, python_docs, random_pairs
from ingest.activations.reader import Reader
from ingest.activations.statistic import Plan, StreamSettings
from ingest.congruence.pairs import NeuronFamilies
from ingest.file.checks import bytes_per_table
from ingest.model.forward import LeanModel
from ingest.model.load import LoadedModel, load_model
from ingest.model.source import BUILTIN
from ingest.model.vocabulary import read_vocabulary
from ingest.texts.tokens import TextBatch

ADDED = ("pair_metric", "family_histogram", "token_family", "pair_effect", "study", "study_step")

_PAIRS = """
    SELECT neuron_id, token_id FROM candidate_pair
    WHERE neuron_id >= $low AND neuron_id < $high ORDER BY neuron_id, token_id"""
_HISTOGRAM = """
    SELECT neuron_id, bin, n FROM activation_histogram WHERE neuron_id >= $low AND neuron_id < $high"""
_CELLS = """
    SELECT neuron_id, token_id, bin, n_predicted, n_actual FROM prediction_histogram
    WHERE neuron_id >= $low AND neuron_id < $high ORDER BY neuron_id, token_id, bin"""


def random_families(model: LoadedModel) -> NeuronFamilies:
    """The pairs that best and worst tokens drawn at random make."""
    vocabulary = read_vocabulary(model.tokenizer, len(model.unembedding))
    of_token = family_ids(vocabulary.text, vocabulary.special)
    several = np.bincount(of_token, minlength=len(of_token)) > 1
    n_neurons = len(model.layers) * model.d_mlp
    family = of_token[np.random.default_rng(3).integers(0, len(of_token), (n_neurons, 2))]
    neuron, place = np.nonzero(several[family])
    cells = np.unique(neuron * len(of_token) + family[neuron, place])
    return NeuronFamilies(cells // len(of_token), cells % len(of_token), of_token)


def activation_phase(n_texts: int) -> None:
    """Time every contestant over the same batches and print the table."""
    model = load_model(BUILTIN)
    work, families = python_docs(model, n_texts), random_families(model)
    pairs = random_pairs(len(model.layers) * model.d_mlp, len(model.unembedding), model.gated)
    lean = LeanModel(model, CPU, torch.float32)

    def reader(families: NeuronFamilies | None, *statistics: str) -> Callable[[TextBatch], object]:
        settings = StreamSettings(
            d_vocab=len(model.unembedding),
            gated=model.gated,
            count_bos=False,
            has_bos=True,
            top_texts=20,
            window=64,
            fingerprint="benchmark",
            seed=0,
            statistics=statistics,
        )
        return Reader(lean, Plan(lean.n_layers, lean.d_mlp, lean.device, settings, *pairs, families)).read

    def limit(batch: TextBatch) -> None:
        lean.predict(lean.run(torch.from_numpy(batch.input_ids)).flatten(0, 1))

    contestants = {
        "limit": limit,
        "plain": reader(None),
        "families": reader(families),
        **{option.flag: reader(families, option.flag) for option in OPTIONS},
    }
    for task in contestants.values():
        task(work[-1])
    times = {name: np.zeros(2) for name in contestants}
    for number, batch in enumerate(work):
        names = list(contestants)
        for name in names[number % len(names) :] + names[: number % len(names)]:
            before = np.array([time.perf_counter(), time.process_time()])
            contestants[name](batch)
            times[name] += np.array([time.perf_counter(), time.process_time()]) - before
    print(f"{n_texts} texts, {len(families.neuron):,} (neuron, family) pairs, {torch.get_num_threads()} threads")
    print(f"  {'':<12} {'wall s':>8} {'cpu s':>8} {'/ limit':>8} {'/ plain':>8}  (of processor seconds)")
    for name, (wall, cpu) in times.items():
        ratios = cpu / times["limit"][1], cpu / times["plain"][1]
        print(f"  {name:<12} {wall:>8.1f} {cpu:>8.1f} {ratios[0]:>8.3f} {ratios[1]:>8.3f}")


def tables(path: Path) -> None:
    """Time the pair metrics of an atlas and print what the added tables take."""
    with duckdb.connect(str(path), read_only=True) as connection:
        wall, cpu = time.perf_counter(), time.process_time()
        n_rows = sum(len(batch["neuron_id"]) for batch in pair_metrics(connection))
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        print(f"{path.name}: {n_rows:,} pair metrics in {wall:.1f} s, {cpu:.1f} s of the processor")
    sizes = bytes_per_table(path)
    whole = path.stat().st_size
    for name in ADDED:
        print(f"  {name:<18} {sizes.get(name, 0) / 1e6:>8.1f} MB {sizes.get(name, 0) / whole:>7.1%}")


def pair_metrics(connection: duckdb.DuckDBPyConnection) -> Iterator[dict[str, pa.Array]]:
    """Columns of `pair_metric` from an atlas's histograms, some neurons at a time, in order."""
    ((gated, n_neurons),) = connection.execute("SELECT gated, n_layers * d_mlp FROM atlas").fetchall()
    for low in range(0, n_neurons, NEURONS_EACH):
        high = min(low + NEURONS_EACH, n_neurons)
        pairs, histogram, cells = (
            connection.execute(query, {"low": low, "high": high}).fetchnumpy() for query in (_PAIRS, _HISTOGRAM, _CELLS)
        )
        dense = np.zeros((high - low, N_BINS), dtype=np.int64)
        dense[histogram["neuron_id"] - low, histogram["bin"]] = histogram["n"]
        yield metric_arrays(metric_rows(*pairs.values(), Cells(*cells.values()), dense, low, gated=gated))


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--texts", type=int, default=64)
    parser.add_argument("--atlas", type=Path, default=Path("demo.duckdb"))
    options = parser.parse_args()
    with torch.inference_mode():
        activation_phase(options.texts)
    if options.atlas.exists():
        tables(options.atlas)


if __name__ == "__main__":
    main()
