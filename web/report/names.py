"""Names of places and files in a report."""

from __future__ import annotations

import re


def anchor(*titles: str) -> str:
    """A name for a place or a file, from titles: lower case, words joined by '-'."""
    return "-".join(re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-") for title in titles)
