"""The checkpoints of a run: the weight phase's result, each rank's accumulators and its place in the texts.

Ranks save on their own, at their own times. If a run goes on with another number of ranks, the saved parts are dealt
out to the new ranks and merged, and the texts that were done are left out of the new division: a new generation of
checkpoints, which replaces the old one only when every rank has written its first.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor

from ingest.errors import CheckpointError
from ingest.process.checkpoint import Checkpoint, CheckpointFolder
from ingest.process.cursor import Cursor, Share
from ingest.process.ranks import Ranks

State = dict[str, Tensor]


@dataclass(frozen=True)
class Start:
    """The place where this rank begins to read texts, and the accumulators to resume from."""

    share: Share
    cursor: Cursor
    states: list[State]
    batch_tokens: int | None = None
    generation: int = 1
    regrouped: bool = False
    """The states are parts of an earlier division: save the merged ones before going on."""


class RunCheckpoints:
    """The checkpoints of one run; without a folder, nothing is saved or loaded.

    Args:
        identity: every setting that decides the rows; a checkpoint of another identity is refused.
        every: seconds between checkpoints.
        stem: first part of the names of the texts' checkpoints: readings with other stems share a folder.
    """

    def __init__(
        self,
        folder: CheckpointFolder | None,
        identity: dict[str, Any],
        ranks: Ranks,
        every: float = 300.0,
        stem: str = "texts",
    ) -> None:
        self._folder, self._identity, self._ranks, self._every, self._name = folder, identity, ranks, every, stem
        self._texts = re.compile(rf"{stem}-(?P<generation>\d+)-(?P<rank>\d+)of(?P<world>\d+)")
        self._last = time.monotonic()
        self._start = Start(Share(ranks.rank, ranks.world), Cursor(), [])
        self._pairs = ""

    @property
    def active(self) -> bool:
        """Whether anything is saved."""
        return self._folder is not None

    @property
    def due(self) -> bool:
        """Whether it is time for the next."""
        return self.active and time.monotonic() - self._last >= self._every

    def weights(self, stem: str) -> State | None:
        """The state that `save_weights` saved under a stem, or None.

        Raises:
            CheckpointError: it is of another run, or damaged.
        """
        checkpoint = self._load(stem)
        return None if checkpoint is None else checkpoint.tensors

    def save_weights(self, state: State, stem: str) -> None:
        """Save a state of the weight phase."""
        self._save(stem, state, {})

    def stems(self, prefix: str) -> list[str]:
        """Saved stems with this prefix."""
        return [stem for stem in self._folder.stems() if stem.startswith(prefix)] if self._folder is not None else []

    def forget(self, stem: str) -> None:
        """Remove a stem that is no longer needed."""
        if self._folder is not None:
            self._folder.remove(stem)

    def start(self, first_text: int, pairs: str) -> Start:
        """The start of this rank: the beginning, the place where it stopped, or a share of other ranks' remaining
        texts.

        `pairs` is a digest of the candidate pairs, whose order the counts follow.

        Raises:
            CheckpointError: the checkpoint is of another run, or a necessary part is damaged.
        """
        self._pairs = pairs
        begin = Cursor(next_text=first_text)
        generation, world = self._newest()
        rank = self._ranks.rank
        if world is None:
            start = Start(Share(rank, self._ranks.world), begin, [])
        elif world == self._ranks.world:
            start = self._own(generation, begin)
        else:
            start = self._dealt(generation, world, begin)
        self._ranks.barrier()  # No rank may write before all have looked.
        self._start = replace(start, states=[])  # Not held in memory: once saved they are in a file.
        # Files of an interrupted regrouping must not be mistaken for parts of this one.
        self._discard(lambda other: other > (0 if world is None else generation))
        return start

    def again(self) -> Start:
        """The start after this rank ran out of memory: its last checkpoint, or its first start."""
        if self._folder is None or self._stem(self._start.generation) not in self._folder.stems():
            return self._start
        return self._own(self._start.generation, self._start.cursor)

    def save_texts(self, state: State, cursor: Cursor, batch_tokens: int) -> None:
        """Save this rank's accumulators and its place.

        Raises:
            CheckpointError: it cannot be written; those before it are untouched.
        """
        earlier = [[c.to_dict() for c in cursors] for cursors in self._start.share.earlier]
        meta = {"cursor": cursor.to_dict(), "earlier": earlier, "batch_tokens": batch_tokens, "pairs": self._pairs}
        self._save(self._stem(self._start.generation), state, meta)

    def commit(self) -> None:
        """Delete earlier generations, once every rank has saved its first checkpoint of this one."""
        self._ranks.barrier()
        self._discard(lambda other: other < self._start.generation)

    def clear(self) -> None:
        """Delete everything: the atlas is published."""
        if self._folder is not None and self._ranks.main:
            self._folder.clear()

    def _discard(self, unwanted: Callable[[int], bool]) -> None:
        if self._folder is not None and self._ranks.main:
            for stem in self._folder.stems():
                match = self._texts.fullmatch(stem)
                if match and unwanted(int(match["generation"])):
                    self._folder.remove(stem)
        self._ranks.barrier()

    def _stem(self, generation: int) -> str:
        return f"{self._name}-{generation}-{self._ranks.rank}of{self._ranks.world}"

    def _newest(self) -> tuple[int, int | None]:
        """The generation to resume from and its number of ranks: the newest in which every rank has saved.

        In the first generation a rank may have saved nothing yet.
        """
        worlds: dict[tuple[int, int], set[int]] = {}
        for stem in self._folder.stems() if self._folder else ():
            if match := self._texts.fullmatch(stem):
                key = int(match["generation"]), int(match["world"])
                worlds.setdefault(key, set()).add(int(match["rank"]))
        for (generation, world), present in sorted(worlds.items(), reverse=True):
            if generation == 1 or len(present) == world:
                return generation, world
        return 1, None

    def _own(self, generation: int, begin: Cursor) -> Start:
        checkpoint = self._load(self._stem(generation))
        if checkpoint is None:
            return Start(Share(self._ranks.rank, self._ranks.world), begin, [])
        meta = checkpoint.meta
        share = Share(self._ranks.rank, self._ranks.world, _earlier(meta))
        return Start(share, Cursor.from_dict(meta["cursor"]), [checkpoint.tensors], meta["batch_tokens"], generation)

    def _dealt(self, generation: int, world: int, begin: Cursor) -> Start:
        cursors, states = [], []
        earlier: tuple[tuple[Cursor, ...], ...] = ()
        for part in range(world):
            checkpoint = self._load(f"{self._name}-{generation}-{part}of{world}")
            if checkpoint is None:
                cursors.append(begin)
                continue
            cursors.append(Cursor.from_dict(checkpoint.meta["cursor"]))
            earlier = _earlier(checkpoint.meta)
            if part % self._ranks.world == self._ranks.rank:
                states.append(checkpoint.tensors)
        share = Share(self._ranks.rank, self._ranks.world, (*earlier, tuple(cursors)))
        furthest_back = replace(min(cursors, key=lambda cursor: cursor.next_text), ahead=frozenset())
        return Start(share, furthest_back, states, None, generation + 1, regrouped=True)

    def _load(self, stem: str) -> Checkpoint | None:
        if self._folder is None:
            return None
        checkpoint = self._folder.load(stem)
        if checkpoint is not None:
            self._check(checkpoint.meta)
        return checkpoint

    def _check(self, meta: dict[str, Any]) -> None:
        saved = meta["identity"]
        for name in sorted(self._identity.keys() | saved.keys()):
            ours, theirs = self._identity.get(name), saved.get(name)
            if ours != theirs:
                raise CheckpointError(
                    f"The checkpoint in {str(self._folder.folder)!r} is of another run: {name} was {theirs!r} and is "
                    f"now {ours!r}. Give this run another --checkpoint, or start again with --resume never."
                )
        if self._pairs and meta.get("pairs", self._pairs) != self._pairs:
            raise CheckpointError(
                f"The checkpoint in {str(self._folder.folder)!r} counts other candidate pairs ({meta['pairs']}) than "
                f"this run finds ({self._pairs}): the congruence came out differently. Start again with --resume never."
            )

    def _save(self, stem: str, state: State, meta: dict[str, Any]) -> None:
        if self._folder is None:
            return
        self._last = time.monotonic()
        self._folder.save(stem, state, {"identity": self._identity, **meta})


def _earlier(meta: dict[str, Any]) -> tuple[tuple[Cursor, ...], ...]:
    return tuple(tuple(Cursor.from_dict(cursor) for cursor in cursors) for cursors in meta["earlier"])
