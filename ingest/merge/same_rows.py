"""Comparison of the tokens and the counted pairs of all parts, which must be the same."""

from __future__ import annotations

from dataclasses import dataclass

from ingest.merge.parts import refuse_difference
from ingest.merge.sources import Sources


@dataclass(frozen=True)
class _Table:
    name: str
    key: tuple[str, ...]
    values: tuple[str, ...]
    remedy: str

    def rows(self, sources: Sources, part: int, low: int, high: int) -> dict[tuple, tuple]:
        columns = ", ".join(self.key + self.values)
        answer = sources.rows(f"SELECT {columns} FROM p{part}.{self.name} {self._where}", low, high)
        return {row[: len(self.key)]: row[len(self.key) :] for row in answer}

    def signature(self, sources: Sources, part: int, low: int, high: int) -> tuple:
        columns = ", ".join(self.key + self.values)
        (digest,) = sources.rows(
            f"SELECT count(*), sum(hash({columns})) FROM p{part}.{self.name} {self._where}", low, high
        )
        return digest

    @property
    def _where(self) -> str:
        return f"WHERE {self.key[0]} >= ? AND {self.key[0]} < ?"


_TOKENS = _Table(
    "token",
    ("token_id",),
    ("piece", "bytes", "special", "in_tokenizer"),
    "Parts must be made with the same tokenizer.",
)
# Congruence itself may differ in its last bits, as two machines compute it.
_PAIRS = _Table(
    "candidate_pair",
    ("neuron_id", "token_id"),
    ("source",),
    "Parts must count the same pairs: the same --pairs file, on machines that rank near-equal congruences alike.",
)


def check_same_rows(sources: Sources) -> None:
    """Accept parts that have the same tokens and counted the same pairs.

    Raises:
        MergeError: they differ; names the first row and the difference.
    """
    info = sources.parts[0].info
    for table, end in ((_TOKENS, info.d_vocab), (_PAIRS, info.n_neurons)):
        for low, high in sources.spans(end, parts=1):
            expected = table.signature(sources, 0, low, high)
            for part in range(1, len(sources.parts)):
                if table.signature(sources, part, low, high) != expected:
                    _refuse(sources, table, part, low, high)


def _refuse(sources: Sources, table: _Table, part: int, low: int, high: int) -> None:
    ours, theirs = (table.rows(sources, i, low, high) for i in (0, part))
    key = min(key for key in ours.keys() | theirs.keys() if ours.get(key) != theirs.get(key))
    row = ", ".join(f"{name} {id}" for name, id in zip(table.key, key, strict=True))
    paths = sources.parts[0].path, sources.parts[part].path
    refuse_difference(
        *paths, f"the number of rows of {table.name} for {row}", int(key in ours), int(key in theirs), table.remedy
    )
    for name, first, second in zip(table.values, ours[key], theirs[key], strict=True):
        refuse_difference(*paths, f"{table.name}.{name} of {row}", first, second, table.remedy)
