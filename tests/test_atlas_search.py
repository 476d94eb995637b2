"""Search against plain Python over the same file: tokens by spelling, neurons by the texts that fire them."""

from __future__ import annotations

from itertools import permutations
from types import MappingProxyType

import numpy as np
import pytest

from atlas.core.names import spelled_layer, spelled_neuron
from atlas.topics.phrase import MOST_TEXTS, NAMED, _sought, text_matches, text_panels
from atlas.topics.search import matching_tokens, search, suggestions, token_index
from atlas.topics.text_index import Occurrences, fold, text_index
from atlas.topics.verdict import verdict


def rows(connection, sql, *parameters):
    return connection.execute(sql, parameters).fetchall()


QUERIES = [
    "an",
    " an",
    "AN",
    "␣an",
    "a",
    "e",
    "Übung",
    "übung",
    " ",
    "\\n",
    "\n",
    "\ufffd",
    "<script>",
    "日本",
    "zzz",
    "",
]


@pytest.mark.parametrize("query", QUERIES)
def test_tokens_by_spelling(both, query):
    atlas, connection = both
    vocabulary = rows(connection, 'SELECT token_id, "text", n_actual FROM token WHERE "text" IS NOT NULL')
    meant = query.replace("␣", " ").replace("\\n", "\n")
    spaced = {" " + meant} if query and not query.startswith((" ", "␣")) else set()
    letters = meant.strip().casefold()
    exact = {t for t, text, _ in vocabulary if text in {query, meant} | spaced} if query else set()
    same = {t for t, text, _ in vocabulary if letters and text.strip().casefold() == letters} - exact
    starts = {t for t, text, _ in vocabulary if letters and text.strip().casefold().startswith(letters)} - exact - same
    contains = {t for t, text, _ in vocabulary if query and meant.lower() in text.lower()} - exact - same - starts
    found = matching_tokens(atlas, query, 1000)
    assert {token.token_id for token in found.exact} == exact
    assert {token.token_id for token in found.same_letters} == same
    assert {token.token_id for token in found.beginning} == starts
    assert {token.token_id for token in found.containing} == contains
    by_length = {t: (len(text), -n, t) for t, text, n in vocabulary}
    for some in (found.beginning, found.containing):
        order = [by_length[token.token_id] for token in some]
        assert order == sorted(order)
    few = matching_tokens(atlas, query, 3)
    assert (few.exact, few.same_letters) == (found.exact, found.same_letters)
    assert few.beginning == found.beginning[:3]


def test_what_is_meant_comes_first(both):
    atlas, connection = both
    index = token_index(atlas)
    counts = dict(rows(connection, "SELECT \"text\", n_actual FROM token WHERE \"text\" IN ('a', ' a')"))
    assert [token.text for token in index.exact("a")] == sorted(["a", " a"], key=lambda text: -counts[text])
    for query in (" an", '" an"', "' an'", "“ an”"):
        assert [token.text for token in index.exact(query)] == [" an"]
    assert [token.text for token in index.exact('"a"')] == ["a"]
    assert index.exact("a neuron") == index.exact("neurons for a") == index.exact("a")
    assert index.same_letters("  ") == index.beginning("  ", 5) == []


@pytest.mark.parametrize(
    ("text", "neuron", "layer"),
    [
        ("L25", None, 25),
        ("layer 25", None, 25),
        ("layer 25 neuron 1527", (25, 1527), None),
        ("Layer 25, neuron 1527", (25, 1527), None),
        ("L25N1527", (25, 1527), None),
        ("25.1527", (25, 1527), None),
        ("25", None, None),
        ("layer", None, None),
        ("neuron 1527", None, None),
    ],
)
def test_names_as_people_write_them(text, neuron, layer):
    assert (spelled_neuron(text), spelled_layer(text)) == (neuron, layer)


def test_neurons_that_write_a_token_come_with_their_verdicts(both):
    atlas, connection = both
    predicting = rows(
        connection,
        "SELECT neuron_id, token, f1_gain FROM neuron_prediction WHERE predicts ORDER BY f1_gain DESC, neuron_id",
    )
    neuron_id, text, _ = next(row for row in predicting if row[1].isascii() and row[1].isprintable())
    writers = search(atlas, f'"{text}"').writers
    assert (writers[0].neuron.neuron_id, writers[0].token.text) == (neuron_id, text)
    assert writers[0].verdict.claim == "predicts"
    listed = [neuron for neuron, token, _ in predicting if token == text]
    assert [writer.neuron.neuron_id for writer in writers][: len(listed)] == listed[: len(writers)]
    closest = "SELECT neuron_id FROM token_neuron WHERE token_id = ? AND direction = 'top' AND rank <= 3"
    rest = {writer.neuron.neuron_id for writer in writers} - set(listed)
    assert rest <= {neuron for (neuron,) in rows(connection, closest, writers[0].token.token_id)}
    assert len({writer.neuron for writer in writers}) == len(writers)
    first = next(item for item in suggestions(atlas, f'"{text}"') if item.token is not None)
    assert (first.neuron.neuron_id, first.headline) == (neuron_id, writers[0].verdict.headline)


def test_names_are_not_looked_for_in_texts(both):
    atlas, _ = both
    assert search(atlas, "L1").layer == 1
    named = search(atlas, "layer 1 neuron 7").neuron
    assert (named.name, named.verdict) == ("L1N7", verdict(atlas, named.neuron_id))
    assert search(atlas, "L1N7").texts is search(atlas, "layer 1").texts is None
    assert search(atlas, "L77").layer is None
    kinds = [item.kind for item in suggestions(atlas, "L1")]
    assert kinds[0] == "layer"


def lower(text):
    """Lower case where that takes as many bytes."""

    def size(part):
        return len(part.encode("utf-8", "surrogateescape"))

    return "".join(c.lower() if size(c.lower()) == size(c) else c for c in text)


def stored_texts(atlas, connection):
    """Of each text: the bytes each position adds (BOS none), by text_id."""
    pieces = dict(rows(connection, "SELECT token_id, bytes FROM token"))
    bos = atlas.info.bos_token_id
    return {
        text_id: [b"" if p == 0 and t == bos else pieces[t] or b"" for p, t in enumerate(token_ids)]
        for text_id, token_ids in rows(connection, 'SELECT text_id, token_ids FROM "text"')
    }


def occurrences(parts, phrase):
    """(first byte, byte after the last) of each occurrence in a text of these parts."""
    text = b"".join(parts).decode("utf-8", "surrogateescape")
    text, phrase = lower(text), lower(phrase)
    found, place = [], text.find(phrase)
    while place >= 0:
        start = len(text[:place].encode("utf-8", "surrogateescape"))
        found.append((start, start + len(phrase.encode())))
        place = text.find(phrase, place + 1)
    return found


def hit_positions(parts, spans):
    """Positions of a text that have a byte of an occurrence."""
    hits, end = set(), 0
    for position, part in enumerate(parts):
        start, end = end, end + len(part)
        if any(start < last and first < end for first, last in spans if part):
            hits.add(position)
    return hits


PHRASES = [
    "app",
    "lemon tree",
    "ÜBUNG",
    "große Ü",
    "日本",
    "n a",
    "a a",
    "<script>alert",
    "🙂",
    "|bos|",
    "1\n",
    "nowhere",
]


@pytest.mark.parametrize("phrase", PHRASES)
def test_neurons_that_fire_on_a_phrase(both, phrase):
    atlas, connection = both
    texts = stored_texts(atlas, connection)
    spans = {text_id: occurrences(parts, phrase) for text_id, parts in texts.items()}
    hits = {(text_id, p) for text_id, parts in texts.items() for p in hit_positions(parts, spans[text_id])}
    extreme = {
        n: max(abs(low), abs(high))
        for n, low, high in rows(connection, "SELECT neuron_id, activation_min, activation_max FROM neuron")
    }
    best, having = {}, {}
    sql = "SELECT neuron_id, kind, rank, activation, text_id, position FROM example"
    for neuron_id, kind, rank, activation, text_id, position in rows(connection, sql):
        if (text_id, position) in hits:
            relative = abs(activation) / extreme[neuron_id] if extreme[neuron_id] else 0.0
            key = (32767 if kind == "interval" else rank, -relative, kind, text_id, position)
            best[neuron_id] = min(best.get(neuron_id, key), key)
            having.setdefault(neuron_id, set()).add(text_id)
    order = sorted(best, key=lambda n: (-len(having[n]), *best[n][:2], n))
    found = text_matches(atlas, phrase, 10_000)
    if len(phrase.strip()) < 3:
        assert found is None
        return
    assert found.n_occurrences == sum(map(len, spans.values()))
    assert found.n_neurons == len(best)
    assert [match.neuron.neuron_id for match in found.neurons] == order
    for match in found.neurons:
        assert match.n_texts == len(having[match.neuron.neuron_id])
        assert (match.kind, match.text_id, match.position) == best[match.neuron.neuron_id][2:]
        assert match.relative == -best[match.neuron.neuron_id][1]
        assert lower(match.match) == lower(phrase)
        whole = b"".join(texts[match.text_id]).decode("utf-8", "replace")
        assert (match.before + match.match + match.after).strip("\ufffd") in whole
        assert match.cut_after or whole.endswith(match.after)
        token_ids = rows(connection, 'SELECT token_ids FROM "text" WHERE text_id = ?', match.text_id)[0][0]
        assert match.token.token_id == token_ids[match.position]
    assert text_matches(atlas, phrase, 5).neurons == found.neurons[:5]
    firing = {text_id: [n for n in having if text_id in having[n]] for text_id in spans if spans[text_id]}
    assert found.n_texts == len(firing)
    assert [text.text_id for text in found.texts] == sorted(firing, key=lambda t: (-len(firing[t]), t))[:MOST_TEXTS]
    for text in found.texts:
        assert text.n_neurons == len(firing[text.text_id])
        assert {neuron.neuron_id for neuron in text.neurons} <= set(firing[text.text_id])
        assert len(text.neurons) == min(NAMED, text.n_neurons)
        assert lower(text.match) == lower(phrase)


def test_words_of_a_topic(both):
    """Words that stand apart in a text, those left out that occur nowhere; the SQL shown says the same."""
    atlas, connection = both
    texts = {t: lower(b"".join(p).decode("utf-8", "replace")) for t, p in stored_texts(atlas, connection).items()}
    words = next(
        words
        for words in permutations(("lemon", "tree", "apple", "picked", "pear"), 3)
        if any(all(word in text for word in words) for text in texts.values())
        and not any(" ".join(words) in text for text in texts.values())
    )
    for query, phrases in (
        (" ".join(words), words),
        ("indentation lemon", ("lemon",)),
        ("lemon indentation of", ("lemon",)),
    ):
        matches = text_matches(atlas, query)
        assert (matches.phrases, matches.how) == (phrases, "all words")
        having = [t for t, text in texts.items() if all(word in text for word in phrases)]
        assert matches.n_texts == len(having) > 0
        assert {text.text_id for text in matches.texts} <= set(having)
        panels = text_panels(atlas, matches, 30)
        listed = connection.execute(panels["neurons"]).fetchall()
        assert [row[0] for row in listed] == [match.neuron.name for match in matches.neurons]
        listed = connection.execute(panels["texts"]).fetchall()
        assert [(row[0], row[2]) for row in listed] == [
            (text.text_id, [neuron.name for neuron in text.neurons]) for text in matches.texts
        ]
    assert text_matches(atlas, "indentation nowhere").n_texts == 0


def test_phrases_are_found_in_the_fixture(both):
    atlas, _ = both
    for phrase in ("app", "lemon tree", "übung", "<script>alert"):
        assert text_matches(atlas, phrase).neurons


def test_the_index_is_made_once(both):
    atlas, _ = both
    assert text_index(atlas) is text_index(atlas)


def test_folding_keeps_places():
    text = "AN Übung ÀÉ ДА Σ İ ẞ K 日本 🙂".encode() + b"\xc3" + b"\xff\xc3\xc3"
    assert len(fold(text)) == len(text)
    assert fold("ÜBUNG ДА Σ AN".encode()) == "übung да σ an".encode()
    assert fold("İẞ日本🙂".encode()) == "İẞ日本🙂".encode()  # lower case would take another number of bytes
    assert fold(b"") == b""
    assert fold(b"\xc3") == b"\xc3"


def test_words_that_share_no_text():
    class Apart:
        """Three texts with 'one', two others with 'two'; no phrase."""

        texts = MappingProxyType({"one": [1, 2, 3], "two": [5, 8]})

        def find(self, *phrases):
            text_ids = np.array(sorted(text for phrase in phrases for text in self.texts.get(phrase, [])), np.int64)
            return Occurrences(10 * text_ids, 10 * text_ids + 3, text_ids, text_ids, text_ids)

    phrases, how, occurrences = _sought(Apart(), "one two of")
    assert (phrases, how) == (("one", "two"), "any word")
    assert occurrences.in_texts.tolist() == [1, 2, 3, 5, 8]
    assert _sought(Apart(), "no such")[:2] == (("no such",), "phrase")
