"""Search for tokens by text and neurons by name or by the texts that fire them; suggestions for a search box."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from itertools import islice

import numpy as np

from atlas.core.call import OF_ATLAS, call
from atlas.core.db import Atlas
from atlas.core.display import SPACE, read_shown
from atlas.core.errors import NeuronNameError
from atlas.core.parameter import Most, Query
from atlas.core.statements import Statement
from atlas.core.tokens import letters
from atlas.core.units import NeuronRef, Token, named_ref, neuron_ref
from atlas.topics.text_index import MIN_LETTERS, text_index


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
class TextMatch:
    """A neuron that fires at a phrase: its best example there, and the text around, the phrase as `match`.

    `relative` is |activation| over the neuron's greatest |activation|; `n_examples` counts its examples at the phrase.
    """

    neuron: NeuronRef
    kind: str
    rank: int
    activation: float
    relative: float
    n_examples: int
    token: Token
    text_id: int
    position: int
    before: str
    match: str
    after: str
    cut_before: bool
    cut_after: bool


@dataclass(frozen=True)
class TextMatches:
    """Occurrences of a phrase in the stored texts: their number, the number of neurons with examples there, and the
    strongest of those."""

    n_occurrences: int
    n_neurons: int
    neurons: tuple[TextMatch, ...]


@dataclass(frozen=True)
class Matches:
    """Result of a search: the neuron of that name, tokens, and texts (None: the query is too short)."""

    neuron: NeuronRef | None
    tokens: TokenMatches
    texts: TextMatches | None


@dataclass(frozen=True)
class Suggestion:
    """A suggestion for a text: a 'neuron' with its best token, or a token that is 'exact', has the 'same letters', or
    begins with them ('prefix')."""

    kind: str
    neuron: NeuronRef | None
    token: Token


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

    def exact(self, text: str) -> list[Token]:
        """Tokens of exactly this text, then of the text read as a copied token, then of the text after a space."""
        if not text:
            return []
        meant = read_shown(text)
        texts = [text, meant] if text.startswith((" ", SPACE)) else [text, meant, " " + meant]
        ids: dict[int, None] = {}
        for spelling in texts:
            same = self._ids[self._same(letters(spelling))]
            ids |= dict.fromkeys(sorted(i for i in same.tolist() if self._tokens.text(i) == spelling))
        return [self._tokens[token_id] for token_id in ids]

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


# The order of the site's search; where Unicode has more cases than lower() knows, the site matches a few more.
_TOKENS = Statement("""WITH found AS (
    SELECT token_id, "text" AS token, n_actual, n_predicted,
           CASE WHEN "text" IN $exact THEN 1
                WHEN lower(trim("text")) = $letters AND $letters <> '' THEN 2
                WHEN starts_with(lower(trim("text")), $letters) AND $letters <> '' THEN 3
                ELSE 4 END AS place
    FROM token
    WHERE "text" IN $exact OR contains(lower("text"), lower($meant))
       OR (starts_with(lower(trim("text")), $letters) AND $letters <> '')
)
SELECT ['exactly', 'same letters', 'begin so', 'contain it'][place] AS how, token, n_actual, n_predicted, token_id
FROM found
QUALIFY place < 3 OR row_number() OVER (PARTITION BY place ORDER BY length(token), n_actual DESC, token_id) <= 50
ORDER BY place, length(token), n_actual DESC, token_id""")

# Texts with the phrase are selected first, as one string each; only those are then split into positions.
_HITS = """WITH vocabulary AS (SELECT list(coalesce("text", '') ORDER BY token_id) AS texts FROM token),
having_it AS (
    SELECT x.text_id, x.token_ids[$skip:] AS token_ids,
           [v.texts[i + 1] FOR i IN x.token_ids[$skip:]] AS pieces
    FROM "text" AS x, vocabulary AS v
    WHERE contains(lower(array_to_string(pieces, '')), $phrase)
),
piece AS (
    SELECT text_id, unnest(range(len(pieces))) + $skip - 1 AS position, unnest(pieces) AS token,
           lower(array_to_string(pieces, '')) AS whole
    FROM having_it
),
placed AS (
    SELECT *, sum(length(token)) OVER (PARTITION BY text_id ORDER BY position) AS stop FROM piece
),
hit AS (
    SELECT text_id, position FROM placed
    WHERE length(token) > 0 AND contains(
        whole[greatest(1, stop - length(token) - $length + 2):stop + $length - 1], $phrase)
)"""

# The same places from the index of texts in memory.
_KNOWN_HITS = "WITH hit AS (SELECT unnest($text_ids::BIGINT[]) AS text_id, unnest($positions::INTEGER[]) AS position)"

# Rank means strength for 'max' and 'min' only; those of kind 'interval' are ordinary texts, and come last.
_FIRING = """,
fired AS (
    SELECT e.neuron_id, n.name AS neuron, e.kind, e.rank, e.text_id, e.position, e.activation,
           CASE e.kind WHEN 'interval' THEN 32767 ELSE e.rank END AS place,
           coalesce(abs(e.activation)::DOUBLE / nullif(greatest(abs(n.activation_min), abs(n.activation_max)), 0), 0)
               AS relative
    FROM example AS e SEMI JOIN hit USING (text_id, position) JOIN neuron AS n USING (neuron_id)
),
best AS (
    SELECT *, count(*) OVER (PARTITION BY neuron_id) AS n_examples FROM fired
    QUALIFY row_number() OVER (PARTITION BY neuron_id ORDER BY place, relative DESC, kind, text_id, position) = 1
),
strongest AS (
    SELECT *, count(*) OVER () AS n_neurons FROM best
    ORDER BY place, relative DESC, n_examples DESC, neuron_id LIMIT $limit
)
SELECT f.neuron, t."text" AS token, f.kind, f.rank, f.activation, f.relative, f.n_examples, text_id, f.position,
       f.n_neurons, f.neuron_id, t.token_id
FROM strongest AS f JOIN "text" AS x USING (text_id) JOIN token AS t ON t.token_id = x.token_ids[f.position + 1]
ORDER BY f.place, f.relative DESC, f.n_examples DESC, f.neuron_id"""

_FIRING_AT, _FIRING_ON = Statement(_KNOWN_HITS + _FIRING), Statement(_HITS + _FIRING)


def search_panels(atlas: Atlas, query: str, limit: int) -> dict[str, str]:
    """SQL for the results of `matching_tokens` and `text_matches`, without their indices in memory."""
    meant = read_shown(query)
    texts = [query, meant] if query.startswith((" ", SPACE)) else [query, meant, f" {meant}"]
    exact, letters = list(dict.fromkeys(texts)), meant.strip().casefold()
    panels = {"tokens": _TOKENS.shown(exact=exact, letters=letters, meant=meant)}
    if len(meant.strip()) >= MIN_LETTERS:
        skip, phrase = 1 if atlas.info.bos_token_id is None else 2, meant.lower()
        panels["texts"] = _FIRING_ON.shown(skip=skip, phrase=phrase, length=len(phrase), limit=limit)
    return panels


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


def matching_tokens(atlas: Atlas, text: str, limit: int = 50) -> TokenMatches:
    """Every token that matches a text, the likeliest first; at most `limit` of those that begin with it or contain
    it."""
    index = token_index(atlas)
    exact = index.exact(text)
    same = [token for token in index.same_letters(text) if token not in exact]
    beginning = [token for token in index.beginning(text, limit + len(exact)) if token not in exact][:limit]
    seen = {token.token_id for token in (*exact, *same, *beginning)}
    # Some more than are shown: tokens of the other lists may come first.
    containing = containing_tokens(atlas, read_shown(text), limit + len(seen)) if text else []
    rest = [token for token in containing if token.token_id not in seen][:limit]
    return TokenMatches(tuple(exact), tuple(same), tuple(beginning), tuple(rest))


def best_token(atlas: Atlas, neuron_id: int) -> Token:
    """The token a neuron is most congruent with, from memory: suggestions run at every key."""
    sql = "SELECT best_token_id FROM neuron ORDER BY neuron_id"
    best = atlas.remembered("best tokens", lambda: atlas.arrays(sql)["best_token_id"])
    return atlas.tokens[int(best[neuron_id])]


def text_matches(atlas: Atlas, phrase: str, limit: int = 30) -> TextMatches | None:
    """Neurons with an example that fires on a phrase (at a token that has a byte of it), the strongest first: by
    the example's rank, then by |activation| relative to the neuron's greatest, then by the number of its examples that
    do.
    None: the phrase is shorter than MIN_LETTERS.
    """
    if len(phrase.strip()) < MIN_LETTERS:
        return None
    index = text_index(atlas)
    occurrences = index.find(phrase)
    if not len(occurrences.starts):
        return TextMatches(0, 0, ())
    places = {"text_ids": occurrences.text_ids.tolist(), "positions": occurrences.positions.tolist()}
    rows, matches = _FIRING_AT.rows(atlas, **places, limit=limit), []
    for _, _, *numbers, text_id, position, _, neuron_id, token_id in rows:
        snippet = index.snippet(occurrences, text_id, position)
        place = (atlas.tokens[token_id], text_id, position)
        matches.append(TextMatch(neuron_ref(atlas, neuron_id), *numbers, *place, **asdict(snippet)))
    return TextMatches(len(occurrences.starts), rows[0][-3] if rows else 0, tuple(matches))


def named_neuron(atlas: Atlas, text: str) -> NeuronRef | None:
    """The neuron whose name the text spells, if this model has it."""
    try:
        return named_ref(atlas, text)
    except NeuronNameError:
        return None


@call(OF_ATLAS + "/search", python='demo.search("an")', q="an")
def search(atlas: Atlas, text: Query, limit: Most = 50) -> Matches:
    """Search for a neuron's name, tokens of a text (at most `limit` in each list), and neurons that fire on the
    text."""
    neuron, tokens = named_neuron(atlas, text), matching_tokens(atlas, text, limit)
    return Matches(neuron, tokens, text_matches(atlas, read_shown(text), limit))


@call(OF_ATLAS + "/suggest", name="suggest", python='demo.suggest("an")', q="an")
def suggestions(atlas: Atlas, text: Query, limit: Most = 10) -> list[Suggestion]:
    """Suggestions of a search box: neurons, then tokens, the likeliest first."""
    return list(islice(_likely(atlas, text, limit), limit))


def _likely(atlas: Atlas, text: str, limit: int) -> Iterator[Suggestion]:
    neuron = named_neuron(atlas, text)
    if neuron is not None:
        yield Suggestion("neuron", neuron, best_token(atlas, neuron.neuron_id))
    index = token_index(atlas)
    seen = set()
    for kind, tokens in (
        ("exact", index.exact(text)),
        ("same letters", index.same_letters(text)),
        ("prefix", index.beginning(text, 2 * limit)),
    ):
        for token in tokens:
            if token.token_id not in seen:
                seen.add(token.token_id)
                yield Suggestion(kind, None, token)
