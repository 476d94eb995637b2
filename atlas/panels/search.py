"""SQL of what a search finds in an atlas."""

from __future__ import annotations

from atlas.core.display import SPACE, read_shown
from atlas.panels.literal import text
from atlas.topics.text_index import MIN_LETTERS

# How the site orders what it finds; where Unicode has more cases than lower() knows, it finds a few more.
_TOKENS = """WITH found AS (
    SELECT token_id, "text" AS token, n_actual, n_predicted,
           CASE WHEN "text" IN ({exact}) THEN 1
                WHEN lower(trim("text")) = {letters} AND {letters} <> '' THEN 2
                WHEN starts_with(lower(trim("text")), {letters}) AND {letters} <> '' THEN 3
                ELSE 4 END AS place
    FROM token
    WHERE "text" IN ({exact}) OR contains(lower("text"), lower({meant}))
       OR (starts_with(lower(trim("text")), {letters}) AND {letters} <> '')
)
SELECT ['exactly', 'same letters', 'begin so', 'contain it'][place] AS how, token, n_actual, n_predicted, token_id
FROM found
QUALIFY place < 3 OR row_number() OVER (PARTITION BY place ORDER BY length(token), n_actual DESC, token_id) <= 50
ORDER BY place, length(token), n_actual DESC, token_id"""

# Texts that have the phrase are found first, as one string each; only those are then taken apart into positions.
_TEXTS = """WITH vocabulary AS (SELECT list(coalesce("text", '') ORDER BY token_id) AS texts FROM token),
having_it AS (
    SELECT x.text_id, x.token_ids[{skip}:] AS token_ids,
           [v.texts[i + 1] FOR i IN x.token_ids[{skip}:]] AS pieces
    FROM "text" AS x, vocabulary AS v
    WHERE contains(lower(array_to_string(pieces, '')), {phrase})
),
piece AS (
    SELECT text_id, unnest(range(len(pieces))) + {skip} - 1 AS position, unnest(pieces) AS token,
           lower(array_to_string(pieces, '')) AS whole
    FROM having_it
),
placed AS (
    SELECT *, sum(length(token)) OVER (PARTITION BY text_id ORDER BY position) AS stop FROM piece
),
hit AS (
    SELECT text_id, position, token FROM placed
    WHERE length(token) > 0 AND contains(
        whole[greatest(1, stop - length(token) - {length} + 2):stop + {length} - 1], {phrase})
),
fired AS (
    SELECT e.neuron_id, n.name AS neuron, h.token, e.kind, e.rank, e.activation, e.text_id, e.position,
           CASE e.kind WHEN 'interval' THEN 32767 ELSE e.rank END AS place,
           coalesce(abs(e.activation)::DOUBLE / nullif(greatest(abs(n.activation_min), abs(n.activation_max)), 0), 0)
               AS relative
    FROM example AS e JOIN hit AS h USING (text_id, position) JOIN neuron AS n USING (neuron_id)
),
best AS (
    SELECT *, count(*) OVER (PARTITION BY neuron_id) AS n_examples FROM fired
    QUALIFY row_number() OVER (PARTITION BY neuron_id ORDER BY place, relative DESC, kind, text_id, position) = 1
)
SELECT neuron, token, kind, rank, activation, relative, n_examples, text_id, position
FROM best
ORDER BY place, relative DESC, n_examples DESC, neuron_id
LIMIT {limit}"""


def search_panels(query: str, *, has_bos: bool, limit: int) -> dict[str, str]:
    """SQL of what a query finds: tokens, and the neurons whose texts fire them there. `has_bos`: whether texts begin
    with a token that is no part of them."""
    meant = read_shown(query)
    exact = [query, meant] if query.startswith((" ", SPACE)) else [query, meant, f" {meant}"]
    panels = {
        "tokens": _TOKENS.format(
            exact=", ".join(text(one) for one in dict.fromkeys(exact)),
            letters=text(meant.strip().casefold()),
            meant=text(meant),
        )
    }
    if len(meant.strip()) >= MIN_LETTERS:
        phrase = text(meant.lower())
        panels["texts"] = _TEXTS.format(skip=2 if has_bos else 1, phrase=phrase, length=len(meant.lower()), limit=limit)
    return panels
