"""Stored texts that have a phrase, or the words of a topic: the neurons that fire there, and the texts."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from atlas.core.db import Atlas
from atlas.core.statements import Statement
from atlas.core.units import NeuronRef, Token, neuron_ref
from atlas.topics.firing_index import KINDS, firing_index
from atlas.topics.glance import Glance, glances
from atlas.topics.neuron import neurons_by_id
from atlas.topics.text_index import MIN_LETTERS, Occurrences, Snippet, TextIndex, distinct, text_index

MOST_TEXTS = 12
"""Texts that a search lists."""

NAMED = 5
"""Neurons that it names for each."""

_ORDINARY = 32767
"""Place of an ordinary text, after every rank: rank means strength for 'max' and 'min' only."""


@dataclass(frozen=True)
class TextMatch(Glance, Snippet):
    """A neuron that fires at a phrase: at a glance, its strongest example there, and the text around.

    `n_texts` counts its stored texts in which it fires there; `relative` is |activation| over the neuron's greatest
    |activation|; `token` is the one on which the example fires.
    """

    n_texts: int
    kind: str
    rank: int
    activation: float
    relative: float
    token: Token
    text_id: int
    position: int


@dataclass(frozen=True)
class TextWith(Snippet):
    """A stored text that has the phrase: how many neurons have an example that fires there, the strongest of them, and
    the text around its first occurrence."""

    text_id: int
    position: int
    n_neurons: int
    neurons: tuple[NeuronRef, ...]


@dataclass(frozen=True)
class TextMatches:
    """Stored texts that have a phrase, or, where none has it as a whole, its words.

    `phrases` is what the texts have: the phrase itself (`how` is 'phrase'), or those of its words that occur, all of
    them in each text ('all words') or, where no text has them all, one at least ('any word').
    """

    phrases: tuple[str, ...]
    how: str
    n_occurrences: int
    n_texts: int
    n_neurons: int
    neurons: tuple[TextMatch, ...]
    texts: tuple[TextWith, ...]


# Texts with the phrases are selected first, as one string each; only those are then split into positions.
_HITS = """WITH vocabulary AS (SELECT list(coalesce("text", '') ORDER BY token_id) AS texts FROM token),
having_it AS (
    SELECT x.text_id, [v.texts[i + 1] FOR i IN x.token_ids[$skip:]] AS pieces,
           lower(array_to_string(pieces, '')) AS whole
    FROM "text" AS x, vocabulary AS v
    WHERE len([p FOR p IN $phrases IF contains(lower(array_to_string(pieces, '')), p)]) >= $least
),
piece AS (
    SELECT text_id, unnest(range(len(pieces))) + $skip - 1 AS position, unnest(pieces) AS token, whole FROM having_it
),
placed AS (
    SELECT *, sum(length(token)) OVER (PARTITION BY text_id ORDER BY position) AS stop FROM piece
),
hit AS (
    SELECT DISTINCT text_id, position FROM placed, (SELECT unnest($phrases) AS phrase)
    WHERE length(token) > 0 AND contains(
        whole[greatest(1, stop - length(token) - length(phrase) + 2):stop + length(phrase) - 1], phrase)
),
fired AS (
    SELECT e.neuron_id, n.name AS neuron, e.kind, e.rank, e.text_id, e.position, e.activation,
           CASE e.kind WHEN 'interval' THEN 32767 ELSE e.rank END AS place,
           coalesce(abs(e.activation)::DOUBLE / nullif(greatest(abs(n.activation_min), abs(n.activation_max)), 0), 0)
               AS relative
    FROM example AS e SEMI JOIN hit USING (text_id, position) JOIN neuron AS n USING (neuron_id)
)"""

_NEURONS = Statement(
    _HITS
    + """,
counted AS (SELECT neuron_id, count(DISTINCT text_id) AS n_texts FROM fired GROUP BY neuron_id),
best AS (
    SELECT * FROM fired JOIN counted USING (neuron_id)
    QUALIFY row_number() OVER (PARTITION BY neuron_id ORDER BY place, relative DESC, kind, text_id, position) = 1
)
SELECT f.neuron, f.n_texts, t."text" AS token, f.kind, f.rank, f.activation, f.relative, text_id, f.position,
       f.neuron_id, t.token_id
FROM best AS f JOIN "text" AS x USING (text_id) JOIN token AS t ON t.token_id = x.token_ids[f.position + 1]
ORDER BY f.n_texts DESC, f.place, f.relative DESC, f.neuron_id
LIMIT $limit"""
)

_TEXTS = Statement(
    _HITS
    + f""",
one AS (
    SELECT * FROM fired
    QUALIFY row_number() OVER (PARTITION BY text_id, neuron_id ORDER BY place, relative DESC) = 1
)
SELECT text_id, count(DISTINCT o.neuron_id) AS n_neurons,
       coalesce(list(o.neuron ORDER BY o.place, o.relative DESC, o.neuron_id)
           FILTER (WHERE o.neuron IS NOT NULL)[:{NAMED}], []) AS neurons
FROM (SELECT DISTINCT text_id FROM hit) LEFT JOIN one AS o USING (text_id)
GROUP BY text_id
ORDER BY n_neurons DESC, text_id
LIMIT $limit"""
)


def text_panels(atlas: Atlas, matches: TextMatches, limit: int) -> dict[str, str]:
    """SQL for the neurons and the texts of `text_matches`, without its indices in memory."""
    skip, phrases = 1 if atlas.info.bos_token_id is None else 2, [phrase.lower() for phrase in matches.phrases]
    values = {"skip": skip, "phrases": phrases, "least": 1 if matches.how == "any word" else len(phrases)}
    return {
        "neurons": _NEURONS.shown(**values, limit=limit),
        "texts": _TEXTS.shown(**values, limit=MOST_TEXTS),
    }


def text_matches(atlas: Atlas, phrase: str, limit: int = 30) -> TextMatches | None:
    """The stored texts that have a phrase, those that fire the most neurons there first, and the neurons with an
    example that fires on it (at a token that has a byte of it): ordered by the number of their stored texts that do,
    then by that example's rank, then by |activation| relative to the neuron's greatest.

    Where no text has the phrase, its words of at least MIN_LETTERS letters are looked for: texts that have all of
    those that occur, or, where none has, any. None: the phrase is shorter than MIN_LETTERS.
    """
    if len(phrase.strip()) < MIN_LETTERS:
        return None
    index = text_index(atlas)
    phrases, how, occurrences = _sought(index, phrase)
    if not len(occurrences.starts):
        return TextMatches(phrases, how, 0, 0, 0, (), ())
    fired = _Fired(atlas, occurrences)
    return TextMatches(
        phrases,
        how,
        len(occurrences.starts),
        len(fired.all_texts),
        int(np.count_nonzero(fired.n_texts)),
        _neurons(atlas, index, occurrences, fired, limit),
        _texts(atlas, index, occurrences, fired),
    )


def _sought(index: TextIndex, phrase: str) -> tuple[tuple[str, ...], str, Occurrences]:
    """What the texts have of a phrase, how they have it (see TextMatches), and its occurrences."""
    whole = index.find(phrase)
    words = [word for word in dict.fromkeys(phrase.split()) if len(word) >= MIN_LETTERS]
    if len(whole.starts) or len(phrase.split()) < 2 or not words:
        return (phrase,), "phrase", whole
    texts = {word: distinct(index.find(word).in_texts) for word in words}
    occurring = tuple(word for word in words if len(texts[word]))
    if not occurring:
        return (phrase,), "phrase", whole
    every = texts[occurring[0]]
    for word in occurring[1:]:
        every = np.intersect1d(every, texts[word])
    occurrences = index.find(*occurring)
    if not len(every):
        return occurring, "any word", occurrences
    return occurring, "all words", occurrences.within(every)


class _Fired:
    """The examples that fire at occurrences, a row each; `numbers` are places of their texts in `all_texts`."""

    def __init__(self, atlas: Atlas, occurrences: Occurrences) -> None:
        self.all_texts = distinct(occurrences.in_texts)
        index = firing_index(atlas)
        rows, hits = index.at(occurrences.text_ids, occurrences.positions)
        self.text_ids, self.positions = occurrences.text_ids[hits], occurrences.positions[hits]
        self.neuron_ids, self.kinds, self.ranks = index.neuron_ids[rows], index.kinds[rows], index.ranks[rows]
        self.activations = index.activations[rows]
        greatest = _greatest(atlas)[self.neuron_ids].astype(np.float64)
        self.relative = np.abs(self.activations) / np.where(greatest, greatest, np.inf)
        self.places = np.where(self.kinds == KINDS.index("interval"), _ORDINARY, self.ranks)
        self.numbers = np.searchsorted(self.all_texts, self.text_ids)
        # A neuron may fire at two positions of a text, in kinds 'max' and 'min': it is counted once.
        pairs = distinct(self.neuron_ids.astype(np.int64) << 32 | self.numbers)
        self.n_texts = np.bincount(pairs >> 32, minlength=atlas.info.n_neurons)
        """Texts in which each neuron fires there, [n_neurons]."""
        self.n_neurons = np.bincount(pairs & 0xFFFFFFFF, minlength=len(self.all_texts))
        """Neurons that fire there in each text, [text of all_texts]."""

    def strongest(self, rows: np.ndarray, groups: np.ndarray) -> np.ndarray:
        """Of some rows the strongest of each group, in order of groups."""
        kinds, text_ids, positions = self.kinds[rows], self.text_ids[rows], self.positions[rows]
        order = np.lexsort((positions, text_ids, kinds, -self.relative[rows], self.places[rows], groups))
        first = np.flatnonzero(np.diff(groups[order], prepend=-1))
        return rows[order[first]]


def _greatest(atlas: Atlas) -> np.ndarray:
    """The greatest |activation| of each neuron, by neuron_id."""
    sql = "SELECT greatest(abs(activation_min), abs(activation_max)) AS greatest FROM neuron ORDER BY neuron_id"
    return atlas.remembered("greatest magnitudes", lambda: np.asarray(atlas.arrays(sql)["greatest"]))


def _neurons(
    atlas: Atlas, index: TextIndex, occurrences: Occurrences, fired: _Fired, limit: int
) -> tuple[TextMatch, ...]:
    counts = fired.n_texts
    if not len(fired.neuron_ids):
        return ()
    ordered = np.sort(counts[counts > 0])[::-1]
    least = ordered[min(limit, len(ordered)) - 1]
    rows = np.flatnonzero(counts[fired.neuron_ids] >= least)
    best = fired.strongest(rows, fired.neuron_ids[rows])
    ids = fired.neuron_ids[best]
    order = np.lexsort((ids, -fired.relative[best], fired.places[best], -counts[ids]))
    best = best[order[:limit]]
    rows_by_id = neurons_by_id(atlas, fired.neuron_ids[best].tolist())
    items = glances(atlas, [rows_by_id[neuron_id] for neuron_id in fired.neuron_ids[best].tolist()])
    tokens = index.token_ids(fired.text_ids[best], fired.positions[best])
    matches = []
    for item, row, token_id in zip(items, best.tolist(), tokens.tolist(), strict=True):
        text_id, position = int(fired.text_ids[row]), int(fired.positions[row])
        matches.append(
            TextMatch(
                **vars(index.snippet(occurrences, text_id, position)),
                **vars(item),
                n_texts=int(counts[item.neuron.neuron_id]),
                kind=KINDS[fired.kinds[row]],
                rank=int(fired.ranks[row]),
                activation=float(fired.activations[row]),
                relative=float(fired.relative[row]),
                token=atlas.tokens[token_id],
                text_id=text_id,
                position=position,
            )
        )
    return tuple(matches)


def _texts(atlas: Atlas, index: TextIndex, occurrences: Occurrences, fired: _Fired) -> tuple[TextWith, ...]:
    counts, text_ids = fired.n_neurons, fired.all_texts
    texts = []
    for number in np.lexsort((text_ids, -counts))[:MOST_TEXTS].tolist():
        rows = np.flatnonzero(fired.numbers == number)
        best = fired.strongest(rows, fired.neuron_ids[rows])
        order = np.lexsort((fired.neuron_ids[best], -fired.relative[best], fired.places[best]))[:NAMED]
        text_id = int(text_ids[number])
        position = int(occurrences.positions[np.searchsorted(occurrences.text_ids, text_id)])
        names = tuple(neuron_ref(atlas, neuron_id) for neuron_id in fired.neuron_ids[best[order]].tolist())
        snippet = vars(index.snippet(occurrences, text_id, position))
        texts.append(
            TextWith(**snippet, text_id=text_id, position=position, n_neurons=int(counts[number]), neurons=names)
        )
    return tuple(texts)
