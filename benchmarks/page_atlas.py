"""The made-up atlas whose pages are timed: built once by the real load phase, then kept."""

from __future__ import annotations

from pathlib import Path

import duckdb

from atlas.core.schema import SCHEMA_VERSION
from benchmarks.shape import Shape
from benchmarks.synthetic import atlas_columns, finished_run
from ingest.file.checks import check_file
from ingest.file.writer import AtlasWriter
from ingest.run.write import write_texts, write_weights


def made_up_atlas(path: Path, shape: Shape) -> bool:
    """Make sure that `path` is an atlas of that shape, building it if not; returns whether it was built."""
    if _fits(path, shape):
        return False
    finished = finished_run(shape, path)
    with AtlasWriter(path, shape.d_model) as writer:
        write_weights(finished.run, writer, finished)
        write_texts(finished.run, writer, finished, finished.reader)
        writer.write("atlas", atlas_columns(finished, writer.build_id()))
        writer.close()
        check_file(writer.path, writer.rows)
        writer.publish(path)
    return True


def _fits(path: Path, shape: Shape) -> bool:
    """Whether the file is of today's schema and of that shape: one kept from an older checkout may be neither."""
    expected = (SCHEMA_VERSION, "synthetic", shape.n_layers, shape.d_mlp, shape.d_model, shape.d_vocab, shape.n_texts)
    if not path.is_file():
        return False
    with duckdb.connect(str(path), read_only=True) as connection:
        columns = "schema_version, slug, n_layers, d_mlp, d_model, d_vocab, n_texts"
        return connection.execute(f"SELECT {columns} FROM atlas").fetchone() == expected
