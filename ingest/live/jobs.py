"""The model of a live site: the atlas's own, or none."""

from __future__ import annotations

import base64
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import Any

import numpy as np
import torch
from pyarrow import feather

from atlas.topics.live import (
    Activations,
    ActivationsWanted,
    Effects,
    EffectsWanted,
    ModelWanted,
    NeuronEffect,
    Predicted,
    StudyWanted,
)
from ingest.errors import StudyError
from ingest.model.load import load_model
from ingest.model.saved_tokenizer import bos_for
from ingest.study.blocks import RecordedRun
from ingest.study.engine import planned_passes, run_study
from ingest.study.lens import effects_along, hold_final
from ingest.study.options import StudyOptions
from ingest.study.prompts import PromptPair, encode, one_token
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

_TOP = 10
Job = Callable[[dict[str, Any], Callable[[int, int], None]], Any]
"""A function from a request's fields and a progress callback (forward passes done, and planned) to the answer's
record."""
_BETWEEN = 0.1
"""Seconds of a study between two checks for other requests."""


def jobs_of(model: StudyModel, tokens: int) -> dict[str, Job]:
    """The jobs of a model, by name; texts have at most `tokens` tokens, BOS not counted."""
    texts = _Texts(model, tokens)
    return {
        "activations": lambda wanted, _: activations(model, texts, ActivationsWanted(**wanted)),
        "effects": lambda wanted, _: effects(model, texts, EffectsWanted(**wanted)),
        "study": lambda wanted, report: study(model, texts, StudyWanted(**wanted), report),
    }


@dataclass(frozen=True)
class _Texts:
    """Texts as tokens, up to the operator's limit."""

    model: StudyModel
    most: int

    def read(self, text: str) -> tuple[tuple[int, ...], bool]:
        """Token ids with BOS before them where the model has one, and whether it has.

        Raises:
            StudyError: there is no token, or there are too many.
        """
        ids = encode(self.model.model, text)
        bos = bos_for(self.model.model.tokenizer)
        self.check(ids, bos is not None)
        return (ids if bos is None else (bos, *ids)), bos is not None

    def check(self, ids: tuple[int, ...], has_bos: bool) -> None:
        """Refuse a text that is too short or too long.

        Raises:
            StudyError: it is.
        """
        context = getattr(self.model.model.cfg, "n_ctx", None)
        most = self.most if context is None else min(self.most, context - has_bos)
        if not ids:
            raise StudyError("The text is empty: type at least one word.")
        if len(ids) > most:
            raise StudyError(f"The text has {len(ids):,} tokens; expected at most {most:,} here. Shorten it.")


def activations(model: StudyModel, texts: _Texts, wanted: ActivationsWanted) -> Activations:
    """One neuron's activation at every token."""
    ids, has_bos = texts.read(wanted.text)
    run = model.record(torch.tensor(ids, device=model.device))
    values = run.activations[wanted.layer, :, wanted.index].tolist()
    return Activations(ids, has_bos, tuple(values))


def effects(model: StudyModel, texts: _Texts, wanted: EffectsWanted) -> Effects:
    """The neurons that raise a token's logit most after a text, and those that lower it most."""
    ids, has_bos = texts.read(wanted.text)
    plain = ids[has_bos:]
    run = model.record(torch.tensor(ids, device=model.device))
    logits, probabilities = run.logits.cpu().numpy(), run.logits.softmax(-1).cpu().numpy()
    order = np.argsort(-logits, kind="stable")
    token, against = (
        None if text is None else one_token(model.model, name, text, wanted.text, plain)
        for name, text in (("token", wanted.token), ("other token", wanted.against))
    )
    token = int(order[0]) if token is None else token
    if token == against:
        raise StudyError("The token and the one it is weighed against are the same: give two, or leave one out.")
    direction, bias = model.direction(token, against)
    each = effects_along(model, run, direction)
    rank = np.empty(len(order), np.int64)
    rank[order] = np.arange(1, len(order) + 1)
    listed = {*order[:_TOP].tolist(), token} | ({against} if against is not None else set())
    return Effects(
        token_ids=ids,
        has_bos=has_bos,
        predictions=tuple(
            Predicted(number, int(rank[number]), float(logits[number]), float(probabilities[number]))
            for number in sorted(listed, key=lambda number: rank[number])
        ),
        token_id=token,
        against_id=against,
        value=_value(model, run, direction) + bias,
        total=float(each.sum(dtype=np.float64)),
        raising=_first(run, each, each, wanted.most),
        lowering=_first(run, each, -each, wanted.most),
    )


def _value(model: StudyModel, run: RecordedRun, direction: torch.Tensor) -> float:
    """The contribution of the residual stream and the final norm's bias along a direction at the last position."""
    return float(hold_final(model, run).apply(run.residual[-1, -1]) @ direction)


def _first(run: RecordedRun, each: np.ndarray, key: np.ndarray, most: int) -> tuple[NeuronEffect, ...]:
    """Neurons in the order of a positive key; equal: the lower neuron first."""
    order = np.argsort(-key.ravel(), kind="stable")[:most]
    at, last = each.ravel(), run.activations[:, -1].cpu().numpy().ravel()
    return tuple(
        NeuronEffect(int(number), float(last[number]), float(at[number])) for number in order if key.ravel()[number] > 0
    )


@dataclass(frozen=True)
class StudyDone:
    """The answer of a study: its tables are in the requested folder."""

    seconds: float


def study(model: StudyModel, texts: _Texts, wanted: StudyWanted, report: Callable[[int, int], None]) -> StudyDone:
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

    means = np.frombuffer(base64.b64decode(wanted.means), "<f4").astype(np.float64)
    result = run_study(model, pairs, options, activation_mean=means, progress=progress)
    folder = Path(wanted.folder)
    folder.mkdir(mode=0o700, exist_ok=True)
    for name, table in study_tables(NAME, result, wanted.command).items():
        feather.write_feather(table, str(folder / f"{name}.arrow"), compression="uncompressed")
    return StudyDone(monotonic() - started)
