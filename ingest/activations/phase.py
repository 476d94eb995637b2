"""The activation phase: texts in batches through the model, checkpoints on the way, ranks merged at the end."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, replace

import torch
import xxhash

from ingest.activations.reader import Reader
from ingest.activations.registry import bytes_of_state
from ingest.activations.sizes import bytes_per_token
from ingest.activations.statistic import Plan, StreamSettings
from ingest.congruence.pairs import CandidatePairs
from ingest.errors import DatasetError, OptionError, OutOfMemoryError, RankError
from ingest.file.load import Found, Run
from ingest.model.forward import LeanModel
from ingest.process.memory import is_out_of_memory
from ingest.process.prefetch import prefetched
from ingest.run.publish import Publisher
from ingest.run.resume import Start
from ingest.run.session import Session
from ingest.texts.progress import Cursor, TextReport
from ingest.texts.tokens import Text, TextBatch, batches, iter_texts

_PREFETCHED = 3  # Batches tokenised and padded ahead of the model.


def read_texts(
    run: Run, found: Found, session: Session, publisher: Publisher, first_row: int
) -> tuple[Reader, TextReport]:
    """Read this rank's share of the texts, merge the ranks, and return the reader (whole on rank 0) and the report.

    Running out of memory halves the batch and goes on from the last checkpoint, or from the beginning.

    Args:
        publisher: writes atlases of the texts read so far, when one is due.
        first_row: the dataset's row that the first text is of.

    Raises:
        OutOfMemoryError: a batch of one text does not fit.
        SystemExit: a signal asked to stop, and a checkpoint was saved.
        ActivationError, DatasetError, TokenizerError, CheckpointError, RankError: see there.
    """
    lean = LeanModel(run.model, run.device, run.dtype, found.weights.readout)
    _check_sides(run, lean)
    plan = _plan(run, lean, found)
    start = session.checkpoints.start(run.settings.first_text, _digest(found.pairs))
    limit = run.settings.batch_size and run.settings.batch_size * run.context
    limit = limit or start.batch_tokens
    with session.phases.phase("Activations", total=1.0, unit="tokens") as advance:
        progress = _Progress(run, session.ranks.world, first_row, advance)
        while True:
            limit = limit or session.budget.batch_tokens(run.context, bytes_per_token(lean), bytes_of_state(plan))
            reader = _reader(lean, plan, start)
            start = replace(start, states=[])
            atlases = _Atlases(run, session, publisher, lambda: Reader(lean, plan))
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


def _check_sides(run: Run, lean: LeanModel) -> None:
    if run.settings.sign_cases and not (run.model.gated and lean.has_sides):
        why = "has gate and input in one projection" if run.model.gated else "is not gated"
        raise OptionError(f"--sign-cases: {run.model.name!r} {why}, so its activations have no cases. Leave it out.")


def _plan(run: Run, lean: LeanModel, found: Found) -> Plan:
    settings = run.settings
    stream = StreamSettings(
        d_vocab=len(run.vocabulary), gated=run.model.gated, count_bos=settings.count_bos, has_bos=run.bos is not None,
        top_texts=settings.top_texts, window=settings.window, fingerprint=run.dataset.fingerprint, seed=settings.seed,
        sign_cases=settings.sign_cases,
    )  # fmt: skip
    pairs = found.pairs.neuron, found.pairs.token
    return Plan(lean.n_layers, lean.d_mlp, lean.device, stream, *pairs, found.families)


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
    run: Run, reader: Reader, start: Start, limit: int, session: Session, progress: _Progress, atlases: _Atlases,
    first_row: int,
) -> TextReport:  # fmt: skip
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
            if session.stop.requested:  # The others were told to stop, too, and have left.
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
    settings = run.settings
    texts = iter_texts(
        run.dataset, run.model.tokenizer, context_length=run.context, overflow=settings.overflow,
        bos_token_id=run.bos, first_text=settings.first_text, last_text=settings.last_text,
        max_texts=settings.max_texts, report=report, d_vocab=len(run.vocabulary), start=start.cursor,
    )  # fmt: skip
    mine = (text for text in texts if text.text_id in start.share)
    return batches(mine, max_tokens=limit, pad_id=run.bos or 0, start=start.cursor, report=report)


class _Atlases:
    """When the texts read so far become an atlas; several ranks meet for it, and go on reading while rank 0 writes.

    `fresh` makes a reader that has read nothing.
    """

    def __init__(self, run: Run, session: Session, publisher: Publisher, fresh: Callable[[], Reader]) -> None:
        self._ranks, self._publisher, self._fresh = session.ranks, publisher, fresh
        self.shared = session.ranks.world > 1 and run.settings.publish_every is not None
        """Whether ranks meet, and so must go on meeting until every one has read its texts."""
        self._wait, self._met = publisher.wait, math.inf

    def due(self, reader: Reader) -> bool:
        """Whether it is time, for this rank; asked after every batch."""
        if self._met == math.inf:
            self._met = time.monotonic()
            self._publisher.begin()
        if not self.shared:
            return self._publisher.due(reader.n_texts)
        return self._wait is not None and time.monotonic() - self._met >= self._wait

    def meet(self, reader: Reader, planned: int, *, reading: bool) -> bool:
        """Publish, unless no rank is reading any more; returns whether one is.

        Raises:
            RankError: another rank is gone.
        """
        ours = _Standing(reading, reader.n_texts, self._publisher.wait, self._publisher.least)
        standings = self._ranks.gather(ours)
        self._met, self._wait = time.monotonic(), standings[0].wait
        if not any(standing.reading for standing in standings):
            return False
        if sum(standing.n_texts for standing in standings) > standings[0].least:
            whole = self._whole(reader)
            if self._ranks.main:
                self._publisher.publish(whole, planned)
        return True

    def _whole(self, reader: Reader) -> Reader:
        """On rank 0: what all ranks have read, in a reader of its own if there are several."""
        whole = reader

        def take(state: dict[str, torch.Tensor]) -> None:
            nonlocal whole
            if whole is reader:
                whole = self._fresh()
                whole.load_state_dict(reader.state_dict())
            other = self._fresh()
            other.load_state_dict(state)
            whole.merge(other)

        with torch.inference_mode():  # In which the statistics were filled.
            self._ranks.reduce(lambda: whole.state_dict(), take)
        return whole


@dataclass(frozen=True)
class _Standing:
    """How far a rank is when the ranks meet: `wait` and `least` are rank 0's publisher's."""

    reading: bool
    n_texts: int
    wait: float | None
    least: int


def planned_texts(run: Run, report: TextReport, first_row: int) -> int:
    """Texts of the whole run: as many as were asked for or, if that is less, as the rows yet to be read hold if they
    are like those that were."""
    settings, n_rows = run.settings, run.dataset.n_rows
    known = [end - settings.first_text for end in (settings.last_text, settings.max_texts) if end is not None]
    if n_rows is not None and report.rows_read:
        left = max(0, n_rows - first_row - report.rows_read)
        known.append(report.texts + round(left * report.texts / report.rows_read))
    return min(known, default=report.texts)


def check_texts(run: Run) -> int:
    """Refuse a dataset without any usable text before the long phases; returns the row that the first text is of.

    Raises:
        DatasetError: names column and counts.
    """
    report, settings = TextReport(), run.settings
    texts: Iterator[Text] = iter_texts(
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
    return first.source_row


def _merge_ranks(lean: LeanModel, plan: Plan, reader: Reader, session: Session) -> None:
    def take(state: dict[str, torch.Tensor]) -> None:
        other = Reader(lean, plan)
        other.load_state_dict(state)
        reader.merge(other)

    with torch.inference_mode():  # In which the statistics were filled.
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
    """Tells the bar how far the reading is: by this rank's tokens, of as many as its share of the texts has if those
    not met yet are like the others. A reading that begins again says nothing until it is further than the first."""

    def __init__(self, run: Run, world: int, first_row: int, advance: Callable[[float, float], None]) -> None:
        self._run, self._world, self._first_row, self._advance = run, world, first_row, advance
        self._share = 0.0
        self._tokens = 0

    def reached(self, report: TextReport, tokens: int) -> None:
        """Where a run that was resumed begins: `tokens` are read."""
        self._tokens = tokens
        self._to(report, 0)

    def read(self, batch: TextBatch, report: TextReport) -> None:
        """One batch done; `report` counts the texts that were met, those read ahead included."""
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
