"""Write the results of the phases into the file, table by table."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
import torch

from atlas.core.schema import SCHEMA_VERSION
from ingest.activations.reader import Reader
from ingest.activations.registry import DERIVED
from ingest.congruence.pairs import CandidatePairs, ExclusivePairs, NeuronFamilies
from ingest.congruence.phase import WeightResult
from ingest.file import tables
from ingest.file.writer import AtlasWriter, library_versions
from ingest.model.load import LoadedModel
from ingest.model.vocabulary import Vocabulary
from ingest.model.weights import Readout
from ingest.process.arrow import Columns, vectors
from ingest.process.settings import Settings
from ingest.texts.dataset import Dataset
from ingest.texts.token_writer import Chunks


@dataclass(frozen=True)
class Run:
    """The model, dataset and settings that all phases of a run share."""

    settings: Settings
    slug: str
    model: LoadedModel
    readout: Readout
    dataset: Dataset
    vocabulary: Vocabulary
    device: torch.device
    dtype: torch.dtype
    context: int
    bos: int | None

    @property
    def blocks(self) -> torch.device | None:
        """The device of the model's blocks, where it is not `device`."""
        return torch.device("mps") if self.settings.device == "mps" else None

    @property
    def n_layers(self) -> int:
        """Number of blocks."""
        return len(self.model.layers)

    @property
    def d_mlp(self) -> int:
        """Neurons a layer."""
        return self.model.d_mlp

    @property
    def chunks(self) -> Chunks:
        """How rows become texts."""
        ends = [end for end in (self.settings.last_text, self.settings.max_texts) if end is not None]
        step = max(1, self.context - (self.bos is not None))
        return Chunks(step, self.settings.overflow == "split", min(ends, default=None))


@dataclass(frozen=True)
class WeightFindings:
    """The results of the weight phase, and the pairs and families to count."""

    weights: WeightResult
    exclusive: dict[str, ExclusivePairs]
    pairs: CandidatePairs
    families: NeuronFamilies


def write_weights(run: Run, writer: AtlasWriter, findings: WeightFindings) -> None:
    """Write the tables that do not depend on texts."""
    settings, congruence = run.settings, findings.weights.congruence
    neuron_token = {d: ranked.first(settings.top_tokens) for d, ranked in congruence.neuron_token.items()}
    token_neuron = {d: ranked.first(settings.top_neurons) for d, ranked in congruence.token_neuron.items()}
    _write(writer, "neuron_token", tables.ranked_rows(neuron_token, "neuron_id", "token_id", "congruence"))
    _write(writer, "token_neuron", tables.ranked_rows(token_neuron, "token_id", "neuron_id", "congruence"))
    _write(writer, "exclusive_pair", tables.exclusive_rows(findings.exclusive))
    _write(writer, "neuron_input_token", tables.sided_rows(findings.weights.input_tokens, "token_id", "value"))
    for table, part in (("neuron_downstream", "token_neuron"), ("neuron_upstream", "neuron_token")):
        lists = {side: getattr(connected, part) for side, connected in findings.weights.connections.items()}
        if lists:
            _write(writer, table, tables.sided_rows(lists, "other_neuron_id", "weight"))
    writer.write("histogram_bin", tables.bin_rows())
    _write(writer, "candidate_pair", tables.candidate_rows(findings.pairs))
    writer.write("token_family", tables.family_rows(findings.families.of_token))
    if settings.weights:
        for layer in range(run.n_layers):
            writer.write("neuron_weight", tables.weight_rows(findings.weights.layers(layer), layer))
        columns = findings.weights.readout.columns.numpy()
        token_id = np.arange(len(columns), dtype=np.int32)
        writer.write("token_weight", {"token_id": token_id, "readout": vectors(columns)})


def write_texts(run: Run, writer: AtlasWriter, findings: WeightFindings, reader: Reader) -> None:
    """Write the tables from the texts read so far; the reader may read on afterwards."""
    congruence, statistics = findings.weights.congruence, reader.statistics
    rows_of = {
        "token": tables.token_rows(run.vocabulary, congruence),
        "neuron": tables.neuron_rows(run.n_layers, run.d_mlp, findings.weights.columns, congruence),
    }
    for statistic in statistics.values():
        rows_of[statistic.axis.removesuffix("_id")] |= statistic.columns()
    for table, rows in rows_of.items():
        writer.write(table, rows)
    reader.texts.prune(reader.cited())
    for statistic in statistics.values():
        for table, rows in statistic.rows(reader.texts):
            writer.write(table, rows)
    for derived in DERIVED:
        for table, rows in derived.rows(statistics, findings.pairs.neuron, findings.pairs.token, gated=run.model.gated):
            writer.write(table, rows)
    _write(writer, "text", reader.texts.rows())


def _write(writer: AtlasWriter, table: str, batches: Iterable[Columns]) -> None:
    for rows in batches:
        writer.write(table, rows)


def atlas_row(run: Run, findings: WeightFindings, reader: Reader, planned: int | None = None) -> Columns:
    """The row of table `atlas` without its build_id; `planned`: texts of the whole run, if these are not all."""
    first, n_texts = run.settings.first_text, reader.n_texts
    row = {
        **run_columns(run),
        "built_at": datetime.now(UTC).replace(tzinfo=None),
        "readout_mean": findings.weights.readout.mean.tolist(),
        "n_texts": n_texts,
        "n_texts_planned": planned,
        "n_positions": reader.n_positions,
        "text_ranges": f"{first}:{first + (planned or n_texts)}",
    }
    return {name: [value] for name, value in row.items()}


def run_columns(run: Run) -> dict[str, Any]:
    """The columns of table `atlas` that are known before any text is read."""
    settings, model, dataset = run.settings, run.model, run.dataset
    return {
        "slug": run.slug,
        "schema_version": SCHEMA_VERSION,
        "model_name": model.name,
        "model_revision": model.revision,
        "model_fingerprint": model.fingerprint,
        "n_layers": run.n_layers,
        "d_model": model.cfg.d_model,
        "d_mlp": run.d_mlp,
        "d_vocab": len(run.vocabulary),
        "act_fn": str(model.cfg.act_fn),
        "gated": model.gated,
        "normalization": "LN" if model.layer_norm else "RMS",
        "readout": settings.readout,
        "dataset_name": dataset.name,
        "dataset_config": dataset.config,
        "dataset_split": dataset.split,
        "dataset_fingerprint": dataset.fingerprint,
        "text_column": dataset.text_column,
        "first_text": settings.first_text,
        "context_length": run.context,
        "bos_token_id": run.bos,
        "bos_counted": settings.count_bos or run.bos is None,
        "overflow": settings.overflow,
        "dtype": str(run.dtype).removeprefix("torch."),
        "device": (run.blocks or run.device).type,
        "seed": settings.seed,
        "hook": "blocks.{l}.mlp.hook_post",
        "top_tokens": settings.top_tokens,
        "top_neurons": settings.top_neurons,
        "top_texts": settings.top_texts,
        "pair_candidates": settings.pair_candidates,
        "window": settings.window,
        "has_weights": settings.weights,
        "versions": json.dumps(library_versions()),
        "command": settings.command,
    }
