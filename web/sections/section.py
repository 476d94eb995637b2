"""The contract of a part of a neuron's page, and the data that all parts read."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, ClassVar, Self, TypeVar

from atlas import Atlas
from atlas.core.parameter import Kind
from atlas.topics.curve import Candidate, HistogramBar, histogram, neuron_candidates
from atlas.topics.example import Example, neuron_examples
from atlas.topics.neuron import CongruentToken, Neuron, neuron_tokens
from atlas.topics.percentile import Neighbours, Percentile, neighbours, percentiles
from atlas.topics.verdict import Verdict, verdict_of
from web.site.page import doc, json_fields


@dataclass(frozen=True, kw_only=True)
class Section(ABC):
    """A part of a page: its data as documented fields, shown by the template `sections/<id>.html`, which sees them as
    `section`, and the page's `ref`, `url` and `neuron`.

    A subclass names itself: `class Reads(Section, id="reads", heading="What it reads")`. The same class is a panel of
    an embed, where `framed` is true: no scripts, no forms, no parts that come later.
    """

    id: ClassVar[str]
    """Its anchor on the page, its panel as an embed, its key among the page's statements."""
    heading: ClassVar[str]
    absent: ClassVar[str]
    """What stands there instead of it where `there` is false."""
    later: ClassVar[bool]
    """Whether the page leaves it folded and fetches it when it is opened."""

    sql: str | None = field(metadata=doc("The SQL behind it; null where there is nothing to ask for.", json=False))

    def __init_subclass__(cls, id: str, heading: str, absent: str = "", later: bool = False) -> None:
        cls.id, cls.heading, cls.absent, cls.later = id, heading, absent, later

    @classmethod
    def offered(cls, reading: Reading) -> bool:
        """Whether a page leaves it folded, before it is known whether this neuron has any of it."""
        return True

    @classmethod
    @abstractmethod
    def read(cls, reading: Reading) -> Self:
        """The part of one neuron."""

    @property
    def template(self) -> str:
        """The template that shows it."""
        return f"sections/{self.id}.html"

    @property
    def there(self) -> bool:
        """Whether this neuron has any of it."""
        return True

    def as_json(self) -> dict[str, Any]:
        """Its share of the page's data."""
        return json_fields(self)


_S = TypeVar("_S", bound=Section)


class Reading:
    """One neuron as its page reads it: a section, or what several of them need, is read once, when first asked for.

    `token_id` is the candidate whose curve comes first; None chooses. `framed`: for another site's frame.
    """

    def __init__(self, atlas: Atlas, neuron: Neuron, token_id: int | None = None, *, framed: bool = False) -> None:
        self.atlas, self.neuron, self.token_id, self.framed = atlas, neuron, token_id, framed
        self.one = {"neuron_id": neuron.neuron_id}
        self._sections: dict[type[Section], Any] = {}
        self._examples: dict[Kind, list[Example]] = {}

    def __getitem__(self, kind: type[_S]) -> _S:
        """A section of the neuron."""
        if kind not in self._sections:
            self._sections[kind] = kind.read(self)
        return self._sections[kind]

    @cached_property
    def verdict(self) -> Verdict:
        """What it does."""
        return verdict_of(self.atlas, self.neuron)

    @cached_property
    def tokens(self) -> list[CongruentToken]:
        """Tokens of its two lists."""
        return neuron_tokens(self.atlas, self.neuron.neuron_id)

    @cached_property
    def bars(self) -> list[HistogramBar]:
        """Its activation histogram."""
        return histogram(self.atlas, self.neuron.neuron_id)

    @cached_property
    def candidates(self) -> list[Candidate]:
        """Its pairs whose predictions were counted."""
        return neuron_candidates(self.atlas, self.neuron.neuron_id)

    def examples(self, kind: Kind) -> list[Example]:
        """Its stored texts of one kind, the strongest first."""
        if kind not in self._examples:
            self._examples[kind] = neuron_examples(self.atlas, self.neuron.neuron_id, kind)
        return self._examples[kind]

    @cached_property
    def neighbours(self) -> Neighbours:
        """The neurons beside it."""
        return neighbours(self.atlas, self.neuron.neuron_id)

    @cached_property
    def percentiles(self) -> dict[str, Percentile]:
        """Percentiles of its numbers, by column."""
        return percentiles(self.atlas, self.neuron)
