"""How a page is cited: its address, Markdown, BibTeX with provenance, and the lines that fetch it."""

from __future__ import annotations

import re
from dataclasses import dataclass

from atlas.records import AtlasInfo


@dataclass(frozen=True)
class Citation:
    """One way to cite a page: what it is for, and the text to copy."""

    name: str
    text: str


def _bibtex(title: str, address: str, info: AtlasInfo) -> str:
    key = re.sub(r"[^A-Za-z0-9]+", "-", f"{info.slug} {title} {info.build_id}").strip("-").lower()
    plain = re.sub(r"[{}\\]", "", f"{title}, {info.model_name}")
    return (
        f"@misc{{{key},\n  title = {{{plain}}},\n  howpublished = {{Neuron Atlas, build {info.build_id}}},\n"
        f"  year = {{{info.built_at.year}}},\n  url = {{{address}}},\n"
        f"  note = {{weights {info.model_fingerprint}; {info.n_positions:,} positions of {info.dataset} "
        f"({info.dataset_fingerprint})}}\n}}"
    )


def citations(title: str, description: str, pinned: str, data: str, info: AtlasInfo) -> list[Citation]:
    """Ways to cite a page. `pinned` is its full address, pinned to the build; `data` that of its data, pinned too."""
    short = re.sub(r"([\[\]])", r"\\\1", title)
    # A pair of brackets or parentheses in an address would end the link early.
    safe = pinned.replace("(", "%28").replace(")", "%29")
    return [
        Citation("Address", pinned),
        Citation("Markdown", f"[{short}]({safe}) of {info.model_name}. {description}"),
        Citation("BibTeX", _bibtex(title, pinned, info)),
        Citation("Data, from a shell", f"curl '{data}'"),
        Citation(
            "Data, in Python", f"import json, urllib.request\n\npage = json.load(urllib.request.urlopen({data!r}))"
        ),
    ]
