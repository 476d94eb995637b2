"""The options of a run, checked."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal

import xxhash

from atlas.cli.options import BYTES, SECONDS, read_quantity
from ingest.errors import OptionError

# These change where and how fast, not what: a run may go on with others.
_INDIFFERENT = {
    "out",
    "batch_size",
    "device",
    "force",
    "command",
    "checkpoint",
    "checkpoint_every",
    "publish_every",
    "resume",
    "memory",
    "devices_per_rank",
    # The texts are read first; what follows has checkpoints of its own.
    "attribution",
}

CPU_ATTRIBUTION = 48
"""Texts over which predictions are attributed on a CPU by default: each takes a forward and a backward pass."""


@dataclass(frozen=True)
class Settings:
    """The options of `atlas ingest` (its help explains each)."""

    model: str
    dataset: str
    out: Path
    slug: str | None = None
    revision: str | None = None
    dataset_config: str | None = None
    split: str = "train"
    text_column: str = "text"
    max_texts: int | None = None
    context_length: int | None = None
    overflow: Literal["truncate", "split"] = "truncate"
    batch_size: int | None = None
    device: str = "auto"
    dtype: str = "auto"
    readout: str = "unembed"
    top_tokens: int = 50
    top_neurons: int = 50
    top_texts: int = 20
    pair_candidates: int = 5
    pairs: Path | None = None
    first_text: int = 0
    last_text: int | None = None
    window: int = 64
    count_bos: bool = False
    weights: bool = True
    statistics: tuple[str, ...] = ()
    """Options of statistics that are not in every atlas (`atlas.api.calls.OPTIONS`)."""
    attribution: int | None = 0
    """Texts over which predictions are attributed to neurons; None: all."""
    seed: int = 0
    force: bool = False
    command: str = ""
    checkpoint: Path | None = None
    checkpoint_every: float = 300.0
    """Seconds."""
    publish_every: float | None = None
    """Seconds; None: nothing is published before all texts are read."""
    resume: str = "auto"
    memory: int | None = None
    """Bytes."""
    devices_per_rank: int = 1
    """GPUs that each process divides the model over."""

    def identity(self) -> dict[str, Any]:
        """The options that decide the rows, in written form: a checkpoint belongs to one set of them."""
        chosen = None if self.pairs is None else xxhash.xxh3_64_hexdigest(self.pairs.read_bytes())
        options = {f.name: getattr(self, f.name) for f in fields(self) if f.name not in _INDIFFERENT}
        statistics = dict.fromkeys(options.pop("statistics"), True)
        options["pairs"] = chosen
        return {f"--{name.replace('_', '-')}": value for name, value in options.items()} | statistics

    def context_for(self, n_ctx: int) -> int:
        """Context length for a model of `n_ctx` positions: 1,024 by default, and never more than the model's.

        Raises:
            OptionError: the option is greater than the model's context.
        """
        if self.context_length is None:
            return min(1024, n_ctx)
        if self.context_length > n_ctx:
            raise OptionError(f"--context-length {self.context_length} is more than this model's {n_ctx} positions.")
        return self.context_length


def parse_range(text: str | None) -> tuple[int, int | None]:
    """Read `--texts A:B` (either end may be left out) into (first, last).

    Raises:
        OptionError: it is not of that form.
    """
    if text is None:
        return 0, None
    first, colon, last = text.partition(":")
    if not colon or not all(part == "" or part.isdecimal() for part in (first, last)):
        raise OptionError(f"--texts {text!r} is not a range: expected A:B, text ids from A up to but not including B.")
    return int(first or 0), int(last) if last else None


def parse_attribution(text: str, device_type: str) -> int | None:
    """Read `--attribution auto|all|N|0`: a number of texts, None for all of them.

    Raises:
        OptionError: it is not of that form.
    """
    if text == "auto":
        text = str(CPU_ATTRIBUTION) if device_type == "cpu" else "all"
    if text != "all" and not text.isdecimal():
        raise OptionError(f"--attribution {text!r} is not a number of texts: expected auto, all, a whole number or 0.")
    return None if text == "all" else int(text)


def parse_duration(option: str, text: str) -> float:
    """Read `--checkpoint-every` or `--publish-every`: '300', '90s', '5min', '1h' into seconds.

    Raises:
        OptionError: it is not of that form, or zero.
    """
    seconds = read_quantity(text, SECONDS)
    if not seconds:
        raise OptionError(f"{option} {text!r} is not a length of time: expected one like 90s, 5min or 1h.")
    return seconds


def parse_bytes(text: str | None) -> int | None:
    """Read `--memory`: '8GB', '512MB', '6GiB' into bytes; None stays None.

    Raises:
        OptionError: it is not of that form, or zero.
    """
    if text is None:
        return None
    size = read_quantity(text, BYTES)
    if not size:
        raise OptionError(f"--memory {text!r} is not an amount of memory: expected one like 8GB or 512MiB.")
    return int(size)
