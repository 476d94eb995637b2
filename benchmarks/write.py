"""The load phase in GPT-2 Large's shape, from finished results to a checked file: rows/s, MB/s, bytes and lookups.

    python -m benchmarks.write [--scale 1.0] [--threads 1] [--folder DIR]

Everything runs on `--threads` cores (the process is bound to them). Limits, measured in the same run: DuckDB alone
(the same Arrow batches inserted into a second file with nothing of ours around it, batch by batch in turn with ours)
and the disk (as many bytes written and fsynced). Naive: executemany on a sample, scaled. What was loaded is compared
with what was made up. A scale of 1 takes some 6 GB of memory and 5 GB of disk.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections import defaultdict
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import torch

from atlas.core.schema import STORAGE_VERSION, schema_sql
from benchmarks.shape import Shape
from benchmarks.synthetic import Finished, atlas_columns, finished_run, middle_neuron
from ingest.file.checks import bytes_per_table, check_file
from ingest.file.writer import AtlasWriter
from ingest.process.arrow import Columns
from ingest.run.write import write_texts, write_weights

NARROW = ("neuron_token", "token_neuron", "neuron_input_token", "activation_histogram", "candidate_pair")
NARROW += ("prediction_histogram",)
TABLES = ("neuron", *NARROW, "exclusive_pair", "example", "neuron_weight", "token", "token_weight")
LOOKUPS = 40
NAIVE_ROWS = 2_000


class TimedWriter(AtlasWriter):
    """Times what lies between one write and the next: conversion, insertion and hash. Other work is taken out."""

    def __init__(self, out: Path, threads: int, plain: duckdb.DuckDBPyConnection) -> None:
        super().__init__(out, Shape().d_model)
        self._connection.execute(f"SET threads = {threads}")
        self.plain = plain
        self.seconds: dict[str, float] = defaultdict(float)
        self.plain_seconds: dict[str, float] = defaultdict(float)
        self.arrow_bytes: dict[str, int] = defaultdict(int)
        self.settling = 0.0
        self.last = time.perf_counter()

    def write(self, table: str, columns: Columns) -> None:
        settled = self.settling
        super().write(table, columns)
        now = time.perf_counter()
        self.seconds[table] += now - self.last - (self.settling - settled)
        batch = pa.table({n: v if isinstance(v, pa.Array) else pa.array(v) for n, v in columns.items()})
        self.arrow_bytes[table] += batch.nbytes
        if table in NARROW:
            start = time.perf_counter()
            self.plain.execute(f"INSERT INTO {table} SELECT * FROM batch")
            self.plain_seconds[table] += time.perf_counter() - start
        self.last = time.perf_counter()

    def _detach(self) -> None:
        start = time.perf_counter()
        super()._detach()
        self.settling += time.perf_counter() - start

    def leave_out(self, function):
        """The function, its time not counted: what makes the input is no part of the load."""

        def wrapped(*arguments: object) -> object:
            start = time.perf_counter()
            result = function(*arguments)
            self.last += time.perf_counter() - start
            return result

        return wrapped


def plain_file(path: Path, threads: int) -> duckdb.DuckDBPyConnection:
    """A second file of the same schema, in one transaction, to be filled by DuckDB alone."""
    connection = duckdb.connect()
    connection.execute(f"SET threads = {threads}")
    connection.execute(f"ATTACH '{path}' AS target (STORAGE_VERSION '{STORAGE_VERSION}', RECOVERY_MODE no_wal_writes)")
    connection.execute("USE target")
    connection.execute(schema_sql(Shape().d_model))
    connection.execute("BEGIN TRANSACTION")
    return connection


def load(finished: Finished, folder: Path, threads: int) -> tuple[Path, float]:
    """Load, check and publish; print a line a table. Returns the file and the seconds that it all took."""
    out = folder / "synthetic.duckdb"
    with plain_file(folder / "plain.duckdb", threads) as plain, TimedWriter(out, threads, plain) as writer:
        finished.weights.layers = writer.leave_out(finished.weights.layers)
        write_weights(finished.run, writer, finished)
        write_texts(finished.run, writer, finished, finished.reader)
        build_id = writer.build_id()
        writer.write("atlas", atlas_columns(finished, build_id))
        writer.close()
        plain.execute("ROLLBACK")
        steps = {"writing": sum(writer.seconds.values()), "commit and checkpoint": writer.settling}
        start = time.perf_counter()
        check_file(writer.path, writer.rows)
        steps["check_file"] = time.perf_counter() - start
        start = time.perf_counter()
        sizes = bytes_per_table(writer.path)
        steps["bytes_per_table"] = time.perf_counter() - start
        start = time.perf_counter()
        writer.publish(out)
        steps["publish (fsync)"] = time.perf_counter() - start
    heads = ("rows", "s", "M rows/s", "MB/s", "file MiB", "B/row", "x DuckDB")
    print(f"\n{'table':<22}" + "".join(f"{head:>11}" for head in heads))
    for table, seconds in writer.seconds.items():
        rows, size = writer.rows[table], sizes[table]
        speed = f"{rows / seconds / 1e6:>11.2f}{writer.arrow_bytes[table] / seconds / 1e6:>11.0f}"
        ratio = f"{seconds / writer.plain_seconds[table]:>11.2f}" if table in NARROW else ""
        print(f"{table:<22}{rows:>11,}{seconds:>11.2f}{speed}{size / 2**20:>11.1f}{size / rows:>11.1f}{ratio}")
    rows, seconds = (sum(of[table] for table in NARROW) for of in (writer.rows, writer.seconds))
    alone = sum(writer.plain_seconds.values())
    print(f"narrow tables: {rows:,} rows, {rows / seconds / 1e6:.2f} M rows/s, {seconds / alone:.2f} x DuckDB alone")
    print("  " + ", ".join(f"{step} {seconds:.1f} s" for step, seconds in steps.items()))
    naive(folder, finished, rows / seconds)
    return out, sum(steps.values())


def naive(folder: Path, finished: Finished, ours: float) -> None:
    """Row by row, as a script would: executemany on a sample, in one transaction."""
    ids = finished.weights.congruence.neuron_token["top"].ids.flatten()[:NAIVE_ROWS].tolist()
    rows = [(i // 50, "top", i % 50 + 1, token, 0.5) for i, token in enumerate(ids)]
    with duckdb.connect(str(folder / "naive.duckdb")) as connection:
        connection.execute(schema_sql(Shape().d_model))
        start = time.perf_counter()
        connection.execute("BEGIN TRANSACTION")
        connection.executemany("INSERT INTO neuron_token VALUES (?, ?, ?, ?, ?)", rows)
        connection.execute("COMMIT")
        rate = len(rows) / (time.perf_counter() - start)
    print(f"  naive: executemany {rate:,.0f} rows/s, {ours / rate:,.0f} times slower")


def disk(folder: Path, n_bytes: int) -> float:
    """Seconds to write and fsync that many bytes."""
    block = np.random.default_rng(0).bytes(1 << 24)
    start = time.perf_counter()
    with (folder / "raw").open("wb", buffering=0) as file:
        for _ in range(0, n_bytes, len(block)):
            file.write(block)
        os.fsync(file.fileno())
    return time.perf_counter() - start


def compare(finished: Finished, out: Path) -> None:
    """One neuron's rows in the file are those that went in."""
    neuron, _ = middle_neuron(finished)
    with duckdb.connect(str(out), read_only=True) as connection:

        def column(sql: str) -> list:
            return [value for (value,) in connection.execute(sql, [neuron]).fetchall()]

        for direction, ranked in finished.weights.congruence.neuron_token.items():
            sql = f"FROM neuron_token WHERE neuron_id = ? AND direction = '{direction}' ORDER BY rank"
            assert column(f"SELECT token_id {sql}") == ranked.ids[neuron].tolist()
            assert column(f"SELECT congruence {sql}") == ranked.values[neuron].tolist()
        layer, index = divmod(neuron, finished.run.d_mlp)
        (w_out,) = column("SELECT w_out FROM neuron_weight WHERE neuron_id = ?")
        assert list(w_out) == finished.weights.layers(layer).w_out[index].tolist()
        examples = finished.reader.statistics["examples"].lists["max"]
        slot = examples.slots[neuron].tolist()
        windows = column("SELECT window_activations FROM example WHERE neuron_id = ? AND kind = 'max' ORDER BY rank")
        for window, place in zip(windows, slot, strict=True):
            assert window == examples.pool["window"][place, : examples.pool["window_length"][place]].tolist()
        cells = finished.reader.statistics["predictions"].result()
        (total,) = column("SELECT sum(n_actual * bin) FROM prediction_histogram WHERE neuron_id = ?")
        here = cells.neuron == neuron
        assert total == int((cells.n_actual[here] * cells.bin[here]).sum())


def lookups(out: Path, sizes: dict[str, int]) -> None:
    """Median milliseconds of every row of a neuron (or token) as Python objects: first and second time."""
    ids = np.random.default_rng(1).random(LOOKUPS)
    print(f"\n{'lookup, ms':<22}{'first':>11}{'warm':>11}")
    with duckdb.connect(str(out), read_only=True, config={"threads": 1}) as connection:
        for table in TABLES:
            key = "token_id" if table.startswith("token") else "neuron_id"  # What it is sorted by.
            items = (ids * sizes[key]).astype(int).tolist()
            times: tuple[list[float], list[float]] = ([], [])
            for taken in times:
                for item in items:
                    start = time.perf_counter()
                    connection.execute(f"SELECT * FROM {table} WHERE {key} = ?", [item]).fetchall()
                    taken.append(1000 * (time.perf_counter() - start))
            print(f"{table:<22}" + "".join(f"{statistics.median(taken):>11.2f}" for taken in times))


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scale", type=float, default=1.0, help="Share of GPT-2 Large's layers and vocabulary.")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--folder", type=Path, help="Where to write; a temporary folder here if left out.")
    options = parser.parse_args()
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: options.threads])
    torch.set_num_threads(options.threads)
    pa.set_cpu_count(options.threads)
    with tempfile.TemporaryDirectory(dir=options.folder or Path.cwd()) as folder:
        finished = finished_run(Shape.scaled(options.scale), Path(folder) / "synthetic.duckdb")
        n_neurons = finished.run.n_layers * finished.run.d_mlp
        print(f"DuckDB {duckdb.__version__}, {options.threads} core(s), scale {options.scale}: {n_neurons:,} neurons")
        out, seconds = load(finished, Path(folder), options.threads)
        size = out.stat().st_size
        raw = disk(Path(folder), size)
        print(
            f"whole load {seconds:.1f} s for {size / 1e6:,.0f} MB ({size / seconds / 1e6:.0f} MB/s); "
            f"the disk alone {raw:.1f} s ({size / raw / 1e6:.0f} MB/s): {seconds / raw:.1f} x"
        )
        compare(finished, out)
        lookups(out, {"neuron_id": n_neurons, "token_id": len(finished.run.vocabulary)})


if __name__ == "__main__":
    main()
