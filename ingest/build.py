"""One run: model and dataset in, atlas out. Reads top to bottom as the data flows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from rich.console import Console

from atlas.names import check_slug, slugify
from ingest.checks import bytes_per_table, check_file
from ingest.dataset import open_dataset
from ingest.device import batch_tokens, choose_device, choose_dtype
from ingest.errors import DatasetError
from ingest.lean import LeanModel
from ingest.load import Run, atlas_row, write_tables
from ingest.model import load_model
from ingest.pairs import CandidatePairs, ExclusivePairs, candidate_pairs, exclusive_pairs, read_pairs
from ingest.progress import Phases
from ingest.settings import Settings
from ingest.stream import Reader, StreamSettings
from ingest.tokens import Text, TextReport, batches, bos_for, iter_texts
from ingest.vocabulary import read_vocabulary
from ingest.weight_phase import WeightResult, run_weight_phase
from ingest.weights import read_readout
from ingest.writer import AtlasWriter


@dataclass(frozen=True)
class BuildReport:
    """What a run did: for the closing report and for tests."""

    out: Path
    build_id: str
    n_positions: int
    texts: TextReport
    seconds: dict[str, float]
    peak_memory: int
    rows: dict[str, int]
    table_bytes: dict[str, int]


def build(settings: Settings, console: Console) -> BuildReport:
    """Build an atlas as `settings` say.

    Raises:
        AtlasError: any of its kinds; nothing is left behind, and an older file of the same name is untouched.
    """
    settings.check_output()
    slug = check_slug(settings.slug) if settings.slug else slugify(settings.model.removesuffix(".gguf"))
    device = choose_device(settings.device)
    torch.manual_seed(settings.seed)
    with Phases(console, device) as phases:
        with phases.phase("Loading model"):
            model = load_model(settings.model, settings.revision)
            readout = read_readout(model, settings.readout)
            vocabulary = read_vocabulary(model.tokenizer, len(readout.columns))
        with phases.phase("Opening dataset"):
            dataset = open_dataset(
                settings.dataset, config=settings.dataset_config, split=settings.split,
                text_column=settings.text_column, stream=settings.max_texts is not None,
            )  # fmt: skip
        run = Run(
            settings, slug, model, readout, dataset, vocabulary, device, choose_dtype(settings.dtype, device),
            settings.context_for(model.cfg.n_ctx), bos_for(model.tokenizer),
        )  # fmt: skip
        chosen = _chosen_pairs(run)
        texts, report = _texts(run)
        weights = _weight_phase(run, phases)
        exclusive = {
            d: exclusive_pairs(weights.congruence, d) for d in (("top", "bottom") if model.gated else ("top",))
        }
        pairs = _candidates(run, weights, exclusive, chosen)
        reader = _activation_phase(run, weights, pairs, texts, report, phases)
        with AtlasWriter(settings.out, model.cfg.d_model) as writer:
            with phases.phase("Writing"):
                write_tables(run, writer, weights, exclusive, pairs, reader)
                build_id = writer.build_id()
                writer.write("atlas", atlas_row(run, weights, reader, build_id))
                writer.close()
            with phases.phase("Checking"):
                check_file(writer.path, writer.rows)
                sizes = bytes_per_table(writer.path)
                out = settings.free_output(build_id)
                writer.publish(out)
    return BuildReport(
        out, build_id, reader.statistics.n_positions, report, phases.seconds, phases.peak_memory,
        writer.rows, sizes,
    )  # fmt: skip


def _chosen_pairs(run: Run) -> list[tuple[int, int]]:
    """The user's pairs, read before the long phases so that a mistake in them costs seconds."""
    if run.settings.pairs is None:
        return []
    by_text: dict[str, int] = {}
    for token_id, text in enumerate(run.vocabulary.text):
        if text is not None:
            by_text.setdefault(text, token_id)
    return read_pairs(run.settings.pairs, by_text, n_layers=run.n_layers, d_mlp=run.d_mlp, d_vocab=len(run.vocabulary))


def _texts(run: Run) -> tuple[Iterator[Text], TextReport]:
    """The texts to run, started: a dataset without any usable text is refused before the long phases."""
    report, settings = TextReport(), run.settings
    texts = iter_texts(
        run.dataset, run.model.tokenizer, context_length=run.context, overflow=settings.overflow,
        bos_token_id=run.bos, first_text=settings.first_text, last_text=settings.last_text,
        max_texts=settings.max_texts, report=report, d_vocab=len(run.vocabulary),
    )  # fmt: skip
    first = next(texts, None)
    if first is None:
        part = "" if settings.first_text == 0 else f" from text {settings.first_text} on"
        raise DatasetError(
            f"The dataset {settings.dataset!r} has no text with a token in column {settings.text_column!r}{part} "
            f"({report.rows_empty} of {report.rows_read} rows read were empty). Check --text-column and --texts."
        )

    def every() -> Iterator[Text]:
        yield first
        yield from texts

    return every(), report


def _weight_phase(run: Run, phases: Phases) -> WeightResult:
    settings, model = run.settings, run.model
    total = run.n_layers * run.d_mlp * (3 if model.gated else 2)
    with phases.phase("Congruence", total=total, unit="neurons") as advance:
        return run_weight_phase(
            model, run.readout, device=run.device, progress=advance,
            k_tokens=max(settings.top_tokens, settings.pair_candidates, 2),
            k_neurons=max(settings.top_neurons, settings.pair_candidates, 2),
        )  # fmt: skip


def _candidates(
    run: Run, weights: WeightResult, exclusive: dict[str, ExclusivePairs], chosen: list[tuple[int, int]]
) -> CandidatePairs:
    neuron, token = np.array(chosen, dtype=np.int64).reshape(-1, 2).T
    value = np.zeros(len(neuron), dtype=np.float32)
    for i, (n, t) in enumerate(chosen):
        layer, index = divmod(n, run.d_mlp)
        value[i] = float(weights.layers(layer).w_out[index].double() @ weights.readout.columns[t].double())
    return candidate_pairs(
        weights.congruence, exclusive, (neuron, token, value), k=run.settings.pair_candidates, gated=run.model.gated
    )


def _activation_phase(
    run: Run, weights: WeightResult, pairs: CandidatePairs, texts: Iterator[Text], report: TextReport, phases: Phases
) -> Reader:
    settings, model = run.settings, run.model
    lean = LeanModel(model, run.device, run.dtype, weights.readout)
    stream = StreamSettings(
        d_vocab=len(run.vocabulary), gated=model.gated, count_bos=settings.count_bos, has_bos=run.bos is not None,
        top_texts=settings.top_texts, window=settings.window, fingerprint=run.dataset.fingerprint, seed=settings.seed,
    )  # fmt: skip
    reader = Reader(lean, stream, pairs.neuron, pairs.token)
    # One byte of bin an activation in every layer, a dozen float32 copies of one layer's, a tile of logits.
    per_token = lean.d_mlp * (lean.n_layers + 48) + 4 * 8192
    limit = batch_tokens(settings.batch_size, run.context, per_token, run.device)
    total = settings.max_texts if settings.last_text is None else settings.last_text - settings.first_text
    by_rows = total is None
    total = run.dataset.n_rows if by_rows else total
    done = 0
    with phases.phase("Activations", total=total, unit="tokens") as advance:
        for batch in batches(texts, max_tokens=limit, pad_id=run.bos or 0):
            reader.read(batch)
            furthest = max(text.source_row for text in batch.texts) + 1 if by_rows else done + len(batch.texts)
            advance(max(furthest - done, 0), int(batch.lengths.sum()))
            done = max(done, furthest)
    return reader
