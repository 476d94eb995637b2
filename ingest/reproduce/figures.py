"""Published figures with their sources, read from a file and checked."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ingest.errors import OptionError
from ingest.texts.text_file import NOT_TEXT, read_text, undecodable

OWN = Path(__file__).with_name("an_neuron.json")
"""The post's."""

KINDS = ("number", "lens", "map", "neurons", "predictions", "congruence", "pairs", "hubs", "curve")


@dataclass(frozen=True)
class Figure:
    """One published figure, of one value or many."""

    id: str
    kind: str
    """One of KINDS, which decides the form of `data` and its comparison (see `ingest.reproduce.judge`)."""
    title: str
    source: str
    """The place of publication."""
    description: str
    tolerance: float | int | Mapping[str, float | int]
    """Greatest difference that still counts as reproduced; by name where there are several."""
    why: str
    """The reason for this tolerance."""
    not_judged: str | None
    """The reason why it is shown but not judged; None: it is judged."""
    data: Mapping[str, Any]
    """The values and their labels."""


@dataclass(frozen=True)
class Published:
    """All figures, and the model, conventions and study behind them."""

    about: str
    model: Mapping[str, Any]
    """name, n_layers, d_model, d_mlp, d_vocab."""
    conventions: Mapping[str, Any]
    """Columns of the `atlas` row with the post's values."""
    study: Mapping[str, Any]
    """name, clean, corrupt, answer, other, layers."""
    figures: tuple[Figure, ...]

    def of_kind(self, kind: str) -> list[Figure]:
        """Figures of a kind, in order."""
        return [figure for figure in self.figures if figure.kind == kind]


def read_published(path: Path = OWN) -> Published:
    """Read a file of figures.

    Raises:
        OptionError: it cannot be read, or a figure is of an unknown kind; says which.
    """
    try:
        loaded = json.loads(read_text(path))
        figures = tuple(_figure(dict(entry)) for entry in loaded["figures"])
        return Published(**{name: loaded[name] for name in ("about", "model", "conventions", "study")}, figures=figures)
    except UnicodeDecodeError as error:
        raise OptionError(undecodable(path, error)) from error
    except (OSError, *NOT_TEXT, ValueError, KeyError, TypeError) as error:
        raise OptionError(
            f"The figures {str(path)!r} cannot be read ({type(error).__name__}: {error}). Expected a file in the form "
            f"of {OWN.name}."
        ) from error


def _figure(entry: dict[str, Any]) -> Figure:
    if entry["kind"] not in KINDS:
        raise ValueError(f"figure {entry['id']!r} is of kind {entry['kind']!r}, expected one of {', '.join(KINDS)}")
    named = ("id", "kind", "title", "source", "description", "tolerance", "why")
    return Figure(**{name: entry.pop(name) for name in named}, not_judged=entry.pop("not_judged", None), data=entry)
