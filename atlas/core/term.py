"""One entry of the glossary; each topic has its own in `TERMS`."""

from __future__ import annotations

from dataclasses import dataclass

POST = 'Joseph Miller and Clement Neo, "We Found An Neuron in GPT-2", 2023'

BEST_PAIR = """WITH best AS (
    SELECT neuron_id, token_id, neuron, token FROM pair WHERE direction = 'top'
    ORDER BY special, least(n_predicted, 20) DESC, rank LIMIT 1
)
"""
"""The pair that examples are about: of the exclusive pairs with an ordinary token that is often predicted, the best."""


@dataclass(frozen=True)
class Term:
    """A word, where it is in the page ('#anchor'), what it means, the SQL that computes it, where it is from."""

    name: str
    anchor: str
    definition: str
    sql: str
    source: str | None = None
