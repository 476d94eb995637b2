"""Search against plain Python over the same file: tokens by spelling, neurons by the texts that fire them."""

from __future__ import annotations

import pytest

from atlas.topics.search import best_token, matching_tokens, text_matches, token_index
from atlas.topics.text_index import fold, text_index


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
    atlas, _ = both
    index = token_index(atlas)
    assert [token.text for token in index.exact("a")] == ["a", " a"]
    assert [token.text for token in index.exact(" an")] == [" an"]
    assert index.same_letters("  ") == index.beginning("  ", 5) == []


def test_best_token_from_memory(both):
    atlas, connection = both
    for neuron_id, token_id in rows(connection, "SELECT neuron_id, best_token_id FROM neuron LIMIT 20"):
        assert best_token(atlas, neuron_id).token_id == token_id


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
    best, counts = {}, {}
    sql = "SELECT neuron_id, kind, rank, activation, text_id, position FROM example"
    for neuron_id, kind, rank, activation, text_id, position in rows(connection, sql):
        if (text_id, position) in hits:
            relative = abs(activation) / extreme[neuron_id] if extreme[neuron_id] else 0.0
            key = (32767 if kind == "interval" else rank, -relative, kind, text_id, position)
            best[neuron_id] = min(best.get(neuron_id, key), key)
            counts[neuron_id] = counts.get(neuron_id, 0) + 1
    order = sorted(best, key=lambda n: (best[n][0], best[n][1], -counts[n], n))
    found = text_matches(atlas, phrase, 10_000)
    if len(phrase.strip()) < 3:
        assert found is None
        return
    assert found.n_occurrences == sum(map(len, spans.values()))
    assert found.n_neurons == len(best)
    assert [match.neuron.neuron_id for match in found.neurons] == order
    for match in found.neurons:
        assert match.n_examples == counts[match.neuron.neuron_id]
        assert (match.kind, match.text_id, match.position) == best[match.neuron.neuron_id][2:]
        assert match.relative == -best[match.neuron.neuron_id][1]
        assert lower(match.match) == lower(phrase)
        whole = b"".join(texts[match.text_id]).decode("utf-8", "replace")
        assert (match.before + match.match + match.after).strip("\ufffd") in whole
        assert match.cut_after or whole.endswith(match.after)
        token_ids = rows(connection, 'SELECT token_ids FROM "text" WHERE text_id = ?', match.text_id)[0][0]
        assert match.token.token_id == token_ids[match.position]
    assert text_matches(atlas, phrase, 5).neurons == found.neurons[:5]


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
