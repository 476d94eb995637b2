"""The contract of a statistic over the texts, and the records that the reader, the file and the merge pass to it.

A statistic is pure: no files, no globals. It is updated batch by batch, merges with another over other texts, saves its
state as tensors, and turns into the rows of its tables and back. Merging is associative and commutative: exactly for
counts and lists, to rounding for sums.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import pyarrow as pa
import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor

from atlas.core.info import AtlasInfo
from ingest.activations.batch import PreparedBatch
from ingest.activations.text_store import TextStore
from ingest.congruence.pairs import NeuronFamilies
from ingest.process.arrow import Columns

Rows = Iterator[tuple[str, Columns]]
"""Batches of rows, each with the table they go to, in that table's order."""


@dataclass(frozen=True)
class StreamSettings:
    """Settings of the activation phase besides the model and the texts."""

    d_vocab: int
    gated: bool
    count_bos: bool
    has_bos: bool
    top_texts: int
    window: int
    fingerprint: str
    seed: int
    statistics: Collection[str] = ()
    """Options of the statistics that are not in every atlas."""

    @property
    def first_position(self) -> int:
        """First counted position of every text."""
        return 1 if self.has_bos and not self.count_bos else 0


@dataclass(frozen=True)
class Plan:
    """The plan of a run's statistics: the model's size, the settings, and the pairs to count.

    `families`: the (neuron, family) pairs to count beside the pairs; None: none.
    `staged`: whether examples are put aside until the end of the forward pass; None: as the device needs.
    """

    n_layers: int
    d_mlp: int
    device: torch.device
    settings: StreamSettings
    pair_neuron: Int[np.ndarray, " pair"]
    pair_token: Int[np.ndarray, " pair"]
    families: NeuronFamilies | None = None
    staged: bool | None = None

    @property
    def n_neurons(self) -> int:
        """Neurons of the whole model."""
        return self.n_layers * self.d_mlp


@dataclass(frozen=True)
class LayerBatch:
    """One layer's activations in a batch; `n_seen` texts were read before it.

    The first statistic fills `bins` (by counted position), `highest` and `lowest`; those after it read them.
    """

    layer: int
    activations: Float[Tensor, "flat d_mlp"]
    ready: PreparedBatch
    bins: UInt8[Tensor, "row d_mlp"]
    highest: Float[Tensor, "text d_mlp"]
    lowest: Float[Tensor, "text d_mlp"]
    n_seen: int


@dataclass(frozen=True)
class BatchEnd:
    """A batch after its forward pass: the bins of all layers, and the predicted token of each counted position."""

    ready: PreparedBatch
    bins: UInt8[Tensor, "layer row d_mlp"]
    predicted: Int[Tensor, " row"]
    n_seen: int


@dataclass(frozen=True)
class Span:
    """Some of an atlas's rows: those of the neurons (or tokens, or texts) from `low` up to but not including `high`.

    `rows` reads the span's rows of a table; `text_hash` gives the `ingest.activations.hashing.text_hash` of cited texts
    by id."""

    info: AtlasInfo
    low: int
    high: int
    rows: Callable[[str], pa.Table]
    text_hash: Callable[[Int[np.ndarray, " item"]], Int[np.ndarray, " item"]]

    def arrays(self, table: str, *names: str) -> list[Tensor]:
        """Columns of the span's rows of a table, as tensors."""
        rows = self.rows(table)
        columns = (rows[name].combine_chunks().to_numpy(zero_copy_only=False) for name in names)
        return [torch.from_numpy(np.array(column)) for column in columns]


class Statistic(ABC):
    """One statistic over the texts. `ingest.activations.registry` lists them.

    In a batch `update_layer` (and `update_sides`) follow the forward pass, without a wait for the device; then the host
    reads back what every `pending` asks for, once, and `settle` finishes the batch.
    """

    name: ClassVar[str]
    """Its key among a reader's statistics, and the prefix of its state in a checkpoint."""
    axis: ClassVar[str] = "neuron_id"
    """The column that a span of its rows is a range of. `columns` belong to the table of that name (`neuron`)."""
    tables: ClassVar[dict[str, tuple[str, ...]]] = {}
    """The tables it fills, and the sort key of each, which is unique."""
    laws: ClassVar[dict[str, str]] = {}
    """Queries that count violations in a finished file, by the name of the violation."""
    option: ClassVar[str | None] = None
    """The option that requests it (`IngestOption.flag`), if it is not in every atlas."""
    state: ClassVar[tuple[str, ...]] = ()
    """Attributes that are its state: tensors whose shapes do not change."""
    reads_sides: ClassVar[bool] = False
    """Whether it uses `update_sides`."""

    @classmethod
    @abstractmethod
    def make(cls, plan: Plan) -> Statistic | None:
        """An empty statistic for a run; None where the run has none."""

    @classmethod
    def size(cls, plan: Plan) -> int:
        """Approximate bytes it holds on the device at the end of a run."""
        empty = cls.make(replace(plan, device=torch.device("meta")))
        return 0 if empty is None else sum(tensor.nbytes for tensor in empty.state_dict().values())

    def update_layer(self, batch: LayerBatch) -> None:  # noqa: B027
        """Take in one layer of a batch. The host must not wait for the device here."""

    def update_sides(  # noqa: B027
        self,
        layer: int,
        activations: Float[Tensor, "pos d_mlp"],
        gate: Float[Tensor, "pos d_mlp"],
        read: Float[Tensor, "pos d_mlp"],
        text_id: Int[Tensor, " pos"],
        position: Int[Tensor, " pos"],
    ) -> None:
        """Take in a gated layer's counted positions; `gate` and `read` are the pre-activations of both sides."""

    def pending(self, batch: BatchEnd) -> Int[Tensor, " count"] | None:  # noqa: B027
        """Numbers on the device that `settle` needs on the host; None: none."""

    def settle(self, batch: BatchEnd, counts: list[int]) -> set[int]:
        """Finish a batch, given the host's copy of `pending`; returns layers that it must see `again`.

        Raises:
            ActivationError: an activation was not finite, or too large.
        """
        return set()

    def again(self, batch: LayerBatch) -> None:  # noqa: B027
        """Take in a layer that `settle` asked for; `bins` hold, the extremes are not filled."""

    @abstractmethod
    def merge(self, other: Statistic) -> None:
        """Add another of the same plan over other texts."""

    def state_dict(self) -> dict[str, Tensor]:
        """The complete state, as tensors."""
        return {name: getattr(self, name) for name in self.state}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Restore the state of a `state_dict`."""
        for name in self.state:
            getattr(self, name).copy_(state[name])

    def cited(self) -> Int[np.ndarray, " item"]:
        """Ids of texts that its rows name; an id may occur more than once."""
        return np.zeros(0, dtype=np.int64)

    def columns(self) -> Columns:
        """Columns that it adds to the table of its `axis`, a value a row."""
        return {}

    def rows(self, texts: TextStore) -> Rows:
        """The rows of its tables. `texts` holds every text that is cited."""
        return iter(())

    @classmethod
    @abstractmethod
    def from_rows(cls, span: Span) -> Statistic:
        """The statistic from its `columns` and `rows`, over a span."""
