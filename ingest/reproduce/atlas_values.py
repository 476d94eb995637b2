"""Values of an atlas for the figures."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from atlas.core.db import Atlas
from atlas.core.names import neuron_name


@dataclass(frozen=True)
class NeuronCongruence:
    """One neuron's congruence over the vocabulary."""

    top: dict[int, float]
    """Token to congruence, highest first, as many as are stored."""
    mean: float
    std: float
    min: tuple[int, float]


@dataclass(frozen=True)
class StoredPair:
    """One mutually exclusive pair."""

    rank: int
    score: float
    congruence: float
    token_gap: float
    neuron_gap: float
    second_neuron: str | None
    """The token's second best neuron; None: not stored."""


class Stored:
    """An open atlas, read for its figures; neurons by name."""

    def __init__(self, atlas: Atlas) -> None:
        self._atlas, self.info = atlas, atlas.info

    @cached_property
    def token_ids(self) -> dict[str, int]:
        """Text to token; the lowest where several spell the same."""
        rows = self._atlas.rows('SELECT "text", min(token_id) FROM token WHERE "text" IS NOT NULL GROUP BY 1')
        return dict(rows)

    @cached_property
    def token_texts(self) -> dict[int, str]:
        """Token to text."""
        return dict(self._atlas.rows("SELECT token_id, coalesce(\"text\", '') FROM token"))

    def counts(self, token_id: int) -> tuple[int, int]:
        """Positions at which a token is predicted, and after which it comes."""
        ((predicted, actual),) = self._atlas.rows(
            "SELECT n_predicted, n_actual FROM token WHERE token_id = ?", token_id
        )
        return predicted, actual

    def congruence(self, neuron_id: int) -> NeuronCongruence:
        """A neuron's highest tokens, moments and minimum."""
        top = self._atlas.rows(
            "SELECT token_id, congruence FROM neuron_token WHERE neuron_id = ? AND direction = 'top' ORDER BY rank",
            neuron_id,
        )
        ((mean, std, token, worst),) = self._atlas.rows(
            "SELECT congruence_mean, congruence_std, worst_token_id, worst_congruence FROM neuron WHERE neuron_id = ?",
            neuron_id,
        )
        return NeuronCongruence(dict(top), mean, std, (token, worst))

    @cached_property
    def pairs(self) -> dict[tuple[str, int], StoredPair]:
        """Every mutually exclusive pair at the top end, by neuron and token."""
        rows = self._atlas.rows(
            "SELECT p.neuron_id, p.token_id, p.rank, p.score, p.congruence, p.token_gap, p.neuron_gap, s.neuron_id "
            "FROM exclusive_pair AS p LEFT JOIN token_neuron AS s ON s.token_id = p.token_id AND s.direction = 'top' "
            "AND s.rank = 2 WHERE p.direction = 'top'"
        )
        return {
            (self.name(neuron), token): StoredPair(*values, None if second is None else self.name(second))
            for neuron, token, *values, second in rows
        }

    @cached_property
    def hubs(self) -> dict[str, int]:
        """Tokens of which each neuron is the best; neurons that are of none are left out."""
        rows = self._atlas.rows("SELECT neuron_id, hub_count FROM neuron WHERE hub_count > 0")
        return {self.name(neuron): count for neuron, count in rows}

    def name(self, neuron_id: int) -> str:
        """A neuron's name."""
        return neuron_name(*divmod(neuron_id, self.info.d_mlp))
