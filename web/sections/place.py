"""A neuron among the others: its place in its layer, its exclusive pairs, its kind, its numbers."""

from __future__ import annotations

from dataclasses import dataclass, field

from atlas.topics.family import family_pairs
from atlas.topics.kind import NEURON_KIND, NeuronKind, neuron_kind
from atlas.topics.neuron import NEURON_PAIRS, neuron_pairs
from atlas.topics.neuron_columns import COLUMNS, Column
from atlas.topics.pair import ExclusivePair
from atlas.topics.percentile import PLACE, Neighbours, Percentile, standing
from atlas.topics.tables import column_comments
from web.sections.section import Reading, Section
from web.site.page import doc


@dataclass(frozen=True, kw_only=True)
class Place(Section, id="place", heading="Place in its layer"):
    """Its rank in its layer, and the neurons of that rank beside it."""

    neighbours: Neighbours = field(
        metadata=doc("The neurons before and after it, and those of its rank in the layers below and above.")
    )

    @classmethod
    def read(cls, reading: Reading) -> Place:
        """The place of one neuron."""
        return cls(sql=PLACE.shown(**reading.one), neighbours=reading.neighbours)


@dataclass(frozen=True, kw_only=True)
class Pairs(Section, id="pairs", heading="Exclusive pairs", absent="It is in none."):
    """The exclusive pairs it is in."""

    pairs: tuple[ExclusivePair, ...] = field(metadata=doc("Exclusive pairs it is in."))
    family_gaps: dict[str, float | None] = field(
        metadata=doc("By direction: the token gap with other spellings of the token passed over; null: no other token.")
    )

    @classmethod
    def read(cls, reading: Reading) -> Pairs:
        """The pairs of one neuron."""
        pairs = neuron_pairs(reading.atlas, reading.neuron.neuron_id)
        families = zip(pairs, family_pairs(reading.atlas, pairs), strict=True)
        return cls(
            sql=NEURON_PAIRS.shown(**reading.one),
            pairs=tuple(pairs),
            family_gaps={pair.direction: family.family_gap for pair, family in families},
        )

    @property
    def there(self) -> bool:
        """Whether it is in any."""
        return bool(self.pairs)


@dataclass(frozen=True, kw_only=True)
class Kind(Section, id="kind", heading="Kind"):
    """Its kind by the moments of its congruence, and what it detects."""

    kind: NeuronKind = field(metadata=doc("What kind it is, by the moments of its congruence, and what it detects."))

    @classmethod
    def read(cls, reading: Reading) -> Kind:
        """The kind of one neuron."""
        kind = neuron_kind(reading.atlas, reading.neuron.neuron_id)
        return cls(sql=NEURON_KIND.shown(**reading.one), kind=kind)


@dataclass(frozen=True, kw_only=True)
class Numbers(Section, id="numbers", heading="Numbers", later=True):
    """Its numbers, each with its percentile in the layer and in the model."""

    percentiles: dict[str, Percentile] = field(
        metadata=doc("By column: the fractions of the layer's and of the model's neurons whose value is lower.")
    )
    columns: tuple[Column, ...] = field(metadata=doc("The columns of `neuron` that are shown.", json=False))
    definitions: dict[str, str] = field(metadata=doc("What the schema says of each column of `neuron`.", json=False))

    @classmethod
    def read(cls, reading: Reading) -> Numbers:
        """The numbers of one neuron."""
        return cls(
            sql=standing().shown(neuron_ids=[reading.neuron.neuron_id]),
            percentiles=reading.percentiles,
            columns=COLUMNS,
            definitions=column_comments(reading.atlas, "neuron"),
        )
