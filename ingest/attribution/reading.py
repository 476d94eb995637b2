"""Read texts into attribution sums: which texts, in batches, with checkpoints, divided over ranks."""

from __future__ import annotations

import itertools
from collections.abc import Container, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass

import numpy as np
import torch
import xxhash
from jaxtyping import Int
from torch import Tensor

from atlas.core.info import AtlasInfo
from ingest.activations.hashing import mix, text_hash
from ingest.attribution.sums import AttributionPlan, AttributionSums
from ingest.errors import OutOfMemoryError
from ingest.merge.parts import parse_ranges
from ingest.process.cursor import Cursor, TextReport
from ingest.process.memory import is_out_of_memory
from ingest.process.prefetch import prefetched
from ingest.process.session import Session
from ingest.study.study_model import StudyModel
from ingest.texts.dataset import Dataset
from ingest.texts.token_writer import Chunks
from ingest.texts.tokens import Text, TextBatch, batches, iter_texts

USUAL_TOKENS = (512, 8192)
"""Tokens a batch, on a CPU and elsewhere: the backward pass needs what every layer computed."""
_PREFETCHED = 3


@dataclass(frozen=True, eq=False)
class TextChoice:
    """The texts of an atlas that are read: those of its ranges whose ids are in `ids` (None: all of them)."""

    info: AtlasInfo
    ranges: Sequence[range]
    ids: frozenset[int] | None

    def __len__(self) -> int:
        return sum(map(len, self.ranges)) if self.ids is None else len(self.ids)

    def __contains__(self, text_id: int) -> bool:
        return any(text_id in part for part in self.ranges) and (self.ids is None or text_id in self.ids)

    def lowest(self, n: int, within: int) -> TextChoice:
        """The `n` texts of lowest hash among the first `within`."""
        every = itertools.chain.from_iterable(self.ranges) if self.ids is None else sorted(self.ids)
        first = torch.tensor(list(itertools.islice(every, within)), dtype=torch.int64)
        return TextChoice(self.info, self.ranges, _lowest(self.info.dataset_fingerprint, first, n))

    @property
    def stop(self) -> int:
        """The id behind the last."""
        return self.ranges[-1].stop if self.ids is None else max(self.ids, default=self.ranges[0].start) + 1

    @property
    def chunks(self) -> Chunks:
        """How rows become texts."""
        step = self.info.context_length - (self.info.bos_token_id is not None)
        return Chunks(step, self.info.overflow == "split", self.stop)

    def texts(self, dataset: Dataset, tokenizer: object, start: Cursor | None = None) -> Iterator[Text]:
        """The texts in order, from `start` on."""
        texts = iter_texts(
            dataset,
            tokenizer,
            context_length=self.info.context_length,
            overflow=self.info.overflow,
            bos_token_id=self.info.bos_token_id,
            first_text=self.ranges[0].start,
            last_text=self.stop,
            report=TextReport(),
            start=start,
        )
        return (text for text in texts if text.text_id in self)


def choose_texts(info: AtlasInfo, n: int | None) -> TextChoice:
    """The `n` texts of lowest hash of the atlas's (None: all of them): the same whatever else is read."""
    ranges = parse_ranges(info.text_ranges)
    every = torch.cat([torch.arange(part.start, part.stop) for part in ranges])
    return TextChoice(info, ranges, None if n is None else _lowest(info.dataset_fingerprint, every, n))


def _lowest(fingerprint: str, text_ids: Int[Tensor, " text"], n: int) -> frozenset[int]:
    keys = mix(text_ids ^ text_hash(fingerprint, 0, 0, 0))
    return frozenset(text_ids[keys.argsort(stable=True)[:n]].tolist())


def read_sums(
    sums: AttributionSums,
    choice: TextChoice,
    dataset: Dataset,
    tokenizer: object,
    session: Session,
    batch_size: int | None = None,
) -> AttributionSums | None:
    """Read this rank's share of the texts, and add up the ranks; the whole on rank 0, None on the others.

    Args:
        batch_size: most texts of full length a batch; None: by the memory.

    Raises:
        OutOfMemoryError: a batch of one text does not fit.
        SystemExit: a signal asked to stop, and a checkpoint was saved.
        CheckpointError, RankError: see these classes.
    """
    info, checkpoints, ranks = choice.info, session.checkpoints, session.ranks
    start = checkpoints.start(choice.ranges[0].start, _digest(sums.plan))
    for state in start.states:
        sums.merge(state)
    if start.regrouped:
        checkpoints.save_texts(sums.tensors(), start.cursor, 0)
        checkpoints.commit()
    usual = USUAL_TOKENS[session.budget.device.type != "cpu"]
    usual = usual if batch_size is None else min(usual, batch_size * info.context_length)
    limit = min(usual, session.budget.batch_tokens(info.context_length, bytes_per_token(sums.model)))
    mine: Container[int] = start.share
    texts = (text for text in choice.texts(dataset, tokenizer, start.cursor) if text.text_id in mine)
    work = prefetched(batches(texts, max_tokens=limit, pad_id=info.bos_token_id or 0, start=start.cursor), _PREFETCHED)
    total = max(len(choice) // ranks.world, sums.n_texts)
    with session.phases.phase("Attribution", total=total, unit="texts") as advance:
        advance(sums.n_texts)
        with closing(work) as ready, session.stop.deferring():
            for batch in ready:
                _read(sums, batch)
                advance(len(batch.texts))
                if session.stop.requested:
                    checkpoints.save_texts(sums.tensors(), batch.cursor, limit)
                    session.stop.leave()
                if checkpoints.due:
                    _save(session, sums, batch.cursor, limit)
    return sums if ranks.reduce(sums.tensors, sums.merge) else None


def _save(session: Session, sums: AttributionSums, cursor: Cursor, limit: int) -> None:
    session.try_to_save(lambda: session.checkpoints.save_texts(sums.tensors(), cursor, limit))


def _read(sums: AttributionSums, batch: TextBatch) -> None:
    try:
        sums.read(batch)
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        raise OutOfMemoryError(
            f"A batch of {batch.input_ids.size} tokens does not fit into memory. Set --memory lower than what is free, "
            "so that batches are smaller."
        ) from error


def bytes_per_token(model: StudyModel) -> int:
    """Scratch bytes of one position of a batch: in every layer the MLP's three or four vectors and their gradients, and
    about twenty of the stream's width."""
    d_model = model.model.embedding.shape[1]
    return model.n_layers * 4 * (6 * model.model.d_mlp + 20 * d_model)


def _digest(plan: AttributionPlan) -> str:
    digest = xxhash.xxh3_64()
    for array in (plan.activation_mean, plan.tokens, plan.pair_neuron, plan.pair_token):
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()
