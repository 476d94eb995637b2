"""The site's pages at GPT-2 Large's size: milliseconds and bytes of each kind, and Datasette's for the same rows.

    python -m benchmarks.pages [--atlas FILE] [--layers 36] [--neurons 5120] [--sample 20000] [--no-datasette]

One process on one core, DuckDB on one thread, the file warm, no network: Flask's test client, and Datasette's own
client. The atlas is made up (see benchmarks/synthetic.py) and kept, since building it takes two minutes, 3.7 GB of disk
and some 8 GB of memory. The limit is the same queries asked of DuckDB with nothing around them, in turn with the pages.
Whole-atlas figures that a page keeps for the life of the process are worked out before the clock starts.
"""

from __future__ import annotations

import argparse
import gc
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb
import numpy as np
import torch
from flask import Flask

from atlas.topics.overview import warm
from benchmarks import page_datasette
from benchmarks.page_atlas import made_up_atlas
from benchmarks.page_timing import HEADER, Measured, line, measure, percentile
from benchmarks.shape import Shape
from web import create_app

NEURON_PAGES = 200
OCTAVES = 13
"""With three texts in each and the 20 highest, some 60 examples a neuron."""

TARGETS = {"neuron": "25/50", "lazy: tokens": "1,000", "lazy: similar": "1,000", "lazy: token's neurons": "1,000"}
"""Milliseconds: the median, or the median and the 99th percentile."""
MOST_BEFORE_CHARTS = 100_000


@contextmanager
def site(path: Path) -> Iterator[tuple[Flask, duckdb.DuckDBPyConnection]]:
    """The site of one atlas, and a plain connection to the same file; both on one thread."""
    app = create_app([path])
    gc.collect()
    gc.freeze()  # As the server does before it forks: what was imported is not walked again.
    try:
        with duckdb.connect(str(path), read_only=True) as plain:
            # Of the whole process: the site's connections to this file share the instance, as long as one is open.
            plain.execute("SET threads = 1")
            for atlas in app.extensions["atlases"].values():
                warm(atlas)
            yield app, plain
    finally:
        for atlas in app.extensions["atlases"].values():
            atlas.close()


def model_shape(n_layers: int, d_mlp: int) -> Shape:
    """GPT-2 Large with so many neurons; a smaller one has fewer tokens too, so that a neuron has as many pairs."""
    share = min(1.0, n_layers * d_mlp / Shape().n_neurons)
    return Shape(n_layers=n_layers, d_mlp=d_mlp, d_vocab=max(300, round(share * Shape().d_vocab)), octaves=OCTAVES)


def neuron_urls(shape: Shape, n: int, seed: int = 0) -> list[str]:
    """Random neurons' pages, no two alike."""
    ids = np.random.default_rng(seed).choice(shape.n_neurons, min(n, shape.n_neurons), replace=False)
    return ["/synthetic/L{}N{}".format(*divmod(int(i), shape.d_mlp)) for i in ids]


def page_urls(shape: Shape, scale: float = 1.0) -> dict[str, list[str]]:
    """Addresses of each kind of page; `scale` shortens the lists for a test."""

    def some(n: int) -> int:
        return max(1, round(n * scale))

    rng = np.random.default_rng(1)
    tokens = rng.choice(shape.d_vocab, some(50), replace=False).tolist()
    layers = rng.integers(0, shape.n_layers, some(20)).tolist()
    lazy = neuron_urls(shape, some(8), seed=2)
    index = "/synthetic/neurons"
    middle = shape.n_layers // 2
    return {
        "neuron": neuron_urls(shape, some(NEURON_PAGES)),
        "token": [f"/synthetic/token/{i}" for i in tokens],
        "layer": [f"/synthetic/L{i}" for i in layers],
        "layer, sorted": [f"/synthetic/L{i}?sort=token_gap&page=2" for i in layers],
        "overview": ["/synthetic"] * some(10),
        "neurons": [index] * some(10),
        "neurons, sorted": [
            f"{index}?sort={column}&order={order}"
            for column in ("token_gap", "activation_max", "hub_count", "w_out_norm")
            for order in ("asc", "desc")
        ][: some(8)],
        "neurons, filtered": [
            f"{index}?{query}"
            for query in (
                f"layer_min={middle}&layer_max={middle}&sort=token_gap",
                "token_gap.gte=0.1",
                "exclusive=top",
                f"best_token_id={tokens[0]}",
                "w_out_norm.gte=30&activation_max.gte=5&sort=activation_max",
            )
        ][: some(5)],
        "pairs": ["/synthetic/pairs", "/synthetic/pairs?page=2", "/synthetic/pairs?all=1"] * some(3),
        "exclusive": ["/synthetic/exclusive", "/synthetic/exclusive?page=2"] * some(4),
        # Made-up tokens end in vowels, so none of these is one, which would lead there.
        "search": [f"/search?q={part}" for part in ("k", "bar", "tos", "min", "rud", "pel", "nof", "gis")],
        "lazy: tokens": [f"{url}/tokens" for url in lazy],
        "lazy: similar": [f"{url}/similar" for url in lazy],
        "lazy: token's neurons": [f"/synthetic/token/{i}/neurons" for i in tokens[: some(8)]],
    }


def datasette_beside(app: Flask, atlas: Path, folder: Path, shape: Shape, sample: int, n: int = 40) -> str:
    """Datasette's pages of the same rows, in turn with ours, as lines of a table."""
    n_neurons = min(sample, shape.n_neurons)
    file = folder / "sample.sqlite"
    start = time.perf_counter()
    rows = page_datasette.export(atlas, file, n_neurons)
    size = f"{sum(rows.values()):,} rows of {n_neurons:,} neurons, {file.stat().st_size / 1e6:,.0f} MB"
    lines = [f"SQLite for Datasette: {size}, indexed by neuron_id, exported in {time.perf_counter() - start:.0f} s"]
    ids = np.random.default_rng(3).choice(n_neurons, min(n, n_neurons), replace=False).tolist()
    client = app.test_client()

    def ours(neuron_id: int) -> float:
        url = "/synthetic/L{}N{}".format(*divmod(neuron_id, shape.d_mlp))
        client.get(url)
        begin = time.perf_counter()
        assert client.get(url).status_code == 200
        return 1000 * (time.perf_counter() - begin)

    return "\n".join([*lines, page_datasette.compare(file, ids, ours)])


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--atlas", type=Path, default=Path(tempfile.gettempdir()) / "neuron-atlas-pages.duckdb")
    parser.add_argument("--layers", type=int, default=Shape().n_layers)
    parser.add_argument("--neurons", type=int, default=Shape().d_mlp, help="Neurons a layer.")
    parser.add_argument("--sample", type=int, default=20_000, help="Neurons that Datasette is given.")
    parser.add_argument("--no-datasette", action="store_true")
    options = parser.parse_args()
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[-1:])
    torch.set_num_threads(1)
    shape = model_shape(options.layers, options.neurons)
    start = time.perf_counter()
    if made_up_atlas(options.atlas, shape):
        print(f"{options.atlas} built in {time.perf_counter() - start:.0f} s")
    size = options.atlas.stat().st_size
    print(f"DuckDB {duckdb.__version__}: {shape.n_neurons:,} neurons, {shape.d_vocab:,} tokens, {size / 1e6:,.0f} MB\n")
    with site(options.atlas) as (app, plain):
        print(HEADER)
        rows = {}
        for kind, urls in page_urls(shape).items():
            rows[kind] = measure(app, plain, kind, urls)
            print(line(rows[kind], TARGETS.get(kind, "")), flush=True)
        print(verdict(rows["neuron"]))
        if options.no_datasette:
            return
        if not page_datasette.installed():
            print("Datasette is not installed, so it is not timed: pip install 'neuron-atlas[bench]'")
            return
        with tempfile.TemporaryDirectory() as folder:
            print("\n" + datasette_beside(app, options.atlas, Path(folder), shape, options.sample))


def verdict(neuron: Measured) -> str:
    """What the table says of the neuron page's targets."""
    if neuron.note:
        return ""
    largest = max(neuron.before_charts)
    p99 = percentile(neuron.total, 0.99)
    return (
        f"neuron page: p99 {p99:.0f} ms (target 50); before charts at most {largest / 1000:.0f} kB "
        f"(target {MOST_BEFORE_CHARTS / 1000:.0f})"
    )


if __name__ == "__main__":
    main()
