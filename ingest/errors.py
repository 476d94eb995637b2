"""Errors of ingest."""

from __future__ import annotations

from atlas.errors import AtlasError


class ModelError(AtlasError):
    """The model cannot be found, read, or described by an atlas."""


class DatasetError(AtlasError):
    """The dataset cannot be found or read, or holds no texts where it should."""


class TokenizerError(AtlasError):
    """The tokenizer does not fit the model."""


class OptionError(AtlasError):
    """An option of ingest has a value that it cannot take."""


class ActivationError(AtlasError):
    """An activation is NaN or infinite."""


class OutputError(AtlasError):
    """The atlas cannot be written, or what was written does not hold together."""
