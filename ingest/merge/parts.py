"""The atlases to merge: opened, compared by their table `atlas`, ordered by their texts."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path

from atlas.core.db import open_atlas
from atlas.core.errors import AtlasError
from atlas.core.info import AtlasInfo


def parse_ranges(text: str) -> list[range]:
    """Ranges of text ids from their written form."""
    return [range(*map(int, part.split(":"))) for part in text.split(",")]


def write_ranges(ranges: Iterable[range]) -> str:
    """Written form of disjoint ranges: ascending, those that adjoin joined."""
    joined: list[range] = []
    for part in sorted(ranges, key=lambda part: part.start):
        if joined and joined[-1].stop == part.start:
            joined[-1] = range(joined[-1].start, part.stop)
        else:
            joined.append(part)
    return ",".join(f"{part.start}:{part.stop}" for part in joined)


def overlap(one: Iterable[range], other: Iterable[range]) -> range | None:
    """The first range of ids in both; None if there is none."""
    others = list(other)
    shared = (range(max(a.start, b.start), min(a.stop, b.stop)) for a in one for b in others)
    return min(filter(len, shared), key=lambda part: part.start, default=None)


MAY_DIFFER = {
    # Values of each file, and those that the merge computes.
    "slug",
    "build_id",
    "built_at",
    "command",
    "n_texts",
    "n_texts_planned",
    "n_positions",
    "first_text",
    "text_ranges",
    # Names depend on where a machine keeps things; the fingerprints say that the weights and the texts are the same.
    "model_name",
    "model_revision",
    "dataset_name",
    "dataset_config",
    "dataset_split",
    # Results in one precision are comparable on any device: all devices are recorded.
    "device",
    "versions",
}
"""Columns of `atlas` in which parts may differ; they must agree in every other one."""


class MergeError(AtlasError):
    """Atlases cannot be merged; names two and their first difference."""


@dataclass(frozen=True)
class Part:
    """One atlas to merge."""

    path: Path
    info: AtlasInfo
    ranges: list[range]
    """Ids of the texts that were run."""


def open_parts(paths: Sequence[Path], out: Path, slug: str | None) -> list[Part]:
    """The parts, sorted by their first text.

    Raises:
        MergeError: fewer than two, one named twice or as the output, or two that differ in model, data or options, or
            ran the same text, or, unless a `slug` is given for the whole, differ in theirs.
        NotAnAtlasError, SchemaVersionError: a file is no atlas, or not of this program's schema version.
    """
    if len(paths) < 2:
        raise MergeError(
            f"{len(paths)} file to merge; expected two or more parts, made with `atlas ingest --texts A:B`."
        )
    parts = []
    for path in paths:
        with open_atlas(path) as atlas:
            if atlas.info.share_read is not None:
                raise MergeError(
                    f"{str(path)!r} is not complete: {atlas.info.share_read:.0%} of its texts are read. Wait for its "
                    "run, or start that again; expected parts that are."
                )
            parts.append(Part(path, atlas.info, parse_ranges(atlas.info.text_ranges)))
    for one, other in itertools.combinations(paths, 2):
        if one.samefile(other):
            raise MergeError(f"{str(other)!r} is named twice, the first time as {str(one)!r}. Name every part once.")
    for path in paths:
        if out.exists() and out.samefile(path):
            raise MergeError(f"--out {str(out)!r} is one of the parts, which are only read. Choose another.")
    for other in parts[1:]:
        check_alike(parts[0], other, slug)
    parts.sort(key=lambda part: part.info.first_text)
    for one, other in itertools.combinations(parts, 2):
        shared = overlap(one.ranges, other.ranges)
        if shared is not None:
            raise MergeError(
                f"{str(one.path)!r} and {str(other.path)!r} cannot be merged: both ran texts "
                f"{shared.start}:{shared.stop} (text_ranges is {one.info.text_ranges!r} in the first and "
                f"{other.info.text_ranges!r} in the second). Parts must be of disjoint texts."
            )
    return parts


def check_alike(one: Part, other: Part, slug: str | None) -> None:
    """Accept two parts of the same model, data and options, and of one slug unless a `slug` is given for the whole.

    Raises:
        MergeError: names the first column of `atlas` in which they differ.
    """
    for name in (field.name for field in fields(AtlasInfo)):
        if name not in MAY_DIFFER:
            refuse_difference(
                one.path,
                other.path,
                name,
                getattr(one.info, name),
                getattr(other.info, name),
                "Parts must be of the same model, data and options.",
            )
    if slug is None:
        refuse_difference(one.path, other.path, "slug", one.info.slug, other.info.slug, "Name the whole with --slug.")


def refuse_difference(one: Path, other: Path, what: str, first: object, second: object, remedy: str) -> None:
    """Accept two values that are the same.

    Raises:
        MergeError: they differ; names both files, the column and both values.
    """
    if first != second:
        raise MergeError(
            f"{str(one)!r} and {str(other)!r} cannot be merged: {what} is {first!r} in the first and {second!r} in the "
            f"second. {remedy}"
        )
