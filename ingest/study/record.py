"""Run a study on an atlas's model and record it in the atlas."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
from rich.console import Console

from atlas.core.db import open_atlas
from atlas.core.info import AtlasInfo
from ingest.errors import StudyError
from ingest.file.append import check_extendable, extend_atlas
from ingest.file.writer import library_versions
from ingest.model.load import LoadedModel, load_model
from ingest.process.device import choose_device
from ingest.process.progress import Phases
from ingest.study.engine import planned_passes, run_study
from ingest.study.options import StudyOptions
from ingest.study.prompts import PromptPair
from ingest.study.result import StudyResult
from ingest.study.suite import read_suite

_PROMPT_COLUMNS = (
    "clean",
    "corrupt",
    "clean_token_ids",
    "corrupt_token_ids",
    "answer_token_id",
    "other_token_id",
    "clean_logit_diff",
    "corrupt_logit_diff",
    "p_answer_clean",
    "p_answer_corrupt",
    "p_other_clean",
    "p_other_corrupt",
)
_MEANS = _PROMPT_COLUMNS[6:]


@dataclass(frozen=True)
class Request:
    """The options of `atlas study` (its help explains each)."""

    file: Path
    name: str
    clean: str | None
    corrupt: str | None
    answer: str | None
    other: str | None
    suite: Path | None
    patched: int
    found: int
    model: str | None
    revision: str | None
    device: str
    batch_size: int | None
    out: Path | None
    seed: int
    force: bool
    command: str


@dataclass(frozen=True)
class Recorded:
    """A recorded study."""

    name: str
    out: Path
    build_id: str
    result: StudyResult
    seconds: dict[str, float]


def record_study(request: Request, console: Console) -> Recorded:
    """Run a study and write it into the atlas.

    Raises:
        StudyError: the prompts cannot be compared, the atlas has a study of that name (unless `force`), or the model
            that was loaded is not the atlas's.
        AtlasError: any of its kinds, for the file and the model. Nothing is written then.
    """
    with open_atlas(request.file) as atlas:
        info = atlas.info
        _check_name(request, atlas.rows("SELECT name FROM study"))
        means = atlas.arrays("SELECT activation_mean FROM neuron ORDER BY neuron_id")
    check_extendable(request.file, request.out, force=request.force)
    pairs = _pairs(request)
    device = choose_device(request.device)
    with Phases(console, device, out=request.out or request.file) as phases:
        with phases.phase("Loading model"):
            model = load_own_model(info, request.model, request.revision)
        options = StudyOptions(
            patched=request.patched, found=request.found, batch_size=request.batch_size, seed=request.seed
        )
        planned = planned_passes(model, pairs, options)
        with phases.phase("Experiments", total=planned, unit="passes") as advance:
            result = run_study(
                model,
                pairs,
                options,
                activation_mean=np.asarray(means["activation_mean"], np.float64),
                device=device,
                progress=advance,
            )
        with phases.phase("Writing"):
            build_id = extend_atlas(
                request.file,
                study_tables(request.name, result, request.command),
                out=request.out,
                without=f"key = '{request.name}'",
            )
    return Recorded(request.name, request.out or request.file, build_id, result, {**phases.seconds, **result.seconds})


def load_own_model(info: AtlasInfo, model: str | None, revision: str | None) -> LoadedModel:
    """Load the atlas's own model: `model`, or the one that the atlas names. Its weights must be those recorded.

    Raises:
        StudyError: the weights differ.
        ModelError: it cannot be loaded.
    """
    name = info.model_name if model is None else model
    # A revision with a space names a package, not a commit of the Hub.
    recorded = info.model_revision if info.model_revision and " " not in info.model_revision else None
    loaded = load_model(name, revision or (recorded if model is None else None))
    if loaded.fingerprint != info.model_fingerprint:
        raise StudyError(
            f"The weights of {name!r} (revision {loaded.revision or 'none'}) have the fingerprint "
            f"{loaded.fingerprint}; the atlas is of {info.model_name!r} (revision {info.model_revision or 'none'}), "
            f"fingerprint {info.model_fingerprint}. Name that model with --model and --revision."
        )
    return loaded


def study_tables(name: str, result: StudyResult, command: str) -> dict[str, pa.Table]:
    """A result as rows of the study tables."""
    prompts = [{column: getattr(prompt, column) for column in _PROMPT_COLUMNS} for prompt in result.prompts]
    first = prompts[0]
    row = {
        "name": name,
        "made_at": datetime.now(UTC).replace(tzinfo=None, microsecond=0),
        **{column: first[column] for column in ("clean", "corrupt", "answer_token_id", "other_token_id")},
        **{column: float(np.mean([prompt[column] for prompt in prompts])) for column in _MEANS},
        "n_prompts": len(prompts),
        "from_end": result.from_end,
        "patched_layers": [int(layer) for layer in result.patched_layers],
        "found_neuron_ids": [int(neuron) for neuron in result.found_neuron_ids],
        "versions": json.dumps(library_versions()),
        "command": command,
    }
    study = pa.Table.from_pylist([row])
    lists = {"patched_layers": pa.list_(pa.int32()), "found_neuron_ids": pa.list_(pa.int32())}
    for column, kind in lists.items():  # An empty list has no type.
        study = study.set_column(study.schema.get_field_index(column), column, pa.array([row[column]], kind))
    return {
        "study": study,
        "study_prompt": pa.Table.from_pylist(
            [{"study": name, "prompt": number, **prompt} for number, prompt in enumerate(prompts)]
        ),
        "study_prediction": _named(name, result.predictions),
        "study_step": _named(name, result.steps),
        "study_edge": _named(name, result.edges),
    }


def _named(name: str, columns: dict[str, object]) -> pa.Table:
    arrays = {column: pa.array(values) for column, values in columns.items()}
    return pa.table({"study": pa.array([name] * len(next(iter(arrays.values())))), **arrays})


def _check_name(request: Request, there: Sequence[tuple[str]]) -> None:
    if (request.name,) in there and not request.force:
        raise StudyError(
            f"{request.file} has a study {request.name!r} already. Choose another --name, or replace it with --force."
        )


def _pairs(request: Request) -> list[PromptPair]:
    if request.suite is not None:
        return read_suite(request.suite, answer=request.answer, other=request.other)
    return [PromptPair(request.clean, request.corrupt, request.answer, request.other)]
