"""What a search finds."""

from __future__ import annotations

from dataclasses import dataclass

from atlas.records.units import NeuronRef, Token


@dataclass(frozen=True)
class TokenMatches:
    """Tokens that a text finds, each in one list only.

    `exact`: of exactly this text, also after a space; `same_letters`: equal without spaces and case; `beginning`: with
    those letters first; `containing`: with this text somewhere, case aside.
    """

    exact: tuple[Token, ...]
    same_letters: tuple[Token, ...]
    beginning: tuple[Token, ...]
    containing: tuple[Token, ...]


@dataclass(frozen=True)
class TextMatch:
    """A neuron that fires at a phrase: its best example there, and the text around, the phrase as `match`.

    `relative` is |activation| over the neuron's greatest |activation|; `n_examples` counts its examples at the phrase.
    """

    neuron: NeuronRef
    kind: str
    rank: int
    activation: float
    relative: float
    n_examples: int
    token: Token
    text_id: int
    position: int
    before: str
    match: str
    after: str
    cut_before: bool
    cut_after: bool


@dataclass(frozen=True)
class TextMatches:
    """Where a phrase is in the stored texts: how often, how many neurons have examples there, the strongest of them."""

    n_occurrences: int
    n_neurons: int
    neurons: tuple[TextMatch, ...]


@dataclass(frozen=True)
class Matches:
    """What a search found: the neuron of that name, tokens, and texts (None: too short a query to look for)."""

    neuron: NeuronRef | None
    tokens: TokenMatches
    texts: TextMatches | None


@dataclass(frozen=True)
class Suggestion:
    """What a text may mean: a 'neuron' with its best token, or a token that is 'exact', of the 'same letters', or
    begins with them ('prefix')."""

    kind: str
    neuron: NeuronRef | None
    token: Token
