"""Names of neurons (`L31N892`) and atlases (slugs)."""

from __future__ import annotations

import re

from atlas.core.errors import NeuronNameError, SlugError

RESERVED_SLUGS = frozenset({"api", "bridge", "embed", "static", "search", "glossary", "healthz", "oembed"})

# L31N892 (canonical), l31n892, L31/N892, layer 31 neuron 892, 31.892, 31:892, 31/892.
_NEURON = re.compile(
    r"l(?:ayer)?\s*([0-9]{1,18})[\s,/]*n(?:euron)?\s*([0-9]{1,18})|([0-9]{1,18})[.:/]([0-9]{1,18})", re.IGNORECASE
)
_LAYER = re.compile(r"l(?:ayer)?\s*([0-9]{1,9})", re.IGNORECASE)
NEURON_SPELLINGS = "L31N892, L31/N892, 31.892, 31:892, 31/892"
"""The accepted spellings, by example, for messages."""

_SLUG = re.compile(r"[a-z0-9-]+")
_RESERVED_DATABASES = frozenset({"main", "memory", "system", "temp"})
"""Databases and schemas of DuckDB itself, whose names a slug may equal."""


def neuron_name(layer: int, index: int) -> str:
    """The canonical name of a neuron: `neuron_name(31, 892) == "L31N892"`."""
    return f"L{layer}N{index}"


def is_neuron_name(text: str) -> bool:
    """Whether the text spells a neuron's name, of any model."""
    return spelled_neuron(text) is not None


def spelled_neuron(text: str) -> tuple[int, int] | None:
    """Layer and index of a neuron's name in any accepted spelling, of any model; None: the text is no neuron's name."""
    match = _NEURON.fullmatch(text.strip())
    if match is None:
        return None
    layer, index = (int(group) for group in match.groups() if group is not None)
    return layer, index


def spelled_layer(text: str) -> int | None:
    """Number of a layer written `L31` or `layer 31`, of any model; None: the text is no layer's name."""
    match = _LAYER.fullmatch(text.strip())
    return int(match[1]) if match else None


def parse_neuron(text: str, n_layers: int, d_mlp: int) -> tuple[int, int]:
    """Read a neuron's name in any accepted spelling into (layer, index).

    Raises:
        NeuronNameError: the text is no neuron name, or the layer or index is out of the model's range.
    """
    spelled = spelled_neuron(text)
    if spelled is None:
        raise NeuronNameError(f"{text!r} is not a neuron name; write it as L31N892 (layer, index, both from 0).")
    layer, index = spelled
    if layer >= n_layers:
        raise NeuronNameError(f"There is no layer {layer}: this model has layers 0 to {n_layers - 1}.")
    if index >= d_mlp:
        raise NeuronNameError(f"There is no neuron {index} in layer {layer}: indices go from 0 to {d_mlp - 1}.")
    return layer, index


_TWO_NUMBERS = re.compile(r"[^0-9]*([0-9]{1,18})[^0-9]+([0-9]{1,18})[^0-9]*")


def nearest_neuron(text: str, n_layers: int, d_mlp: int) -> str | None:
    """The name of the model's neuron nearest to a misspelt one; None where the text holds no layer and index."""
    match = _TWO_NUMBERS.fullmatch(text)
    if match is None:
        return None
    return neuron_name(min(int(match[1]), n_layers - 1), min(int(match[2]), d_mlp - 1))


def check_slug(slug: str) -> str:
    """Return the slug if it may name an atlas in a URL.

    Raises:
        SlugError: it is not `[a-z0-9-]+` or is a reserved word.
    """
    if not _SLUG.fullmatch(slug):
        raise SlugError(f"The slug {slug!r} is not allowed: use only a-z, 0-9 and '-'. Choose one with --slug.")
    if slug in RESERVED_SLUGS:
        raise SlugError(f"The slug {slug!r} is reserved for the site's own pages. Choose another with --slug.")
    return slug


def database_name(slug: str) -> str:
    """Name of an atlas's database in SQL where several are attached: its slug, unquoted. Names that DuckDB reserves get
    a '_', which no slug contains."""
    return f"{slug}_" if slug in _RESERVED_DATABASES else slug


def slugify(name: str) -> str:
    """Make a slug from a model name: the last part of its path, lower case, other characters as '-'.

    Raises:
        SlugError: nothing usable is left, or the result is reserved.
    """
    return check_slug(re.sub(r"[^a-z0-9]+", "-", name.rstrip("/").split("/")[-1].lower()).strip("-"))
