"""A table as a stream of the bytes of a Parquet or CSV file, with at most one row group in memory."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq

from atlas.core.db import Atlas
from atlas.core.jsonable import dumps
from atlas.export.source import batches
from atlas.topics.tables import SchemaTable

FORMATS = ("parquet", "csv")

_GROUP_ROWS = 122_880
"""Most rows of a row group: the size of DuckDB's own, which its threads divide among them."""
_GROUP_BYTES = 32 << 20
"""Most bytes of a row group before compression, plus one batch: this bounds the memory."""


def pieces(atlas: Atlas, table: SchemaTable, form: str, *, spill: Path | None = None) -> Iterator[bytes]:
    """The file's bytes, in pieces of any size; `spill` as for `batches`.

    Raises:
        QueryError: DuckDB fails at the table, perhaps after the first piece.
    """
    make = {"parquet": _parquet, "csv": _csv}[form]
    return make(atlas, table, spill)


class _Sink(io.RawIOBase):
    """A file-like object that holds the written bytes until they are taken."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self._parts.append(bytes(data))
        return len(data)

    def take(self) -> bytes:
        taken = b"".join(self._parts)
        self._parts.clear()
        return taken


def _parquet(atlas: Atlas, table: SchemaTable, spill: Path | None) -> Iterator[bytes]:
    sink = _Sink()
    with batches(atlas, table, text=False, spill=spill) as reader:
        schema = described(reader.schema, atlas, table)
        floats, others = _leaves(schema)
        writer = pq.ParquetWriter(
            pa.PythonFile(sink, mode="w"),
            schema,
            compression="zstd",
            write_page_index=True,
            # Floats hardly repeat, so a dictionary is useless; byte stream split makes them compress.
            use_dictionary=others,
            use_byte_stream_split=floats,
        )
        with writer:
            for group in _groups(reader):
                writer.write_table(pa.Table.from_batches(group, schema), row_group_size=_GROUP_ROWS)
                yield sink.take()
        yield sink.take()


def described(schema: pa.Schema, atlas: Atlas, table: SchemaTable) -> pa.Schema:
    """The schema with the comments of the table and its columns under `comment`, and the atlas's row as JSON under
    `atlas`."""
    comments = {column.name: column.comment for column in table.columns}
    fields = [field.with_metadata({"comment": comments[field.name] or ""}) for field in schema]
    return pa.schema(fields, {"comment": table.comment or "", "atlas": dumps(atlas.info)})


def _leaves(schema: pa.Schema) -> tuple[list[str], list[str]]:
    """Parquet's names of the columns: those of floats, and the others."""
    floats: list[str] = []
    others: list[str] = []
    for field in schema:
        path, kind = field.name, field.type
        while pa.types.is_list(kind) or pa.types.is_fixed_size_list(kind):
            path, kind = f"{path}.list.element", kind.value_type
        if not pa.types.is_nested(kind):
            (floats if pa.types.is_floating(kind) else others).append(path)
    return floats, others


def _groups(reader: pa.RecordBatchReader) -> Iterator[list[pa.RecordBatch]]:
    group: list[pa.RecordBatch] = []
    rows = size = 0
    for batch in reader:
        group.append(batch)
        rows, size = rows + batch.num_rows, size + batch.nbytes
        if rows >= _GROUP_ROWS or size >= _GROUP_BYTES:
            yield group
            group, rows, size = [], 0, 0
    if group:
        yield group


def _csv(atlas: Atlas, table: SchemaTable, spill: Path | None) -> Iterator[bytes]:
    with batches(atlas, table, text=True, spill=spill) as reader:
        sink = io.BytesIO()
        # Texts are quoted and NULL is an empty field, so an empty text and NULL stay distinct.
        with pacsv.CSVWriter(sink, reader.schema) as writer:
            for batch in reader:
                writer.write_batch(batch)
                yield sink.getvalue()
                sink.seek(0)
                sink.truncate()
        yield sink.getvalue()
