"""The four sign cases of a gated neuron."""

from __future__ import annotations

from collections.abc import Sequence

from atlas.core.statements import Statement
from atlas.db import Atlas
from atlas.records import SignCase
from atlas.texts import texts_by_id

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


def sign_cases(atlas: Atlas, neuron_id: int) -> list[SignCase]:
    """The sign cases of a neuron that occur, gate and input above 0 first; empty where none were counted."""
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
