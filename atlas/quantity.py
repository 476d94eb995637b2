"""Amounts of memory and lengths of time, as people write them: '512MiB', '1GB', '90s'."""

from __future__ import annotations

import re
from collections.abc import Mapping

SECONDS = {"": 1, "s": 1, "sec": 1, "min": 60, "m": 60, "h": 3600}
"""Seconds of each unit; none: seconds."""

BYTES = {"": 1, "b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "tb": 10**12, "kib": 2**10, "mib": 2**20, "gib": 2**30}
"""Bytes of each unit; none: bytes."""


def read_quantity(text: str, units: Mapping[str, int]) -> float | None:
    """A number and a unit, in upper or lower case, in the unit that is 1; None: it is not of that form."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([a-z]*)", text.strip().lower())
    return float(match[1]) * units[match[2]] if match and match[2] in units else None
