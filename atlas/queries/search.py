"""Find tokens by their text, and neurons by the texts that fire them."""

from __future__ import annotations

from dataclasses import asdict

from atlas.core.statements import Statement
from atlas.db import Atlas
from atlas.display import read_shown
from atlas.queries.atlas import neuron_ref
from atlas.records import TextMatch, TextMatches, Token, TokenMatches
from atlas.text_index import MIN_LETTERS, text_index
from atlas.token_index import token_index

# Rank means strength for 'max' and 'min' only; those of kind 'interval' are ordinary texts, and come last.
_FIRING = """
WITH hit AS (SELECT unnest(?::BIGINT[]) AS text_id, unnest(?::INTEGER[]) AS position),
found AS (
    SELECT e.neuron_id, e.kind, e.rank, e.text_id, e.position, e.activation,
           CASE e.kind WHEN 'interval' THEN 32767 ELSE e.rank END AS place,
           coalesce(abs(e.activation)::DOUBLE / nullif(greatest(abs(n.activation_min), abs(n.activation_max)), 0), 0)
               AS relative
    FROM example AS e SEMI JOIN hit USING (text_id, position) JOIN neuron AS n USING (neuron_id)
),
best AS (
    SELECT *, count(*) OVER (PARTITION BY neuron_id) AS n_examples
    FROM found
    QUALIFY row_number() OVER (
        PARTITION BY neuron_id ORDER BY place, relative DESC, kind, text_id, position
    ) = 1
)
SELECT best.neuron_id, kind, rank, activation, relative, n_examples, token_ids[position + 1], text_id, position,
       n_neurons
FROM (
    SELECT *, count(*) OVER () AS n_neurons FROM best
    ORDER BY place, relative DESC, n_examples DESC, neuron_id LIMIT ?
) AS best JOIN "text" USING (text_id)
ORDER BY place, relative DESC, n_examples DESC, neuron_id
"""

TOKENS_OF_TEXT = Statement("""SELECT token_id, "text" AS token, bytes, n_actual, n_predicted
FROM token
WHERE "text" = $text
ORDER BY token_id""")


def tokens_by_text(atlas: Atlas, text: str) -> list[Token]:
    """Tokens whose text is exactly this, leading space and all; several where bytes are not UTF-8 by themselves."""
    return [atlas.tokens[token_id] for token_id, *_ in TOKENS_OF_TEXT.rows(atlas, text=text)]


def containing_tokens(atlas: Atlas, text: str, limit: int = 50) -> list[Token]:
    """Tokens whose text contains this, upper and lower case alike: the shortest first, then the most frequent."""
    rows = atlas.rows(
        'SELECT token_id FROM token WHERE contains(lower("text"), lower(?)) '
        'ORDER BY length("text"), n_actual DESC, token_id LIMIT ?',
        text,
        limit,
    )
    return [atlas.tokens[token_id] for (token_id,) in rows]


def matching_tokens(atlas: Atlas, text: str, limit: int = 50) -> TokenMatches:
    """Every token that a text may mean, the likeliest first; at most `limit` of those that begin or contain."""
    index = token_index(atlas)
    exact = index.exact(text)
    same = [token for token in index.same_letters(text) if token not in exact]
    beginning = [token for token in index.beginning(text, limit + len(exact)) if token not in exact][:limit]
    seen = {token.token_id for token in (*exact, *same, *beginning)}
    # A little more than is shown: those of the other lists may come first.
    containing = containing_tokens(atlas, read_shown(text), limit + len(seen)) if text else []
    rest = [token for token in containing if token.token_id not in seen][:limit]
    return TokenMatches(tuple(exact), tuple(same), tuple(beginning), tuple(rest))


def best_token(atlas: Atlas, neuron_id: int) -> Token:
    """The token a neuron is most congruent with, from memory: for what is asked at every key."""
    sql = "SELECT best_token_id FROM neuron ORDER BY neuron_id"
    best = atlas.remembered("best tokens", lambda: atlas.arrays(sql)["best_token_id"])
    return atlas.tokens[int(best[neuron_id])]


def text_matches(atlas: Atlas, phrase: str, limit: int = 30) -> TextMatches | None:
    """Neurons with an example that fires on a phrase (at a token that has a byte of it), the strongest first: by
    the example's rank, then by |activation| relative to the neuron's greatest, then by how many of its examples do.
    None: the phrase is shorter than MIN_LETTERS.
    """
    if len(phrase.strip()) < MIN_LETTERS:
        return None
    index = text_index(atlas)
    found = index.find(phrase)
    if not len(found.starts):
        return TextMatches(0, 0, ())
    rows = atlas.rows(_FIRING, found.text_ids.tolist(), found.positions.tolist(), limit)
    matches = []
    for neuron_id, kind, rank, activation, relative, n_examples, token_id, text_id, position, _ in rows:
        snippet = index.snippet(found, text_id, position)
        numbers = (kind, rank, activation, relative, n_examples, atlas.tokens[token_id], text_id, position)
        matches.append(TextMatch(neuron_ref(atlas, neuron_id), *numbers, **asdict(snippet)))
    return TextMatches(len(found.starts), rows[0][-1] if rows else 0, tuple(matches))
