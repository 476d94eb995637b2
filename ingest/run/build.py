"""One run: model and dataset in, atlas out. Reads top to bottom as the data flows."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from rich.console import Console

from atlas.core.db import Atlas
from atlas.core.files import check_folder
from atlas.core.info import AtlasInfo
from atlas.core.names import check_slug, slugify
from atlas.core.schema import SCHEMA_VERSION
from atlas.topics.connection import OPTION as CONNECTIONS
from ingest.congruence.pairs import (
    CandidatePairs,
    ExclusivePairs,
    candidate_pairs,
    exclusive_pairs,
    neuron_families,
    pairs_text,
    read_pairs,
)
from ingest.congruence.phase import WeightResult, run_weight_phase
from ingest.model.load import load_model
from ingest.model.saved_tokenizer import bos_for
from ingest.model.source import label_of
from ingest.model.vocabulary import read_vocabulary
from ingest.model.weights import read_readout
from ingest.process.checkpoint import CheckpointFolder
from ingest.process.cursor import TextReport
from ingest.process.device import choose_dtype, choose_run_device
from ingest.process.lock import checkpoints_locked, output_locked
from ingest.process.memory import Budget
from ingest.process.numba_compiler import match_threads
from ingest.process.progress import Phases
from ingest.process.ranks import Ranks, joined, own_device
from ingest.process.resume import RunCheckpoints
from ingest.process.session import Session
from ingest.process.settings import Settings
from ingest.process.stop import Stop
from ingest.run.activation_phase import check_texts, read_texts
from ingest.run.publish import Publisher, check_same_run, replaceable
from ingest.run.write import Run, WeightFindings
from ingest.texts.dataset import open_dataset
from ingest.texts.tokenising import tokenised_once


@dataclass(frozen=True)
class BuildReport:
    """The results of a run, for the closing report and for tests."""

    out: Path
    build_id: str
    n_positions: int
    texts: TextReport
    seconds: dict[str, float]
    peak_memory: int
    rows: dict[str, int]
    table_bytes: dict[str, int]


def build(settings: Settings, console: Console, stop: Stop | None = None) -> BuildReport | None:
    """Build an atlas as `settings` say; under a launcher, with the other ranks. None on all ranks but the first, and
    where the same command has written the atlas and has only attributions to add.

    Raises:
        AtlasError: any of its kinds; nothing is left behind but checkpoints, and an older file of the same name is
            untouched.
    """
    slug = check_slug(settings.slug) if settings.slug else slugify(_without_suffix(label_of(settings.model)))
    if settings.pairs is not None:
        pairs_text(settings.pairs)  # Before the model is loaded.
    device = own_device(choose_run_device(settings.device), settings.devices_per_rank)
    torch.manual_seed(settings.seed)
    match_threads()
    with joined(device) as ranks, Phases(console, device, ranks.rank, settings.out) as phases, ExitStack() as locks:
        before = ranks.on_main(lambda: _take_output(settings, locks))
        if ranks.gather(before is not None and before.share_read is None)[0]:
            return None
        run = _load(settings, slug, device, phases)
        ranks.on_main(lambda: check_same_run(before, run) if before else None)
        session = _session(run, ranks, stop or Stop(), phases)
        chosen = _chosen_pairs(run)
        tokenised = tokenised_once(run.dataset, run.model.tokenizer, run.chunks, ranks, settings.checkpoint)
        run = replace(run, dataset=locks.enter_context(tokenised))
        first_row = check_texts(run)
        weights = _weights(run, session)
        with phases.phase("Choosing pairs"):
            findings = _findings(run, weights, chosen)
        with Publisher(run, findings, session, before) as publisher:
            reader, report = read_texts(run, findings, session, publisher, first_row)
            published = ranks.on_main(lambda: publisher.finish(reader))
        session.checkpoints.clear()
    if published is None:
        return None
    seconds = phases.seconds
    if publisher.seconds:
        seconds["Activations"] -= publisher.seconds
        seconds = {**seconds, "Publishing before": publisher.seconds}
    return BuildReport(
        published.path,
        published.build_id,
        reader.n_positions,
        report,
        seconds,
        phases.peak_memory,
        published.rows,
        published.table_bytes,
    )


def _without_suffix(name: str) -> str:
    return name[: -len(".gguf")] if name.lower().endswith(".gguf") else name


def _take_output(settings: Settings, locks: ExitStack) -> AtlasInfo | None:
    before = replaceable(settings.out, force=settings.force, resumable=partial(_lacks_attribution, settings))
    locks.enter_context(output_locked(settings.out))
    if settings.checkpoint is not None:
        check_folder(settings.checkpoint)
        folder = CheckpointFolder(settings.checkpoint)
        locks.enter_context(checkpoints_locked(settings.checkpoint))
        folder.sweep()
        if settings.resume == "never":
            folder.clear()
    return before


def _lacks_attribution(settings: Settings, atlas: Atlas) -> bool:
    """Whether an atlas was written by this very command, which ended before attributions were added."""
    if settings.attribution == 0 or atlas.info.command != settings.command:
        return False
    return not atlas.rows("SELECT EXISTS (FROM neuron_attribution)")[0][0]


def _load(settings: Settings, slug: str, device: torch.device, phases: Phases) -> Run:
    with phases.phase("Loading model"):
        model = load_model(settings.model, settings.revision)
        readout = read_readout(model, settings.readout)
        vocabulary = read_vocabulary(model.tokenizer, len(readout.columns))
    with phases.phase("Opening dataset"):
        dataset = open_dataset(
            settings.dataset,
            config=settings.dataset_config,
            split=settings.split,
            text_column=settings.text_column,
            stream=settings.max_texts is not None,
        )
    return Run(
        settings,
        slug,
        model,
        readout,
        dataset,
        vocabulary,
        device,
        choose_dtype(settings.dtype, device),
        settings.context_for(model.cfg.n_ctx),
        bos_for(model.tokenizer),
    )


def _session(run: Run, ranks: Ranks, stop: Stop, phases: Phases) -> Session:
    settings = run.settings
    identity = {
        **settings.identity(),
        "model_fingerprint": run.model.fingerprint,
        "dataset_fingerprint": run.dataset.fingerprint,
        "context_length": run.context,
        "dtype": str(run.dtype).removeprefix("torch."),
        "bos_token_id": run.bos,
        "schema_version": SCHEMA_VERSION,
    }
    ranks.agree("what they read", identity)
    folder = None if settings.checkpoint is None else CheckpointFolder(settings.checkpoint, phases.say)
    checkpoints = RunCheckpoints(folder, identity, ranks, settings.checkpoint_every)
    return Session(checkpoints, ranks, stop, Budget(settings.memory, run.device), phases)


def _chosen_pairs(run: Run) -> list[tuple[int, int]]:
    """Read the user's pairs before the long phases, so that a mistake in them costs seconds."""
    if run.settings.pairs is None:
        return []
    by_text: dict[str, list[int]] = {}
    for token_id, text in enumerate(run.vocabulary.text):
        if text is not None:
            by_text.setdefault(text, []).append(token_id)
    return read_pairs(run.settings.pairs, by_text, n_layers=run.n_layers, d_mlp=run.d_mlp, d_vocab=len(run.vocabulary))


def _findings(run: Run, weights: WeightResult, chosen: list[tuple[int, int]]) -> WeightFindings:
    directions = ("top", "bottom") if run.model.gated else ("top",)
    exclusive = {direction: exclusive_pairs(weights.congruence, direction) for direction in directions}
    pairs = _candidates(run, weights, exclusive, chosen)
    families = neuron_families(weights.congruence, run.vocabulary, gated=run.model.gated)
    return WeightFindings(weights, exclusive, pairs, families)


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


def _weights(run: Run, session: Session) -> WeightResult:
    settings, model = run.settings, run.model
    sides, connections = 2 if model.gated else 1, CONNECTIONS.flag in settings.statistics
    total = run.n_layers * run.d_mlp * (1 + sides * (1 + connections)) // session.ranks.world
    with session.phases.phase("Congruence", total=total, unit="neurons") as advance:
        return run_weight_phase(
            model,
            run.readout,
            session,
            device=run.device,
            progress=advance,
            k_tokens=max(settings.top_tokens, settings.pair_candidates, 2),
            k_neurons=max(settings.top_neurons, settings.pair_candidates, 2),
            connections=connections,
        )
