"""Errors of ingest."""

from __future__ import annotations

from atlas.core.errors import AtlasError


class ModelError(AtlasError):
    """The model cannot be found, read, or described by an atlas."""


class DatasetError(AtlasError):
    """The dataset cannot be found or read, or has no texts in the given column."""


class TokenizerError(AtlasError):
    """The tokenizer does not fit the model."""


class OptionError(AtlasError):
    """An option of ingest has a value that it cannot take."""


class ActivationError(AtlasError):
    """An activation is NaN or infinite."""


class OutputError(AtlasError):
    """The atlas cannot be written, or the written file fails its checks."""


class CheckpointError(AtlasError):
    """A checkpoint cannot be written, cannot be read, or is of another run."""


class RankError(AtlasError):
    """A process of a distributed run died, or the processes were started differently."""


class OutOfMemoryError(AtlasError):
    """The run does not fit into the memory it may use."""


class StudyError(AtlasError):
    """An experiment cannot be run with the given options, or cannot be recorded."""
