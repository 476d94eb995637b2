"""Attribute what an atlas's model predicts to its neurons, and record it in the atlas."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import torch
from rich.console import Console

from atlas.core.db import Atlas, open_atlas
from atlas.core.files import check_folder
from atlas.core.info import AtlasInfo
from ingest.attribution.check import check_rows, draw_estimates
from ingest.attribution.entropy import entropy_columns
from ingest.attribution.reading import TextChoice, choose_texts, read_sums
from ingest.attribution.sums import MIN_POSITIONS, AttributionPlan, AttributionSums
from ingest.errors import DatasetError, OutOfMemoryError
from ingest.file.append import check_extendable, extend_atlas
from ingest.model.load import LoadedModel
from ingest.model.weights import read_readout
from ingest.process.arrow import Columns
from ingest.process.checkpoint import CheckpointFolder
from ingest.process.device import choose_device, choose_dtype
from ingest.process.lock import checkpoints_locked
from ingest.process.memory import Budget, is_out_of_memory
from ingest.process.progress import Phases
from ingest.process.ranks import Ranks, joined, own_device
from ingest.process.resume import RunCheckpoints
from ingest.process.session import Session
from ingest.process.stop import Stop
from ingest.study.record import load_own_model
from ingest.study.study_model import StudyModel
from ingest.texts.builtin import EMBEDDED
from ingest.texts.dataset import Dataset, open_dataset
from ingest.texts.hub import HubTexts
from ingest.texts.tokenising import tokenised_once

_CHECKED_TEXTS, _ENTROPY_TEXTS, _CHECKED_WITHIN = 16, 64, 10_000
"""Texts in which attributions are checked by ablation, texts in which neurons of the last layer are ablated, and the
first texts among which both are chosen: they are read a second time."""


@dataclass(frozen=True)
class AttributionRequest:
    """The options of `atlas attribute` (its help explains each)."""

    file: Path
    texts: int | None = None
    """None: all."""
    tokens: int = 2000
    check: int = 500
    dataset: str | None = None
    model: str | None = None
    revision: str | None = None
    device: str = "auto"
    dtype: str = "auto"
    batch_size: int | None = None
    """Most texts of full length a batch; None: by the memory."""
    memory: int | None = None
    """Bytes."""
    devices_per_rank: int = 1
    """GPUs of each process, of which the first runs the model."""
    checkpoint: Path | None = None
    checkpoint_every: float = 300.0
    """Seconds."""
    out: Path | None = None
    seed: int = 0
    force: bool = False


@dataclass(frozen=True)
class AttributionReport:
    """The results of a run."""

    out: Path
    build_id: str
    n_texts: int
    n_positions: int
    rows: dict[str, int]
    seconds: dict[str, float]


def record_attribution(
    request: AttributionRequest, console: Console, stop: Stop | None = None
) -> AttributionReport | None:
    """Attribute predictions over texts of the atlas's dataset and write the sums into it, in place of earlier ones;
    under a launcher, with the other ranks. None on all ranks but the first.

    Raises:
        StudyError: the model that was loaded is not the atlas's.
        DatasetError: the dataset is not the atlas's.
        OutOfMemoryError: a batch of one text does not fit.
        SystemExit: a signal asked to stop, and a checkpoint was saved.
        AtlasError: any of its kinds, for the file and the model. Nothing is written then.
    """
    device = own_device(choose_device(request.device), request.devices_per_rank)
    out = request.out or request.file
    with joined(device) as ranks, ExitStack() as locks:
        ranks.on_main(lambda: _take_output(request, locks))
        with Phases(console, device, ranks.rank, out) as phases:
            info, plan = _read_plan(request, ranks)
            with phases.phase("Opening dataset"):
                dataset = own_dataset(info, request.dataset)
            with phases.phase("Loading model"):
                loaded = load_own_model(info, request.model, request.revision)
                sums = _sums(loaded, info, plan, device, choose_dtype(request.dtype, device))
            session = _session(request, info, ranks, stop or Stop(), phases)
            choice = choose_texts(info, request.texts)
            tokenised = tokenised_once(dataset, loaded.tokenizer, choice.chunks, ranks, request.checkpoint)
            dataset = locks.enter_context(tokenised)
            whole = read_sums(sums, choice, dataset, loaded.tokenizer, session, request.batch_size)
            report = ranks.on_main(lambda: _write(request, whole, choice, dataset, loaded, phases))
        session.checkpoints.clear()
    return report


def _take_output(request: AttributionRequest, locks: ExitStack) -> None:
    check_extendable(request.file, request.out, force=request.force)
    if request.checkpoint is not None:
        check_folder(request.checkpoint)
        CheckpointFolder(request.checkpoint)
        locks.enter_context(checkpoints_locked(request.checkpoint))


def print_attribution(report: AttributionReport, console: Console) -> None:
    """Print counts, seconds and rows."""
    rows = ", ".join(f"{table} {n:,}" for table, n in report.rows.items())
    console.print(
        f"{report.out}  build {report.build_id}: {report.n_texts:,} texts, {report.n_positions:,} positions, "
        f"{report.seconds['Attribution']:.1f} s; rows: {rows}.",
        markup=False,
        soft_wrap=True,
    )


def _read_plan(request: AttributionRequest, ranks: Ranks) -> tuple[AtlasInfo, AttributionPlan]:
    """What the file says, on every rank: only the first need see it."""

    def read() -> tuple[AtlasInfo, AttributionPlan]:
        with open_atlas(request.file) as atlas:
            return atlas.info, plan_of(atlas, request.tokens)

    return ranks.gather(ranks.on_main(read))[0]


def _sums(
    loaded: LoadedModel, info: AtlasInfo, plan: AttributionPlan, device: torch.device, dtype: torch.dtype
) -> AttributionSums:
    readout = read_readout(loaded, info.readout)
    try:
        model = StudyModel(loaded, device, most=0)
        return AttributionSums(model if dtype == torch.float32 else model.rounded(dtype), readout, plan)
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        raise OutOfMemoryError(
            f"{loaded.name!r} does not fit {device} ({str(error).splitlines()[0]}): for attributions it is not divided "
            "over GPUs. Use `atlas attribute --device cpu`."
        ) from error


def _session(request: AttributionRequest, info: AtlasInfo, ranks: Ranks, stop: Stop, phases: Phases) -> Session:
    identity = {
        "the atlas's build": info.build_id,
        "--texts": request.texts,
        "--tokens": request.tokens,
        "--dtype": str(choose_dtype(request.dtype, phases.device)).removeprefix("torch."),
    }
    ranks.agree("what they read", identity)
    folder = None if request.checkpoint is None else CheckpointFolder(request.checkpoint, phases.say)
    checkpoints = RunCheckpoints(folder, identity, ranks, request.checkpoint_every, "attribution")
    return Session(checkpoints, ranks, stop, Budget(request.memory, phases.device), phases)


def _write(
    request: AttributionRequest,
    sums: AttributionSums,
    choice: TextChoice,
    dataset: Dataset,
    loaded: LoadedModel,
    phases: Phases,
) -> AttributionReport:
    """Check attributions by ablation, and write all tables; on rank 0."""
    means = sums.plan.activation_mean
    with phases.phase("Check", total=request.check, unit="ablations") as advance:
        texts = list(choice.lowest(_CHECKED_TEXTS, _CHECKED_WITHIN).texts(dataset, loaded.tokenizer))
        estimates = draw_estimates(sums.model, texts, means, sums.plan.first_position, request.check, request.seed)
        checks = check_rows(sums.model.exact, estimates, means, advance)
    with open_atlas(request.file) as atlas:
        n_actual = atlas.arrays("SELECT n_actual FROM token ORDER BY token_id")["n_actual"]
    with phases.phase("Entropy", total=len(n_actual), unit="tokens") as advance:
        texts = choice.lowest(_ENTROPY_TEXTS, _CHECKED_WITHIN).texts(dataset, loaded.tokenizer)
        entropy = entropy_columns(sums.model.exact, texts, means, n_actual, sums.plan.first_position, advance)
    with phases.phase("Writing"):
        tables = {
            "neuron_attribution": sums.neuron_rows(),
            "token_driver": sums.token_rows(),
            "pair_attribution": sums.pair_rows(),
            "attribution_check": checks,
        }
        rows = {table: _table(columns) for table, columns in tables.items()}
        build_id = extend_atlas(request.file, rows, out=request.out, without="TRUE", columns=_table(entropy))
    counts = {table: len(added) for table, added in rows.items()}
    out = request.out or request.file
    return AttributionReport(out, build_id, sums.n_texts, sums.n_positions, counts, phases.seconds)


def plan_of(atlas: Atlas, most_tokens: int) -> AttributionPlan:
    """What is summed for an atlas: the tokens that are predicted most, and every counted pair."""
    means = atlas.arrays("SELECT activation_mean FROM neuron ORDER BY neuron_id")["activation_mean"]
    tokens = atlas.rows(
        f"SELECT token_id FROM token WHERE n_predicted >= {MIN_POSITIONS} "
        f"ORDER BY n_predicted DESC, token_id LIMIT {most_tokens}"
    )
    pairs = atlas.arrays("SELECT neuron_id, token_id FROM candidate_pair ORDER BY neuron_id, token_id")
    return AttributionPlan(
        activation_mean=np.asarray(means, np.float64),
        tokens=np.array(sorted(token for (token,) in tokens), np.int64),
        pair_neuron=np.asarray(pairs["neuron_id"], np.int64),
        pair_token=np.asarray(pairs["token_id"], np.int64),
        first_position=0 if atlas.info.bos_counted else 1,
    )


def own_dataset(info: AtlasInfo, name: str | None) -> Dataset:
    """Open the atlas's dataset: `name`, or the one that the atlas names.

    Raises:
        DatasetError: it cannot be opened, or holds other texts.
    """
    if name is None:
        name = next((key for key, embedded in EMBEDDED.items() if embedded.label == info.dataset_name), None)
        name = name or info.dataset_name
    try:
        # A run of some texts of a Hub dataset streams it, and the fingerprint is of its revision then.
        dataset = _opened(name, info, stream=True)
        if isinstance(dataset.source, HubTexts) and dataset.fingerprint != info.dataset_fingerprint:
            dataset = _opened(name, info, stream=False)
    except DatasetError as error:
        raise DatasetError(
            f"{error} The atlas was read over {info.dataset_name!r}: --dataset says where it is."
        ) from error
    if dataset.fingerprint == info.dataset_fingerprint:
        return dataset
    raise DatasetError(
        f"{name!r} has the fingerprint {dataset.fingerprint}, the atlas's dataset {info.dataset_fingerprint}: "
        "these are other texts. Give --dataset the one that the atlas was made from."
    )


def _opened(name: str, info: AtlasInfo, *, stream: bool) -> Dataset:
    split = info.dataset_split or "train"
    return open_dataset(name, config=info.dataset_config, split=split, text_column=info.text_column, stream=stream)


def _table(columns: Columns) -> pa.Table:
    return pa.table({name: _array(values) for name, values in columns.items()})


def _array(values: object) -> pa.Array:
    if isinstance(values, np.ma.MaskedArray):
        return pa.array(values.data, mask=np.ma.getmaskarray(values))
    return pa.array(values)
