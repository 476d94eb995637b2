"""The model of a live site: the atlas's own, or none."""

from __future__ import annotations

import torch

from atlas.records.live import ModelWanted
from ingest.errors import StudyError
from ingest.model import load_model
from ingest.study.machine import StudyModel


def load_wanted(wanted: ModelWanted) -> StudyModel:
    """Load a model on the CPU, and hold its weights to be those that the atlas recorded.

    Raises:
        StudyError: they are others.
        ModelError: it cannot be loaded, or its architecture cannot be studied.
    """
    # A revision that only says where a package had it is none of the Hub's.
    revision = wanted.revision if wanted.load is None and " " not in (wanted.revision or " ") else None
    loaded = load_model(wanted.load or wanted.name, revision)
    if loaded.fingerprint != wanted.fingerprint:
        raise StudyError(
            f"The weights of {wanted.load or wanted.name!r} have the fingerprint {loaded.fingerprint}; the atlas is "
            f"of {wanted.name!r} (revision {wanted.revision or 'none'}), fingerprint {wanted.fingerprint}. Name that "
            "model with --live-model."
        )
    return StudyModel(loaded, torch.device("cpu"))
