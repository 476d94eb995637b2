"""Attribute what an atlas's model predicts to its neurons, and record it in the atlas."""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
from rich.console import Console

from atlas.core.db import Atlas, open_atlas
from atlas.core.info import AtlasInfo
from ingest.activations.hashing import text_hash
from ingest.attribution.check import check_rows, draw_estimates
from ingest.attribution.sums import MIN_POSITIONS, AttributionPlan, AttributionSums
from ingest.errors import DatasetError, OutOfMemoryError
from ingest.file.append import check_extendable, extend_atlas
from ingest.merge.parts import parse_ranges
from ingest.model.weights import read_readout
from ingest.process.arrow import Columns
from ingest.process.cursor import TextReport
from ingest.process.device import choose_device
from ingest.process.memory import Budget, is_out_of_memory
from ingest.process.progress import Phases
from ingest.study.record import load_own_model
from ingest.study.study_model import StudyModel
from ingest.texts.builtin import EMBEDDED
from ingest.texts.dataset import Dataset, open_dataset
from ingest.texts.tokens import Text, batches, iter_texts

CHECKED_TEXTS = 16
"""Texts in which attributions are checked by ablation."""


@dataclass(frozen=True)
class AttributionRequest:
    """The options of `atlas attribute` (its help explains each)."""

    file: Path
    texts: int | None
    tokens: int
    check: int
    dataset: str | None
    model: str | None
    revision: str | None
    device: str
    memory: int | None
    out: Path | None
    seed: int
    force: bool


@dataclass(frozen=True)
class AttributionReport:
    """The results of a run."""

    out: Path
    build_id: str
    n_texts: int
    n_positions: int
    rows: dict[str, int]
    seconds: dict[str, float]


def record_attribution(request: AttributionRequest, console: Console) -> AttributionReport:
    """Attribute predictions over texts of the atlas's dataset and write the sums into it, in place of earlier ones.

    Raises:
        StudyError: the model that was loaded is not the atlas's.
        DatasetError: the dataset is not the atlas's.
        OutOfMemoryError: a batch of one text does not fit.
        AtlasError: any of its kinds, for the file and the model. Nothing is written then.
    """
    check_extendable(request.file, request.out, force=request.force)
    device = choose_device(request.device)
    out = request.out or request.file
    with open_atlas(request.file) as atlas, Phases(console, device, out=out) as phases:
        info = atlas.info
        plan = plan_of(atlas, request.tokens)
        with phases.phase("Opening dataset"):
            dataset = own_dataset(info, request.dataset)
        with phases.phase("Loading model"):
            loaded = load_own_model(info, request.model, request.revision)
            readout = read_readout(loaded, info.readout)
            model = StudyModel(loaded, device)
        with phases.phase("Choosing texts"):
            texts = choose_texts(texts_of(info, dataset, loaded.tokenizer), dataset.fingerprint, request.texts)
        sums = AttributionSums(model, readout, plan)
        limit = Budget(request.memory, device).batch_tokens(info.context_length, bytes_per_token(model))
        total = sum(map(len, texts))
        with phases.phase("Attribution", total=total, unit="tokens") as advance:
            for batch in batches(
                texts, max_tokens=min(limit, _USUAL[device.type != "cpu"]), pad_id=info.bos_token_id or 0
            ):
                try:
                    sums.read(batch)
                except Exception as error:
                    if not is_out_of_memory(error):
                        raise
                    raise OutOfMemoryError(
                        f"A batch of {batch.input_ids.size} tokens does not fit into memory. Set --memory lower than "
                        "what is free, so that batches are smaller."
                    ) from error
                advance(int(batch.lengths.sum()))
        with phases.phase("Check", total=request.check, unit="ablations") as advance:
            checked = sorted(texts[:CHECKED_TEXTS], key=lambda text: text.text_id)
            means = plan.activation_mean
            estimates = draw_estimates(model, checked, means, plan.first_position, request.check, request.seed)
            checks = check_rows(model, estimates, means, advance)
        with phases.phase("Writing"):
            tables = {
                "neuron_attribution": sums.neuron_rows(),
                "token_driver": sums.token_rows(),
                "pair_attribution": sums.pair_rows(),
                "attribution_check": checks,
            }
            rows = {table: _table(columns) for table, columns in tables.items()}
            build_id = extend_atlas(request.file, rows, out=request.out, without="TRUE")
    counts = {table: len(added) for table, added in rows.items()}
    return AttributionReport(out, build_id, sums.n_texts, sums.n_positions, counts, phases.seconds)


_USUAL = (512, 8192)
"""Tokens a batch, on a CPU and elsewhere: the backward pass needs what every layer computed."""


def bytes_per_token(model: StudyModel) -> int:
    """Scratch bytes of one position of a batch: in every layer the MLP's three or four vectors and their gradients, and
    about twenty of the stream's width."""
    d_model = model.model.embedding.shape[1]
    return model.n_layers * 4 * (6 * model.model.d_mlp + 20 * d_model)


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
        dataset = open_dataset(
            name, config=info.dataset_config, split=info.dataset_split or "train", text_column=info.text_column
        )
    except DatasetError as error:
        raise DatasetError(
            f"{error} The atlas was read over {info.dataset_name!r}: --dataset says where it is."
        ) from error
    if dataset.fingerprint != info.dataset_fingerprint:
        raise DatasetError(
            f"{name!r} has the fingerprint {dataset.fingerprint}, the atlas's dataset {info.dataset_fingerprint}: "
            "these are other texts. Give --dataset the one that the atlas was made from."
        )
    return dataset


def texts_of(info: AtlasInfo, dataset: Dataset, tokenizer: object) -> Iterator[Text]:
    """The texts that an atlas was read over."""
    ranges = parse_ranges(info.text_ranges)
    texts = iter_texts(
        dataset,
        tokenizer,
        context_length=info.context_length,
        overflow=info.overflow,
        bos_token_id=info.bos_token_id,
        first_text=ranges[0].start,
        last_text=ranges[-1].stop,
        report=TextReport(),
    )
    return (text for text in texts if any(text.text_id in part for part in ranges))


def choose_texts(texts: Iterator[Text], fingerprint: str, n: int | None) -> list[Text]:
    """The `n` texts of lowest hash (None: all), in order of hash: the same whatever else is read."""

    def key(text: Text) -> tuple[int, int]:
        return text_hash(fingerprint, 0, text.source_row, text.chunk), text.text_id

    return sorted(texts, key=key) if n is None else heapq.nsmallest(n, texts, key=key)


def _table(columns: Columns) -> pa.Table:
    return pa.table({name: _array(values) for name, values in columns.items()})


def _array(values: object) -> pa.Array:
    if isinstance(values, np.ma.MaskedArray):
        return pa.array(values.data, mask=np.ma.getmaskarray(values))
    return pa.array(values)
