"""Neurons of other layers with which a neuron is connected by its weights."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from atlas import Atlas
from atlas.topics.connection import DOWNSTREAM, UPSTREAM, Connection, downstream, has_connections, upstream
from atlas.topics.neuron import neurons_by_id
from atlas.topics.verdict import verdicts
from web.sections.section import Reading, Section
from web.site.page import doc

SHOWN = 8
"""Neurons of a list that a page shows."""

Lists = dict[str, list[tuple[Connection, str]]]
"""By heading: the beginning of each list, with the neurons' verdicts."""


@dataclass(frozen=True, kw_only=True)
class Upstream(
    Section,
    id="upstream",
    heading="Reads from: neurons of earlier layers",
    absent="No neuron is listed: it is in layer 0, or the atlas was made without --connections.",
    later=True,
):
    """Neurons of earlier layers whose output weights its input weights and gate read."""

    upstream: tuple[Connection, ...] = field(
        metadata=doc("Neurons of earlier layers whose output weights its input weights and gate read most and least.")
    )
    lists: Lists = field(metadata=doc("What the page shows of them.", json=False))

    @classmethod
    def offered(cls, reading: Reading) -> bool:
        """Whether the atlas has connections."""
        return has_connections(reading.atlas)

    @classmethod
    def read(cls, reading: Reading) -> Upstream:
        """The earlier neurons of one neuron."""
        connections = upstream(reading.atlas, reading.neuron.neuron_id)
        return cls(
            sql=UPSTREAM.shown(**reading.one) if connections else None,
            upstream=tuple(connections),
            lists=_lists(reading.atlas, connections),
        )

    @property
    def there(self) -> bool:
        """Whether this neuron has any."""
        return bool(self.upstream)


@dataclass(frozen=True, kw_only=True)
class Downstream(
    Section,
    id="downstream",
    heading="Writes to: neurons of later layers",
    absent="No neuron is listed: it is in the last layer, or the atlas was made without --connections.",
    later=True,
):
    """Neurons of later layers whose input weights and gate read its output weights."""

    downstream: tuple[Connection, ...] = field(
        metadata=doc("Neurons of later layers whose input weights and gate read its output weights most and least.")
    )
    lists: Lists = field(metadata=doc("What the page shows of them.", json=False))

    @classmethod
    def offered(cls, reading: Reading) -> bool:
        """Whether the atlas has connections."""
        return has_connections(reading.atlas)

    @classmethod
    def read(cls, reading: Reading) -> Downstream:
        """The later neurons of one neuron."""
        connections = downstream(reading.atlas, reading.neuron.neuron_id)
        return cls(
            sql=DOWNSTREAM.shown(**reading.one) if connections else None,
            downstream=tuple(connections),
            lists=_lists(reading.atlas, connections),
        )

    @property
    def there(self) -> bool:
        """Whether this neuron has any."""
        return bool(self.downstream)


def _lists(atlas: Atlas, connections: Iterable[Connection]) -> Lists:
    first = [item for item in connections if item.rank <= SHOWN]
    known = verdicts(atlas, neurons_by_id(atlas, (item.other.neuron_id for item in first)).values())
    lists: Lists = {}
    for item in first:
        side, end = "Input" if item.side == "in" else "Gate", "most" if item.direction == "top" else "least"
        lists.setdefault(f"{side}, {end}", []).append((item, known[item.other.neuron_id].headline))
    return lists
