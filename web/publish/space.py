"""The README of a Hugging Face static Space: the fields that the Hub reads, and what is here."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from atlas.core.info import AtlasInfo
from atlas.export.card import TAGS, about, front_matter

_REPOSITORY = re.compile(r"[\w.-]+/[\w.-]+")
_COMMIT = re.compile(r"[0-9a-f]{40}")


def space_readme(infos: Sequence[AtlasInfo], base_url: str | None, licence: str | None) -> str:
    """The README's text; `base_url`: the copy's own address, if it is known."""
    title = f"Neuron Atlas of {' and '.join(dict.fromkeys(info.model_name for info in infos))}"
    fields: dict[str, Any] = {
        "title": title,
        "emoji": "🧠",
        "colorFrom": "red",
        "colorTo": "gray",
        "sdk": "static",
        "app_file": "index.html",
        "pinned": False,
        "tags": TAGS,
    }
    # The Hub's own names alone: a commit says that a model is from there, a split that a dataset may be.
    models = [info.model_name for info in infos if _COMMIT.fullmatch(info.model_revision or "")]
    datasets = [info.dataset_name for info in infos if info.dataset_split and _REPOSITORY.fullmatch(info.dataset_name)]
    fields |= {"license": licence} if licence else {}
    fields |= {"models": list(dict.fromkeys(models))} if models else {}
    fields |= {"datasets": list(dict.fromkeys(datasets))} if datasets else {}
    where = f"The site is at {base_url}" if base_url else "The site is at this Space's own address"
    lines = [front_matter(fields), f"# {title}\n", *(f"{about(info)}\n" for info in infos)]
    lines += [
        f"{where}, without a server: a service worker opens the pages of neurons and tokens, which are packed into "
        "archives. If a link to one of them finds nothing, open the first page once, then the link again.\n",
        "Written by `atlas publish --space`. `atlas export` writes the tables as Parquet files with a dataset card, "
        "for a dataset repository.\n",
    ]
    return "\n".join(lines)
