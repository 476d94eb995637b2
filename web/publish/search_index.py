"""The tokens of an atlas for the search of a published copy, which a script does."""

from __future__ import annotations

from atlas import Atlas


def search_index(atlas: Atlas, pages: frozenset[int]) -> list[tuple[int, str, str, int]]:
    """(token_id, text, as shown, times it is the actual next token) of every token that has a text and a page: the
    shortest first, then the most frequent, which is the order of the site's own suggestions.

    `pages`: the tokens that have one."""
    rows = atlas.rows(
        'SELECT token_id, n_actual FROM token WHERE "text" IS NOT NULL ORDER BY length("text"), n_actual DESC, token_id'
    )
    tokens = ((atlas.tokens[token_id], n) for token_id, n in rows if token_id in pages)
    return [(token.token_id, token.text, token.shown, n) for token, n in tokens]
