"""Options that several commands share, and the quantities that options give."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from typing import Any

import click

SECONDS = {"": 1, "s": 1, "sec": 1, "min": 60, "m": 60, "h": 3600}
"""Seconds of each unit; none: seconds."""

BYTES = {"": 1, "b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "tb": 10**12, "kib": 2**10, "mib": 2**20, "gib": 2**30}
"""Bytes of each unit; none: bytes."""


def read_quantity(text: str, units: Mapping[str, int]) -> float | None:
    """A number and a unit, in upper or lower case, in the unit that is 1; None: it is not of that form."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([a-z]*)", text.strip().lower())
    return float(match[1]) * units[match[2]] if match and match[2] in units else None


VARIABLE, OFF = "NEURON_ATLAS_CACHE", "off"
"""Environment variable: the folder where dequantised models are kept, or 'off'."""


def no_cache(name: str = "--no-cache") -> Callable[[Any], Any]:
    """The option, as a decorator: for as long as the command runs, the variable says 'off', to its children as well."""
    return click.option(
        name,
        is_flag=True,
        expose_value=False,
        callback=_switch_off,
        help="Read a GGUF file itself; keep nothing of it in the cache directory.",
    )


def _switch_off(context: click.Context, parameter: click.Parameter, given: bool) -> None:
    if not given:
        return
    before = os.environ.get(VARIABLE)
    os.environ[VARIABLE] = OFF

    def restore() -> None:
        os.environ.pop(VARIABLE)
        if before is not None:
            os.environ[VARIABLE] = before

    context.call_on_close(restore)
