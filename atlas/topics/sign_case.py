"""The four sign cases of a gated neuron: gate and input side above 0 or not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from atlas.core.call import OF_NEURON, call
from atlas.core.db import Atlas
from atlas.core.option import IngestOption
from atlas.core.parameter import NeuronId
from atlas.core.statements import Statement
from atlas.core.term import Term
from atlas.core.texts import texts_by_id
from atlas.core.units import Token


@dataclass(frozen=True)
class SignCase:
    """One of the four cases: its frequency, the activation in it, and its extreme (`sign_case`)."""

    TABLE = "sign_case"

    gate_positive: bool
    """Whether the gate's pre-activation is above 0."""
    in_positive: bool
    """Whether the input side is above 0. The activation is >= 0 where both have the same sign."""
    n: int
    """Counted positions."""
    share: float
    """Their share of all counted positions, 0 to 1."""
    activation_mean: float
    """Mean activation over them."""
    activation_extreme: float
    """The activation of the greatest magnitude among them."""
    text_id: int
    """Text of that activation."""
    position: int
    """Its position there, BOS being 0."""
    before: str
    """Up to 16 tokens before that position."""
    token: Token
    """The token at that position."""
    after: str
    """Up to 8 tokens after that position."""


OPTION = IngestOption("--sign-cases", "Gated models: count the signs of gate and input (slow on a CPU).")

BEFORE, AFTER = 16, 8
"""Tokens shown before and after the extreme of a case."""

SIGN_CASES = Statement("""SELECT s.gate_positive, s.in_positive, s.n, /*+s.n / a.n_positions AS share,
       */s.activation_mean, s.activation_extreme, s.text_id, s.position/*+, t."text" AS token*/
FROM sign_case AS s/*+ JOIN "text" AS x USING (text_id) JOIN token AS t ON t.token_id = x.token_ids[s.position + 1],
     atlas AS a*/
WHERE s.neuron_id = $neuron_id/*+
ORDER BY s.gate_positive DESC, s.in_positive DESC*/""")


def has_sign_cases(atlas: Atlas) -> bool:
    """Whether sign cases were counted: gated models ingested with --sign-cases."""
    return atlas.remembered("has sign cases", lambda: bool(atlas.rows("SELECT EXISTS (FROM sign_case)")[0][0]))


@call(OF_NEURON + "/sign-cases", python='demo.neuron("{neuron}").sign_cases()')
def sign_cases(atlas: Atlas, neuron_id: NeuronId) -> list[SignCase]:
    """The sign cases of a gated neuron; empty where the atlas was ingested without --sign-cases."""
    rows = sorted(SIGN_CASES.rows(atlas, neuron_id=neuron_id), reverse=True)
    texts = texts_by_id(atlas, (row[5] for row in rows))
    return [_case(atlas, row, texts[row[5]]) for row in rows]


def _case(atlas: Atlas, row: tuple, text: Sequence[int]) -> SignCase:
    gate, read, n, mean, extreme, text_id, position = row
    first = max(0, position - BEFORE)
    before = "".join(token.in_text for token in atlas.tokens.many(text[first:position]))
    after = "".join(token.in_text for token in atlas.tokens.many(text[position + 1 : position + 1 + AFTER]))
    share = n / atlas.info.n_positions
    return SignCase(gate, read, n, share, mean, extreme, text_id, position, before, atlas.tokens[text[position]], after)


TERMS = (
    Term(
        "Sign case",
        "sign-case",
        "The activation of a gated neuron is act(gate) × input. Each of the two is above 0 or not: four cases, "
        "which differ in frequency and in the size of the activation. Counted by atlas ingest --sign-cases.",
        "SELECT sum(n) FILTER (gate_positive AND in_positive) / sum(n) AS both_positive,\n"
        "       sum(n) FILTER (gate_positive AND NOT in_positive) / sum(n) AS gate_alone,\n"
        "       sum(n) FILTER (NOT gate_positive AND in_positive) / sum(n) AS input_alone,\n"
        "       sum(n) FILTER (NOT gate_positive AND NOT in_positive) / sum(n) AS neither\nFROM sign_case",
        "Gerstner and Schütze, Understanding Gated Neurons in Transformers from Their Input-Output Functionality, 2025",
    ),
)
