"""Rows of the merged atlas from those of the parts: statistics are made from rows and merged, some neurons or tokens at
a time; tables from weights are the first part's."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from ingest.activations.registry import DERIVED, STATISTICS
from ingest.activations.statistic import Statistic
from ingest.activations.text_store import TextStore
from ingest.file.append import ADDED_COLUMNS
from ingest.file.checks import WEIGHT_TABLES
from ingest.file.writer import AtlasWriter
from ingest.merge.parts import MergeError
from ingest.merge.sources import CitedTexts, Sources, columns
from ingest.process.arrow import Columns

N_STEPS = len(WEIGHT_TABLES) + 3
"""Number of steps of `write_tables`: each table of weights, tokens, neurons, texts."""


def write_tables(sources: Sources, writer: AtlasWriter, advance: Callable[[float], None]) -> None:
    """Write every table but `atlas`.

    Raises:
        MergeError: some parts have a statistic that others have not.
    """
    info = sources.parts[0].info
    for table in WEIGHT_TABLES:
        for rows in _weight_rows(sources, table):
            writer.write(table, rows)
        advance(1)
    texts = CitedTexts(sources)
    kinds = [kind for kind in STATISTICS if _counted(sources, kind)]
    for axis, end in (("token_id", info.d_vocab), ("neuron_id", info.n_neurons)):
        for low, high in sources.spans(end):
            _write_span(sources, writer, texts, [kind for kind in kinds if kind.axis == axis], axis, low, high)
        advance(1)
    for ids in texts.cited():
        store = TextStore()
        for part in range(len(sources.parts)):
            span = sources.span(part, "text_id", int(ids[0]), int(ids[-1]) + 1, texts.hash_of)
            store.merge(TextStore.from_rows(span.rows("text")))
        store.prune(ids)
        for rows in store.rows():
            writer.write("text", rows)
    advance(1)


def _weight_rows(sources: Sources, table: str) -> Iterator[Columns]:
    """A table of weights as in the first part that has any, in its order; one not by neuron or token is small."""
    filled = (i for i in range(len(sources.parts)) if sources.rows(f'SELECT EXISTS (FROM p{i}."{table}")')[0][0])
    part = next(filled, 0)
    axis, info = WEIGHT_TABLES[table][0], sources.parts[0].info
    end = {"neuron_id": info.n_neurons, "token_id": info.d_vocab}.get(axis)
    if end is None:
        yield columns(sources.read(f'SELECT * FROM p{part}."{table}"'))
        return
    row_bytes = 12 * info.d_model if table.endswith("_weight") else 0
    for low, high in sources.spans(end, parts=1, row_bytes=row_bytes):
        yield columns(sources.rows_of(part, table, axis, low, high))


def _counted(sources: Sources, kind: type[Statistic]) -> bool:
    """Whether the parts have a statistic; all or none of them must."""
    if kind.option is None:
        return True
    table = next(iter(kind.tables))
    counted = [sources.rows(f"SELECT EXISTS (FROM p{i}.{table})")[0][0] for i in range(len(sources.parts))]
    if any(counted) and not all(counted):
        path, what = sources.parts[counted.index(False)].path, kind.option.removeprefix("--").replace("-", " ")
        raise MergeError(f"{str(path)!r} has no {what}, and other parts have them: use {kind.option} for all.")
    return any(counted)


def _write_span(
    sources: Sources,
    writer: AtlasWriter,
    texts: CitedTexts,
    kinds: list[type[Statistic]],
    axis: str,
    low: int,
    high: int,
) -> None:
    """Write the rows of some neurons or tokens: of their own table, of their statistics, of derived tables."""
    spans = [sources.span(part, axis, low, high, texts.hash_of) for part in range(len(sources.parts))]
    table = axis.removesuffix("_id")
    rows = {name: column for name, column in columns(spans[0].rows(table)).items() if name not in ADDED_COLUMNS}
    statistics = {}
    for kind in kinds:
        statistics[kind.name] = whole = kind.from_rows(spans[0])
        for span in spans[1:]:
            whole.merge(kind.from_rows(span))
        rows |= whole.columns()
        texts.keep(whole.cited())
    writer.write(table, rows)
    for whole in statistics.values():
        for name, rows in whole.rows(TextStore()):
            writer.write(name, rows)
    if axis == "neuron_id":
        pairs = (ids.numpy() for ids in spans[0].arrays("candidate_pair", "neuron_id", "token_id"))
        for derived in DERIVED:
            for name, rows in derived.rows(statistics, *pairs, gated=spans[0].info.gated):
                writer.write(name, rows)
