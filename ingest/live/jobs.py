"""The model of a live site: the atlas's own, or none."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import Any

import torch
from pyarrow import feather

from atlas.topics.live import Activations, ActivationsWanted, ExplainWanted, ModelWanted, StudyWanted
from ingest.errors import StudyError
from ingest.live.explain import explain, read_means
from ingest.live.texts import Texts
from ingest.model.load import load_model
from ingest.study.engine import planned_passes, run_study
from ingest.study.options import StudyOptions
from ingest.study.prompts import PromptPair
from ingest.study.record import study_tables
from ingest.study.study_model import StudyModel


def load_wanted(wanted: ModelWanted) -> StudyModel:
    """Load a model on the CPU, and check that its weights are those that the atlas recorded.

    Raises:
        StudyError: the weights differ.
        ModelError: it cannot be loaded, or its architecture cannot be studied.
    """
    # A revision with a space names a package, not a commit of the Hub.
    revision = wanted.revision if wanted.load is None and " " not in (wanted.revision or " ") else None
    loaded = load_model(wanted.load or wanted.name, revision)
    if loaded.fingerprint != wanted.fingerprint:
        raise StudyError(
            f"The weights of {wanted.load or wanted.name!r} have the fingerprint {loaded.fingerprint}; the atlas is "
            f"of {wanted.name!r} (revision {wanted.revision or 'none'}), fingerprint {wanted.fingerprint}. Name that "
            "model with --live-model."
        )
    return StudyModel(loaded, torch.device("cpu"))


NAME = "live"
"""Name of a study that is not recorded."""

Job = Callable[[dict[str, Any], Callable[[int, int], None]], Any]
"""A function from a request's fields and a progress callback (forward passes done, and planned) to the answer's
record."""
_BETWEEN = 0.1
"""Seconds of a study between two checks for other requests."""


def jobs_of(model: StudyModel, tokens: int) -> dict[str, Job]:
    """The jobs of a model, by name; texts have at most `tokens` tokens, BOS not counted."""
    texts = Texts(model, tokens)
    return {
        "activations": lambda wanted, _: activations(model, texts, ActivationsWanted(**wanted)),
        "explain": lambda wanted, _: explain(model, texts, ExplainWanted(**wanted)),
        "study": lambda wanted, report: study(model, texts, StudyWanted(**wanted), report),
    }


def activations(model: StudyModel, texts: Texts, wanted: ActivationsWanted) -> Activations:
    """One neuron's activation at every token."""
    ids, has_bos = texts.read(wanted.text)
    run = model.record(torch.tensor(ids, device=model.device))
    values = run.activations[wanted.layer, :, wanted.index].tolist()
    return Activations(ids, has_bos, tuple(values))


@dataclass(frozen=True)
class StudyDone:
    """The answer of a study: its tables are in the requested folder."""

    seconds: float


def study(model: StudyModel, texts: Texts, wanted: StudyWanted, report: Callable[[int, int], None]) -> StudyDone:
    """Run a study and write its tables."""
    started = monotonic()
    for prompt in (wanted.clean, wanted.corrupt):
        texts.read(prompt)
    pairs = [PromptPair(wanted.clean, wanted.corrupt, wanted.answer, wanted.other)]
    options = StudyOptions()
    planned, done, looked = planned_passes(model.model, pairs, options), 0, 0.0
    report(0, planned)

    def progress(passes: int) -> None:
        nonlocal done, looked
        done += passes
        if monotonic() - looked > _BETWEEN:
            report(min(done, planned), planned)
            looked = monotonic()

    means = read_means(wanted.means).flatten().double().numpy()
    result = run_study(model, pairs, options, activation_mean=means, progress=progress)
    folder = Path(wanted.folder)
    folder.mkdir(mode=0o700, exist_ok=True)
    for name, table in study_tables(NAME, result, wanted.command).items():
        feather.write_feather(table, str(folder / f"{name}.arrow"), compression="uncompressed")
    return StudyDone(monotonic() - started)
