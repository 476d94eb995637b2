"""The activation phase: texts in batches through the model, checkpoints on the way, ranks merged at the end."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace

import torch
import xxhash

from ingest.activations.reader import Reader
from ingest.activations.registry import STATISTICS, bytes_of_state
from ingest.activations.statistic import Plan, StreamSettings
from ingest.congruence.pairs import CandidatePairs
from ingest.errors import DatasetError, OptionError, OutOfMemoryError, RankError
from ingest.model.forward import LeanModel, bytes_per_token
from ingest.model.placement import Room, room_for
from ingest.process.cursor import Cursor, TextReport
from ingest.process.memory import is_out_of_memory
from ingest.process.prefetch import prefetched
from ingest.process.ranks import own_group
from ingest.process.resume import Start
from ingest.process.session import Session
from ingest.run.publish import PartialAtlases, Publisher
from ingest.run.write import Run, WeightFindings
from ingest.texts.tokens import Text, TextBatch, batches, iter_texts

_TILES = 2 << 30  # Bytes of a GPU for logits and for the examples that are described at once.
_PREFETCHED = 3  # Batches tokenised and padded ahead of the model.


def read_texts(
    run: Run, findings: WeightFindings, session: Session, publisher: Publisher, first_row: int
) -> tuple[Reader, TextReport]:
    """Read this rank's share of the texts, merge the ranks, and return the reader (whole on rank 0) and the report.

    Running out of memory halves the batch and goes on from the last checkpoint, or from the beginning.

    Args:
        publisher: writes atlases of the texts read so far, when one is due.
        first_row: the dataset's row that the first text is of.

    Raises:
        OutOfMemoryError: a batch of one text does not fit.
        SystemExit: a signal asked to stop, and a checkpoint was saved.
        ActivationError, DatasetError, TokenizerError, CheckpointError, RankError: see these classes.
    """
    plan = _plan(run, findings)
    held, per_token = bytes_of_state(plan), bytes_per_token(run.n_layers, run.d_mlp, run.model.cfg.d_model, run.dtype)
    room = _room(run, session, held + session.budget.for_batch(run.context * per_token))
    lean = LeanModel(run.model, run.device, run.dtype, findings.weights.readout, room, run.blocks)
    _check_statistics(run, lean)
    start = session.checkpoints.start(run.settings.first_text, _digest(findings.pairs))
    limit = run.settings.batch_size and run.settings.batch_size * run.context
    limit = limit or start.batch_tokens
    with session.phases.phase("Activations", total=1.0, unit="tokens") as advance:
        progress = _Progress(run, session.ranks.world, first_row, advance)
        while True:
            limit = limit or session.budget.batch_tokens(run.context, per_token, held)
            reader = _reader(lean, plan, start)
            start = replace(start, states=[])
            atlases = PartialAtlases(run, session, publisher, lambda: Reader(lean, plan))
            try:
                report = _read(run, reader, start, limit, session, progress, atlases, first_row)
                break
            except Exception as error:
                if not is_out_of_memory(error):
                    raise
                limit = _smaller(limit, run.context, session, error)
            del reader
            start = session.checkpoints.again()
    _merge_ranks(lean, plan, reader, session)
    return reader, report


def _room(run: Run, session: Session, reserved: int) -> Room | None:
    """The GPUs that the model is divided over; None: the run's own device has room for all of it. On a CPU weights take
    no memory of their own."""
    if run.device.type != "cuda":
        return None
    devices = own_group(run.device, run.settings.devices_per_rank)
    free = [session.budget.left(), *(torch.cuda.mem_get_info(device)[0] for device in devices[1:])]
    embedding = 6 * run.model.unembedding.numel()  # In its own dtype, float32 at most, and in bfloat16.
    weights = run.dtype.itemsize * sum(each.numel() for each in run.model.bridge.original_model.parameters())
    reserved += _TILES + embedding * (1 + (run.readout.kind == "embed"))
    return room_for(weights, devices, free, reserved)


def _check_statistics(run: Run, lean: LeanModel) -> None:
    if run.model.gated and lean.has_sides:
        return
    why = "has gate and input in one projection" if run.model.gated else "is not gated"
    for kind in STATISTICS:
        if kind.reads_sides and kind.option in run.settings.statistics:
            raise OptionError(
                f"{kind.option}: {run.model.name!r} {why}; it needs separate gate and input projections. Leave it out."
            )


def _plan(run: Run, findings: WeightFindings) -> Plan:
    settings = run.settings
    stream = StreamSettings(
        d_vocab=len(run.vocabulary),
        gated=run.model.gated,
        count_bos=settings.count_bos,
        has_bos=run.bos is not None,
        top_texts=settings.top_texts,
        window=settings.window,
        fingerprint=run.dataset.fingerprint,
        seed=settings.seed,
        statistics=settings.statistics,
    )
    pairs = findings.pairs.neuron, findings.pairs.token
    return Plan(run.n_layers, run.d_mlp, run.device, stream, *pairs, findings.families)


def _reader(lean: LeanModel, plan: Plan, start: Start) -> Reader:
    reader = Reader(lean, plan)
    for state in start.states:
        if reader.n_texts == 0:
            reader.load_state_dict(state)
            continue
        part = Reader(lean, plan)
        part.load_state_dict(state)
        reader.merge(part)
    return reader


def _read(
    run: Run,
    reader: Reader,
    start: Start,
    limit: int,
    session: Session,
    progress: _Progress,
    atlases: PartialAtlases,
    first_row: int,
) -> TextReport:
    checkpoints, report = session.checkpoints, replace(start.cursor.report)

    def save(cursor: Cursor) -> None:
        session.try_to_save(lambda: checkpoints.save_texts(reader.state_dict(), cursor, limit))

    def leave(cursor: Cursor) -> None:
        checkpoints.save_texts(reader.state_dict(), cursor, limit)
        session.stop.leave()

    def meet(cursor: Cursor, *, reading: bool) -> bool:
        try:
            return atlases.meet(reader, planned_texts(run, report, first_row), reading=reading)
        except RankError:
            if session.stop.requested:  # The other ranks got the signal too, and have left.
                leave(cursor)
            raise

    cursor = start.cursor
    progress.reached(report, reader.n_positions + reader.n_texts)
    if start.regrouped:
        checkpoints.save_texts(reader.state_dict(), cursor, limit)
        checkpoints.commit()
    prepared = map(reader.prepare, _batches(run, start, limit, report))
    with closing(prefetched(prepared, _PREFETCHED)) as work, session.stop.deferring():
        for ready in work:
            reader.read(ready)
            cursor = ready.batch.cursor
            progress.read(ready.batch, report)
            if session.stop.requested:
                leave(cursor)
            if checkpoints.due:
                save(cursor)
            if atlases.due(reader):
                meet(cursor, reading=True)
        if checkpoints.active:
            save(cursor)
        while atlases.shared and meet(cursor, reading=False):
            pass
    return report


def _batches(run: Run, start: Start, limit: int, report: TextReport) -> Iterator[TextBatch]:
    mine = (text for text in _texts(run, report, start.cursor) if text.text_id in start.share)
    return batches(mine, max_tokens=limit, pad_id=run.bos or 0, start=start.cursor, report=report)


def _texts(run: Run, report: TextReport, start: Cursor | None = None) -> Iterator[Text]:
    """The texts of a run from `start` on (None: from the first), counted in `report`."""
    settings = run.settings
    return iter_texts(
        run.dataset,
        run.model.tokenizer,
        context_length=run.context,
        overflow=settings.overflow,
        bos_token_id=run.bos,
        first_text=settings.first_text,
        last_text=settings.last_text,
        max_texts=settings.max_texts,
        report=report,
        d_vocab=len(run.vocabulary),
        start=start,
    )


def planned_texts(run: Run, report: TextReport, first_row: int) -> int:
    """Texts of the whole run: the requested number or, if it is less, an estimate from the rows still to be read."""
    settings, n_rows = run.settings, run.dataset.n_rows
    known = [end - settings.first_text for end in (settings.last_text, settings.max_texts) if end is not None]
    if n_rows is not None and report.rows_read:
        left = max(0, n_rows - first_row - report.rows_read)
        known.append(report.texts + round(left * report.texts / report.rows_read))
    return min(known, default=report.texts)


def check_texts(run: Run) -> int:
    """Refuse a dataset without any usable text before the long phases; returns the row of the first text.

    Raises:
        DatasetError: names column and counts.
    """
    report, settings = TextReport(), run.settings
    first = next(_texts(run, report), None)
    if first is None:
        part = "" if settings.first_text == 0 else f" from text {settings.first_text} on"
        raise DatasetError(
            f"The dataset {settings.dataset!r} has no text with a token in column {settings.text_column!r}{part} "
            f"({report.rows_empty} of {report.rows_read} rows read were empty). Check --text-column and --texts."
        )
    return first.source_row


def _merge_ranks(lean: LeanModel, plan: Plan, reader: Reader, session: Session) -> None:
    def take(state: dict[str, torch.Tensor]) -> None:
        other = Reader(lean, plan)
        other.load_state_dict(state)
        reader.merge(other)

    with torch.inference_mode():  # The mode in which the statistics were filled.
        session.ranks.reduce(reader.state_dict, take)


def _smaller(limit: int, context: int, session: Session, error: Exception) -> int:
    if limit <= context:
        raise OutOfMemoryError(
            f"Memory ran out on a batch of one text of {context} tokens ({str(error).splitlines()[0]}). Use a shorter "
            "--context-length, fewer --top-texts, or a machine with more memory."
        ) from error
    if session.budget.device.type == "cuda":
        torch.cuda.empty_cache()
    smaller = max(context, limit // 2)
    session.phases.say(f"Memory ran out on a batch of {limit} tokens; going on with {smaller}.")
    return smaller


class _Progress:
    """Reports progress: this rank's tokens, out of an estimate for its share of the texts. A reading that starts again
    reports nothing until it passes the first."""

    def __init__(self, run: Run, world: int, first_row: int, advance: Callable[[float, float], None]) -> None:
        self._run, self._world, self._first_row, self._advance = run, world, first_row, advance
        self._share = 0.0
        self._tokens = 0

    def reached(self, report: TextReport, tokens: int) -> None:
        """Set the start of a resumed run: `tokens` are read."""
        self._tokens = tokens
        self._to(report, 0)

    def read(self, batch: TextBatch, report: TextReport) -> None:
        """Report a finished batch; `report` counts the texts so far, those read ahead included."""
        tokens = int(batch.lengths.sum())
        self._tokens += tokens
        self._to(report, tokens)

    def _to(self, report: TextReport, tokens: int) -> None:
        planned = planned_texts(self._run, report, self._first_row)
        whole = report.tokens * planned / report.texts / self._world if report.texts else math.inf
        share = max(self._share, min(1.0, self._tokens / whole))
        self._advance(share - self._share, tokens)
        self._share = share


def _digest(pairs: CandidatePairs) -> str:
    digest = xxhash.xxh3_64(pairs.neuron.tobytes())
    digest.update(pairs.token.tobytes())
    return digest.hexdigest()
