"""Options that several commands share, and parsers of quantities."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from typing import Any

import click

SECONDS = {"": 1, "s": 1, "sec": 1, "min": 60, "m": 60, "h": 3600}
"""Seconds of each unit; without a unit: seconds."""

BYTES = {"": 1, "b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "tb": 10**12, "kib": 2**10, "mib": 2**20, "gib": 2**30}
"""Bytes of each unit; without a unit: bytes."""


def read_quantity(text: str, units: Mapping[str, int]) -> float | None:
    """Parse a number and a unit, in upper or lower case, into the base unit; None: the text is not of that form."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([a-z]*)", text.strip().lower())
    return float(match[1]) * units[match[2]] if match and match[2] in units else None


VARIABLE, OFF = "NEURON_ATLAS_CACHE", "off"
"""Environment variable: the folder of the cache of dequantised models, or 'off'."""


def no_cache(name: str = "--no-cache") -> Callable[[Any], Any]:
    """The option as a decorator: the variable is 'off' while the command runs, for its child processes too."""
    return click.option(
        name,
        is_flag=True,
        expose_value=False,
        callback=_switch_off,
        help="Read the GGUF file directly; keep nothing of it in the cache directory.",
    )


def _switch_off(context: click.Context, parameter: click.Parameter, flag: bool) -> None:
    if not flag:
        return
    before = os.environ.get(VARIABLE)
    os.environ[VARIABLE] = OFF

    def restore() -> None:
        os.environ.pop(VARIABLE)
        if before is not None:
            os.environ[VARIABLE] = before

    context.call_on_close(restore)
