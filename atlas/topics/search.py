"""Search for neurons and layers by name, tokens by text and the neurons that write them; suggestions for a box."""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from math import inf

import numpy as np

from atlas.core.call import OF_ATLAS, call
from atlas.core.db import Atlas
from atlas.core.display import SPACE, read_shown
from atlas.core.errors import NeuronNameError
from atlas.core.names import spelled_layer
from atlas.core.parameter import Most, Query
from atlas.core.statements import Statement
from atlas.core.tokens import letters
from atlas.core.units import NeuronRef, Token, named_ref, neuron_ref
from atlas.topics.glance import Glance, glances
from atlas.topics.neuron import neurons_by_id
from atlas.topics.phrase import TextMatches, text_matches, text_panels
from atlas.topics.verdict import JudgedNeuron, judged_neuron, predictors, verdict_of


@dataclass(frozen=True)
class TokenMatches:
    """Tokens that match a text, each in one list only.

    `exact`: of exactly this text, also after a space; `same_letters`: equal without spaces and case; `beginning`: with
    those letters first; `containing`: with this text somewhere, case aside.
    """

    exact: tuple[Token, ...]
    same_letters: tuple[Token, ...]
    beginning: tuple[Token, ...]
    containing: tuple[Token, ...]


@dataclass(frozen=True)
class Writer(Glance):
    """A neuron that writes a token that was searched for, their congruence, and the neuron at a glance."""

    token: Token
    congruence: float


@dataclass(frozen=True)
class Matches:
    """Result of a search: the neuron (with its verdict) or layer of that name, tokens, the neurons that write them, and
    texts (None: the query is too short, or the name of a neuron or a layer)."""

    neuron: JudgedNeuron | None
    layer: int | None
    tokens: TokenMatches
    writers: tuple[Writer, ...]
    texts: TextMatches | None


@dataclass(frozen=True)
class Suggestion:
    """A suggestion for a text: a 'layer', a 'neuron', or a token that is 'exact', has the 'same letters', or begins
    with them ('prefix'). `neuron` is the neuron, or the one that predicts the token best (none does: the most
    congruent one); `headline` is the verdict on it in a few words."""

    kind: str
    layer: int | None = None
    neuron: NeuronRef | None = None
    token: Token | None = None
    headline: str | None = None


_QUOTES = {'"': '"', "'": "'", "“": "”", "‘": "’", "`": "`"}
_ABOUT_NEURONS = re.compile(r"(?:(?:neurons?|tokens?) (?:for|of) )?(.+?)(?: (?:neurons?|tokens?))?", re.IGNORECASE)


def unquoted(query: str) -> str:
    """A query without quotes around it, which hold a space that counts: `" an"`."""
    inner = query.strip()
    return inner[1:-1] if _is_quoted(inner) else query


def token_text(query: str) -> str:
    """The token's text that a query means: quotes around it are left out, and so is `neuron` in `an neuron`."""
    about = None if _is_quoted(query.strip()) else _ABOUT_NEURONS.fullmatch(query)
    return about[1] if about else unquoted(query)


def spellings_of(query: str) -> list[str]:
    """The texts of tokens that a query may mean exactly: its own, read as a copied token, and unless it is in quotes
    the same after a space."""
    text = token_text(query)
    meant = read_shown(text)
    spaced = [] if text.startswith((" ", SPACE)) or _is_quoted(query.strip()) else [f" {meant}"]
    return list(dict.fromkeys([text, meant, *spaced])) if text else []


def _is_quoted(text: str) -> bool:
    return len(text) > 2 and _QUOTES.get(text[0]) == text[-1]


class TokenIndex:
    """The vocabulary in order of letters: ids and numbers alone, 12 bytes a token. 100 ms to make for 50,000 tokens."""

    def __init__(self, atlas: Atlas) -> None:
        self._tokens = atlas.tokens
        counts = atlas.arrays("SELECT n_actual FROM token ORDER BY token_id")["n_actual"].tolist()
        entries = []
        for token_id, n_actual in enumerate(counts):
            text = self._tokens.text(token_id)
            if text is not None:
                entries.append((letters(text), len(text), -n_actual, token_id))
        entries.sort()  # of equal letters the shortest first, then the most frequent
        self._lengths = np.array([entry[1] for entry in entries], np.int32)
        self._counts = np.array([-entry[2] for entry in entries], np.int64)
        self._ids = np.array([entry[3] for entry in entries], np.int32)

    def exact(self, query: str) -> list[Token]:
        """Tokens that a query spells exactly (see `spellings_of`), the most frequent first."""
        counts: dict[int, int] = {}
        for spelling in spellings_of(query):
            same = self._same(letters(spelling))
            for token_id, count in zip(self._ids[same].tolist(), self._counts[same].tolist(), strict=True):
                if self._tokens.text(token_id) == spelling:
                    counts[token_id] = count
        return [self._tokens[token_id] for token_id in sorted(counts, key=lambda i: (-counts[i], i))]

    def same_letters(self, text: str) -> list[Token]:
        """Tokens with the letters of this text: the shortest first, then the most frequent. Empty for spaces alone."""
        key = letters(read_shown(text))
        return [self._tokens[token_id] for token_id in self._ids[self._same(key)].tolist()] if key else []

    def beginning(self, text: str, limit: int) -> list[Token]:
        """Tokens whose letters begin with those of this text and are longer: the shortest first, then the most
        frequent."""
        key = letters(read_shown(text))
        if not key:
            return []
        first = self._same(key).stop
        end = bisect_left(self._ids, key + "\U0010ffff", lo=first, key=self._letters)
        ids = self._ids[first:end]
        order = np.lexsort((ids, -self._counts[first:end], self._lengths[first:end]))
        return [self._tokens[token_id] for token_id in ids[order[:limit]].tolist()]

    def _letters(self, token_id: int) -> str:
        return letters(self._tokens.text(token_id))

    def _same(self, key: str) -> slice:
        """The places of the tokens with these letters."""
        first = bisect_left(self._ids, key, key=self._letters)
        return slice(first, bisect_right(self._ids, key, lo=first, key=self._letters))


def token_index(atlas: Atlas) -> TokenIndex:
    """The index of an atlas, made at the first search."""
    return atlas.remembered("token index", lambda: TokenIndex(atlas))


LISTED = 30
"""Tokens in each list of the site's search, and neurons."""

# The order of the site's search; where Unicode has more cases than lower() knows, the site matches a few more.
_TOKENS = Statement(f"""WITH matching AS (
    SELECT token_id, "text" AS token, n_actual, n_predicted,
           CASE WHEN "text" IN $exact THEN 1
                WHEN lower(trim("text")) = $letters AND $letters <> '' THEN 2
                WHEN starts_with(lower(trim("text")), $letters) AND $letters <> '' THEN 3
                ELSE 4 END AS place
    FROM token
    WHERE "text" IN $exact OR contains(lower("text"), lower($meant))
       OR (starts_with(lower(trim("text")), $letters) AND $letters <> '')
)
SELECT ['exact match', 'other case or spacing', 'starts with', 'contains'][place] AS how, token, n_actual, n_predicted,
       token_id
FROM matching
QUALIFY place < 3 OR row_number() OVER (PARTITION BY place ORDER BY length(token), n_actual DESC, token_id) <= {LISTED}
ORDER BY place, length(token), n_actual DESC, token_id""")

MOST_WRITERS = 10
"""Neurons listed for the tokens of a search."""

_CLOSEST = 3
"""A token's most congruent neurons among them."""

_CONGRUENT = Statement(f"""SELECT /*+n.name AS neuron, t."text" AS token, */l.congruence, l.neuron_id, l.token_id
FROM token_neuron AS l/*+ JOIN neuron AS n USING (neuron_id) JOIN token AS t USING (token_id)*/
WHERE l.token_id IN (SELECT unnest($token_ids)) AND l.direction = 'top' AND l.rank <= {_CLOSEST}""")

_WRITERS = Statement(
    f"""WITH congruent AS (
    SELECT neuron_id, token_id, congruence FROM token_neuron
    WHERE token_id IN (SELECT unnest($token_ids)) AND direction = 'top' AND rank <= {_CLOSEST}
),
predicting AS (
    SELECT neuron_id, token_id, congruence, f1_gain FROM neuron_prediction
    WHERE predicts AND token_id IN (SELECT unnest($token_ids))
)
SELECT n.name AS neuron, t."text" AS token, coalesce(p.congruence, c.congruence) AS congruence, p.f1_gain, neuron_id,
       token_id
FROM congruent AS c FULL JOIN predicting AS p USING (neuron_id, token_id)
JOIN neuron AS n USING (neuron_id) JOIN token AS t USING (token_id)
QUALIFY row_number() OVER (
    PARTITION BY neuron_id ORDER BY p.f1_gain DESC NULLS LAST, coalesce(p.congruence, c.congruence) DESC, token_id
) = 1
ORDER BY p.f1_gain DESC NULLS LAST, coalesce(p.congruence, c.congruence) DESC, neuron_id
LIMIT {MOST_WRITERS}"""
)


def writers(atlas: Atlas, tokens: TokenMatches) -> tuple[Writer, ...]:
    """The neurons that write the tokens meant: first those whose firing predicts one, best first, then each token's
    most congruent ones."""
    token_ids = _meant(tokens)
    pairs = {(neuron, token): (-inf, value) for value, neuron, token in _CONGRUENT.rows(atlas, token_ids=token_ids)}
    for token_id in token_ids:
        pairs |= {(neuron_id, token_id): (gain, value) for neuron_id, gain, value in predictors(atlas, token_id)}
    order = sorted(pairs, key=lambda pair: (*(-value for value in pairs[pair]), *pair))
    first = dict(reversed(order))  # of each neuron its best token
    best = [pair for pair in order if first[pair[0]] == pair[1]][:MOST_WRITERS]
    neurons = neurons_by_id(atlas, (neuron_id for neuron_id, _ in best))
    items = glances(atlas, [neurons[neuron_id] for neuron_id, _ in best])
    return tuple(
        Writer(**vars(item), token=atlas.tokens[pair[1]], congruence=pairs[pair][1])
        for item, pair in zip(items, best, strict=True)
    )


def _meant(tokens: TokenMatches) -> list[int]:
    """Ids of the tokens that a query means: exact matches, or else those of the same letters."""
    return [token.token_id for token in tokens.exact or tokens.same_letters]


def search_panels(atlas: Atlas, query: str, matches: Matches) -> dict[str, str]:
    """SQL for the results of a search, without the indices in memory."""
    text = token_text(query)
    meant = read_shown(text)
    panels = {"tokens": _TOKENS.shown(exact=spellings_of(query), letters=meant.strip().casefold(), meant=meant)}
    if matches.writers:
        panels["writers"] = _WRITERS.shown(token_ids=_meant(matches.tokens))
    return panels if matches.texts is None else panels | text_panels(atlas, matches.texts, LISTED)


TOKENS_OF_TEXT = Statement("""SELECT token_id, "text" AS token, bytes, n_actual, n_predicted
FROM token
WHERE "text" = $text
ORDER BY token_id""")


def tokens_by_text(atlas: Atlas, text: str) -> list[Token]:
    """Tokens whose text is exactly this, with any leading space; several where bytes are not UTF-8 by themselves."""
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


def matching_tokens(atlas: Atlas, query: str, limit: int = 50) -> TokenMatches:
    """Every token that matches a query, the likeliest first; at most `limit` of those that begin with it or contain
    it."""
    index, text = token_index(atlas), token_text(query)
    exact = index.exact(query)
    same = [token for token in index.same_letters(text) if token not in exact]
    beginning = [token for token in index.beginning(text, limit + len(exact)) if token not in exact][:limit]
    seen = {token.token_id for token in (*exact, *same, *beginning)}
    # Some more than are shown: tokens of the other lists may come first.
    containing = containing_tokens(atlas, read_shown(text), limit + len(seen)) if text else []
    rest = [token for token in containing if token.token_id not in seen][:limit]
    return TokenMatches(tuple(exact), tuple(same), tuple(beginning), tuple(rest))


def named_neuron(atlas: Atlas, text: str) -> NeuronRef | None:
    """The neuron whose name the text spells, if this model has it."""
    try:
        return named_ref(atlas, text)
    except NeuronNameError:
        return None


def named_layer(atlas: Atlas, text: str) -> int | None:
    """The layer that the text names, as `L25` or `layer 25`, if this model has it."""
    layer = spelled_layer(text)
    return layer if layer is not None and layer < atlas.info.n_layers else None


@call(OF_ATLAS + "/search", python='demo.search("an")', q="an")
def search(atlas: Atlas, text: Query, limit: Most = 50) -> Matches:
    """Search for a neuron's or a layer's name, tokens of a text (at most `limit` in each list) and the neurons that
    write them, and the stored texts that have the text or its words, with the neurons that fire there."""
    neuron, layer = named_neuron(atlas, text), named_layer(atlas, text)
    tokens = matching_tokens(atlas, text, limit)
    named = neuron is not None or layer is not None
    texts = None if named else text_matches(atlas, read_shown(unquoted(text)), limit)
    judged = None if neuron is None else judged_neuron(atlas, neuron.neuron_id)
    return Matches(judged, layer, tokens, writers(atlas, tokens), texts)


@call(OF_ATLAS + "/suggest", name="suggest", python='demo.suggest("an")', q="an")
def suggestions(atlas: Atlas, text: Query, limit: Most = 10) -> list[Suggestion]:
    """Suggestions of a search box: a layer, a neuron, then tokens, the likeliest first, each with its best neuron."""
    layer, neuron = named_layer(atlas, text), named_neuron(atlas, text)
    tokens = list(islice(_likely_tokens(atlas, text, limit), limit))
    best = {token.token_id: _best_neuron(atlas, token.token_id) for _, token in tokens}
    neurons = neurons_by_id(atlas, [*best.values(), *([neuron.neuron_id] if neuron else [])])
    headlines = {neuron_id: verdict_of(atlas, item).headline for neuron_id, item in neurons.items()}
    items = [
        *([Suggestion("layer", layer=layer)] if layer is not None else []),
        *([Suggestion("neuron", neuron=neuron, headline=headlines[neuron.neuron_id])] if neuron else []),
        *(
            Suggestion(kind, None, neuron_ref(atlas, best[token.token_id]), token, headlines[best[token.token_id]])
            for kind, token in tokens
        ),
    ]
    return items[:limit]


def _likely_tokens(atlas: Atlas, query: str, limit: int) -> Iterator[tuple[str, Token]]:
    index, text = token_index(atlas), token_text(query)
    seen: set[int] = set()
    for kind, tokens in (
        ("exact", index.exact(query)),
        ("same letters", index.same_letters(text)),
        ("prefix", index.beginning(text, 2 * limit)),
    ):
        for token in tokens:
            if token.token_id not in seen:
                seen.add(token.token_id)
                yield kind, token


def _best_neuron(atlas: Atlas, token_id: int) -> int:
    """The neuron whose firing predicts a token best, or else its most congruent one, from memory: suggestions run at
    every key."""
    sql = "SELECT best_neuron_id FROM token ORDER BY token_id"
    best = atlas.remembered("best neuron of each token", lambda: np.asarray(atlas.arrays(sql)["best_neuron_id"]))
    return next((neuron_id for neuron_id, *_ in predictors(atlas, token_id)), int(best[token_id]))
