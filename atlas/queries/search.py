"""Find tokens by their text."""

from __future__ import annotations

from atlas.db import Atlas
from atlas.records import Token


def tokens_by_text(atlas: Atlas, text: str) -> list[Token]:
    """Tokens whose text is exactly this, leading space and all; several where bytes are not UTF-8 by themselves."""
    rows = atlas.rows('SELECT token_id FROM token WHERE "text" = ? ORDER BY token_id', text)
    return [atlas.tokens[token_id] for (token_id,) in rows]


def containing_tokens(atlas: Atlas, text: str, limit: int = 50) -> list[Token]:
    """Tokens whose text contains this, upper and lower case alike: the shortest first, then the most frequent."""
    rows = atlas.rows(
        'SELECT token_id FROM token WHERE contains(lower("text"), lower(?)) '
        'ORDER BY length("text"), n_actual DESC, token_id LIMIT ?',
        text,
        limit,
    )
    return [atlas.tokens[token_id] for (token_id,) in rows]
