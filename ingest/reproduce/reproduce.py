"""Run `atlas reproduce`: make or open the atlas, measure the figures, write the report."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rich.console import Console

from atlas.core.db import open_atlas
from atlas.core.files import check_folder, check_output
from atlas.core.info import AtlasInfo
from ingest.errors import DatasetError, OutputError
from ingest.file.append import check_extendable, extend_atlas
from ingest.model.load import LoadedModel, load_model
from ingest.process.device import choose_device
from ingest.process.progress import Phases
from ingest.process.settings import Settings
from ingest.process.stop import Stop
from ingest.reproduce.atlas_values import Stored
from ingest.reproduce.conventions import check_shape, shape_of
from ingest.reproduce.curves import CurvePair, CurvePass, count_curves
from ingest.reproduce.experiments import Experiments, run_experiments
from ingest.reproduce.figures import Published
from ingest.reproduce.judge import judge
from ingest.reproduce.measurements import Measured
from ingest.reproduce.post import check_gpt2
from ingest.reproduce.report import Report, beside, write_report
from ingest.run.build import build
from ingest.study.record import load_own_model, study_tables
from ingest.study.study_model import StudyModel
from ingest.texts.dataset import open_dataset


@dataclass(frozen=True)
class ReproduceRequest:
    """The options of `atlas reproduce` (its help explains each)."""

    model: str | None
    revision: str | None
    atlas: Path | None
    out: Path
    dataset: str | None
    max_texts: int | None
    report: Path | None
    device: str
    checkpoint: Path | None
    force: bool
    command: str


@dataclass(frozen=True)
class Reproduced:
    """The report and its files."""

    report: Report
    atlas: Path
    markdown: Path
    json: Path


def reproduce(request: ReproduceRequest, published: Published, console: Console) -> Reproduced:
    """Measure every figure and write the report.

    Raises:
        OptionError: the model, or the atlas, is of another shape than the figures' model.
        StudyError: the model that was loaded is not the atlas's.
        OutputError: the report cannot be written.
        AtlasError: any of its kinds, for model, dataset and files.
    """
    device, folder = choose_device(request.device), _report_folder(request)
    if request.atlas is not None:
        check_extendable(request.atlas, None)
    atlas = request.atlas or _ingest(request, published, console)
    with open_atlas(atlas) as opened:
        info = opened.info
        check_shape(str(atlas), shape_of(info), published.model)
        means = opened.arrays("SELECT activation_mean FROM neuron ORDER BY neuron_id")["activation_mean"]
    with Stop(), Phases(console, device, out=atlas) as phases:
        experiments, model = _experiments(request, published, info, np.asarray(means, np.float64), phases)
        with phases.phase("Writing"):
            name = published.study["name"]
            extend_atlas(atlas, study_tables(name, experiments.result, request.command), without=f"key = '{name}'")
        with open_atlas(atlas) as opened:
            stored = Stored(opened)
            pairs = _curve_pairs(published, stored, experiments)
            curves = _curves(request, published, opened.info, pairs, phases)
            measured = Measured(stored, experiments, curves, published.conventions)
            report = Report(
                opened.info,
                [judge(figure, measured) for figure in published.figures],
                beside(published, model, stored, experiments, curves),
                curves,
            )
    with _writing(folder):
        markdown, data = write_report(report, folder, f"{atlas.stem}.{name}")
    return Reproduced(report, atlas, markdown, data)


def _report_folder(request: ReproduceRequest) -> Path:
    """The folder of the report, made before the long phases so that a failure costs seconds."""
    if request.report is None:
        return (request.atlas or request.out).absolute().parent
    check_folder(request.report)
    return request.report


@contextmanager
def _writing(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise OutputError(
            f"The report cannot be written into {str(folder)!r}: {error.strerror}. Name a folder with --report."
        ) from error


def _ingest(request: ReproduceRequest, published: Published, console: Console) -> Path:
    """Make the atlas by the post's conventions. Another model than the figures' is refused before the long phases."""
    name, conventions = request.model or published.model["name"], published.conventions
    check_output(request.out, force=request.force)
    model = load_model(name, request.revision)
    check_gpt2(model)
    check_shape(name, _shape(model), published.model)
    del model
    settings = Settings(
        model=name,
        revision=request.revision,
        dataset=request.dataset or conventions["dataset_name"],
        out=request.out,
        split=conventions["dataset_split"],
        count_bos=conventions["bos_counted"],
        max_texts=request.max_texts,
        device=request.device,
        checkpoint=request.checkpoint,
        force=request.force,
        command=request.command,
        **{name: conventions[name] for name in ("text_column", "context_length", "overflow", "dtype", "readout")},
    )
    with Stop(resumable=request.checkpoint is not None, say=console.print) as stop:
        done = build(settings, console, stop)
    return request.out if done is None else done.out


def _shape(model: LoadedModel) -> dict[str, int]:
    d_vocab, d_model = model.embedding.shape
    return {"n_layers": len(model.layers), "d_model": d_model, "d_mlp": model.d_mlp, "d_vocab": d_vocab}


def _experiments(
    request: ReproduceRequest, published: Published, info: AtlasInfo, means: np.ndarray, phases: Phases
) -> tuple[Experiments, LoadedModel]:
    with phases.phase("Loading model"):
        model = load_own_model(info, request.model, request.revision)
        check_gpt2(model)
    with phases.phase("Experiments", unit="passes") as advance:
        return run_experiments(StudyModel(model, phases.device), published, means, advance), model


def _curve_pairs(published: Published, stored: Stored, experiments: Experiments) -> list[CurvePair]:
    measured = Measured(stored, experiments, "", published.conventions)
    return [
        measured.pair(*(figure.data[name] for name in ("neuron", "token", "width")))
        for figure in published.of_kind("curve")
        if figure.data["token"] in stored.token_ids
    ]


def _curves(
    request: ReproduceRequest, published: Published, info: AtlasInfo, pairs: list[CurvePair], phases: Phases
) -> CurvePass | str:
    """The pass over the data; or, if the data cannot be read, the reason: all other figures are then still reported."""
    conventions = published.conventions
    try:
        dataset = open_dataset(
            request.dataset or conventions["dataset_name"],
            split=conventions["dataset_split"],
            text_column=conventions["text_column"],
            stream=request.max_texts is not None,
        )
        with phases.phase("Loading model again"):
            model = load_own_model(info, request.model, request.revision)
        with phases.phase("Curves", total=request.max_texts or dataset.n_rows, unit="tokens") as advance:
            return count_curves(
                model,
                dataset,
                pairs,
                context_length=conventions["context_length"],
                device=phases.device,
                max_texts=request.max_texts,
                progress=advance,
            )
    except DatasetError as error:
        return f"The data could not be read: {error}"
