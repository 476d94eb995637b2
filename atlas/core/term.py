"""Entries of the glossary; each topic lists its own in `TERMS`."""

from __future__ import annotations

from dataclasses import dataclass

POST_URL = "https://www.lesswrong.com/posts/cgqh99SHsCv3jJYDS/we-found-an-neuron-in-gpt-2"
POST = 'Joseph Miller and Clement Neo, "We Found An Neuron in GPT-2", 2023'

BEST_PAIR = """WITH best AS (
    SELECT neuron_id, token_id, neuron, token FROM pair WHERE direction = 'top'
    ORDER BY special, least(n_predicted, 20) DESC, rank LIMIT 1
)
"""
"""The pair of the examples: the best exclusive pair with an ordinary token that is often predicted."""


@dataclass(frozen=True)
class Term:
    """A word, its anchor in the page, its meaning, the SQL that computes it, and its source."""

    name: str
    anchor: str
    definition: str
    sql: str
    source: str | None = None
