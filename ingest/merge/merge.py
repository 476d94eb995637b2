"""Merge parts into one file: open and compare them, write table by table, check, publish."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import duckdb
import torch
from rich.console import Console

from atlas.core.files import check_output, free_output
from atlas.core.names import check_slug
from ingest.file.checks import check_file
from ingest.file.writer import AtlasWriter
from ingest.merge.parts import MergeError, Part, open_parts, write_ranges
from ingest.merge.same_rows import check_same_rows
from ingest.merge.sources import Sources
from ingest.merge.tables import N_STEPS, write_tables
from ingest.process.lock import output_locked
from ingest.process.progress import Phases


@dataclass(frozen=True)
class MergeReport:
    """The results of a merge."""

    out: Path
    build_id: str
    n_parts: int
    n_texts: int
    n_positions: int
    seconds: float


def merge(
    paths: Sequence[Path],
    out: Path,
    console: Console,
    *,
    slug: str | None = None,
    force: bool = False,
    command: str = "",
) -> MergeReport:
    """Write to `out` the atlas that one run over the texts of all parts would have written.

    Counts, examples and moments are those of one run over the same activations, to the bit. The tables from weights
    alone, and names, are those of the part with the first text, so the order of `paths` does not matter.

    Raises:
        MergeError: the parts do not belong together, or cannot be read.
        AtlasError: any other of its kinds. Nothing is left behind, and an older file of the same name is untouched.
    """
    started = time.perf_counter()
    check_output(out, force=force)
    parts = open_parts(paths, out, slug)
    slug = parts[0].info.slug if slug is None else check_slug(slug)
    try:
        phases = Phases(console, torch.device("cpu"), out=out)
        with output_locked(out), phases, Sources(parts) as sources:
            with phases.phase("Comparing"):
                check_same_rows(sources)
            with AtlasWriter(out, parts[0].info.d_model) as writer:
                with phases.phase("Merging", total=N_STEPS) as advance:
                    write_tables(sources, writer, advance)
                    row = _atlas_row(sources, slug, command)
                    build_id = writer.write_atlas({name: [value] for name, value in row.items()})
                    writer.close()
                with phases.phase("Checking"):
                    check_file(writer.path, writer.rows)
                out = free_output(out, build_id, force=force)
                writer.publish(out)
    except duckdb.Error as error:
        raise MergeError(f"A part cannot be read: {error}. Write it again with `atlas ingest`.") from error
    return MergeReport(out, build_id, len(parts), row["n_texts"], row["n_positions"], time.perf_counter() - started)


def _atlas_row(sources: Sources, slug: str, command: str) -> dict[str, object]:
    (row,) = sources.read("SELECT * FROM p0.atlas").to_pylist()
    infos = [part.info for part in sources.parts]
    return {
        **row,
        "slug": slug,
        "built_at": datetime.now(UTC).replace(tzinfo=None),
        "n_texts": sum(info.n_texts for info in infos),
        "n_positions": sum(info.n_positions for info in infos),
        "text_ranges": write_ranges(texts for part in sources.parts for texts in part.ranges),
        "device": several(info.device for info in infos),
        "versions": json.dumps(_versions(sources.parts)),
        "command": command,
    }


def _versions(parts: Sequence[Part]) -> dict[str, str | None]:
    every = [json.loads(part.info.versions) for part in parts]
    names = dict.fromkeys(name for versions in every for name in versions)
    return {name: several(versions.get(name) for versions in every) for name in names}


def several(values: Iterator[str | None]) -> str | None:
    """One value if all are the same; otherwise each of them once, comma-separated and in order; None is left out.

    Comma-separated values, of parts that were merged before, are split first.
    """
    distinct = {one for value in values if value is not None for one in value.split(",")}
    return ",".join(sorted(distinct)) if distinct else None
