"""The single row of the table `atlas`, and descriptions of a file whose run is unfinished."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from datetime import datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

from atlas.core.display import show_number


@dataclass(frozen=True)
class AtlasInfo:
    """The row of the table `atlas`, but for `readout_mean`; see the schema for each column's meaning."""

    TABLE = "atlas"

    slug: str
    build_id: str
    schema_version: int
    built_at: datetime
    model_name: str
    model_revision: str | None
    model_fingerprint: str
    n_layers: int
    d_model: int
    d_mlp: int
    d_vocab: int
    act_fn: str
    gated: bool
    normalization: str
    readout: str
    dataset_name: str
    dataset_config: str | None
    dataset_split: str | None
    dataset_fingerprint: str
    text_column: str
    n_texts: int
    n_texts_planned: int | None
    n_positions: int
    first_text: int
    text_ranges: str
    context_length: int
    bos_token_id: int | None
    bos_counted: bool
    overflow: str
    dtype: str
    device: str
    seed: int
    hook: str
    top_tokens: int
    top_neurons: int
    top_texts: int
    pair_candidates: int
    window: int
    has_weights: bool
    versions: str
    command: str

    @property
    def n_neurons(self) -> int:
        """Neurons of the whole model."""
        return self.n_layers * self.d_mlp

    @property
    def share_read(self) -> float | None:
        """Share of the run's texts that were read when the file was written; None: all, the run is complete."""
        return None if self.n_texts_planned is None else min(1.0, self.n_texts / self.n_texts_planned)

    @property
    def dataset(self) -> str:
        """The dataset with its configuration and split, as one name."""
        return " / ".join(part for part in (self.dataset_name, self.dataset_config, self.dataset_split) if part)


RUN_COLUMNS = (
    "slug",
    "model_fingerprint",
    "readout",
    "dataset_fingerprint",
    "first_text",
    "context_length",
    "bos_counted",
    "overflow",
    "dtype",
    "seed",
    "top_tokens",
    "top_neurons",
    "top_texts",
    "pair_candidates",
    "window",
    "has_weights",
)
"""Columns of `atlas` that are known when a run begins and decide what it writes."""


def run_prefix(row: Mapping[str, Any]) -> str:
    """6 hex digits of a run, from the columns of its row of `atlas`."""
    return sha256(json.dumps([row[name] for name in RUN_COLUMNS]).encode()).hexdigest()[:6]


def unfinished_build_id(row: Mapping[str, Any], content: str) -> str:
    """The build_id of a file that is not complete: the run's digits, then those of the content's hash."""
    return run_prefix(row) + content[:6]


def came_before(build_id: str, info: AtlasInfo) -> bool:
    """Whether a build_id belongs to an earlier file of the run of `info`, with fewer texts."""
    return build_id != info.build_id and build_id.startswith(run_prefix(asdict(info)))


def share_words(info: AtlasInfo) -> str | None:
    """How much of the run a file holds, as in '23% of the texts'; None: all, the run is complete. Never 100%: where the
    number of texts is an estimate, more may come than were planned."""
    share = info.share_read
    if share is None:
        return None
    return "less than 1% of the texts" if share < 0.01 else f"{min(99, int(100 * share))}% of the texts"


def count_words(info: AtlasInfo) -> str:
    """The texts that were read, as in '1,204 of about 5,300' while the run goes on, '5,311' when it is complete."""
    if info.n_texts_planned is None:
        return show_number(info.n_texts)
    # An estimate may turn out too low before the next.
    return f"{show_number(info.n_texts)} of about {show_number(max(info.n_texts, info.n_texts_planned))}"


def unfinished_words(info: AtlasInfo) -> str | None:
    """The note that everything made from an unfinished run's file must carry; None: the run is complete."""
    share = share_words(info)
    return None if share is None else f"{share[0].upper()}{share[1:]} are read: counts will grow."


@dataclass(frozen=True)
class RunProgress:
    """Progress of a run, which it writes beside its file."""

    phase: str
    """Its current phase, as in 'Activations'."""
    share: float | None
    """The share of the phase that is done, from 0 to 1; None: not known."""
    rate: str
    """As in '2,310 tokens/s'; empty for a phase that counts nothing."""
    seconds_left: float | None
    """The seconds left of the phase; None: not known."""
    memory: int
    """Bytes held."""
    written_at: float
    """Time of the report, in seconds since 1970."""
    done: dict[str, float] = field(default_factory=dict)
    """Seconds of the phases before, by name, in order."""

    @staticmethod
    def path(out: Path) -> Path:
        """The file of progress of the run that writes `out`."""
        return out.with_name(f"{out.name}.progress")

    def write(self, out: Path) -> None:
        """Write the progress; a full disk does not stop the run."""
        place = self.path(out)
        unfinished = place.with_name(f"{place.name}.new")
        with suppress(OSError):
            unfinished.write_text(json.dumps(asdict(self)), encoding="utf-8")
            os.replace(unfinished, place)

    @classmethod
    def read(cls, out: Path) -> RunProgress | None:
        """The last progress of the run that writes `out`; None: there is no run. A killed run reports nothing new."""
        try:
            return cls(**json.loads(cls.path(out).read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):
            return None

    @classmethod
    def forget(cls, out: Path) -> None:
        """Remove the file of progress, at the end of the run or after it was killed."""
        place = cls.path(out)
        for path in (place, place.with_name(f"{place.name}.new")):
            with suppress(OSError):
                path.unlink(missing_ok=True)
