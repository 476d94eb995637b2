"""Families of tokens, kin and kinds as they are read, against plain Python over the same file."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from pathlib import Path

import duckdb
import pytest

from atlas import open_atlas
from atlas.core.display import show_share
from atlas.core.errors import TokenError
from atlas.topics.family import FAMILY_PAIRS, KIN, family_curves, family_pairs, has_family, kin
from atlas.topics.family import family as read_family
from atlas.topics.kind import layer_kinds, neuron_kind
from atlas.topics.neuron import neuron_tokens
from atlas.topics.pair import RankingFilter, exclusive_pairs
from atlas.topics.reduced import reduced_neurons, reduced_tokens


def rows(connection, sql, *parameters):
    return connection.execute(sql, parameters).fetchall()


def test_pairs_with_other_spellings_set_aside(both):
    """Against the stored lists: the best token of another family, and the place by what it leaves."""
    atlas, _ = both
    every = RankingFilter(every=True)
    pairs = [pair for end in ("top", "bottom") for pair in exclusive_pairs(atlas, end, every, limit=1000).rows]
    found = dict(zip(((p.neuron.neuron_id, p.direction) for p in pairs), family_pairs(atlas, pairs), strict=True))
    scores = defaultdict(list)
    for pair in pairs:
        own = {member.token.token_id for member in read_family(atlas, pair.token.token_id)} | {pair.token.token_id}
        tokens = neuron_tokens(atlas, pair.neuron.neuron_id, pair.direction)
        rest = [abs(pair.congruence - item.congruence) for item in tokens if item.token.token_id not in own]
        key = pair.neuron.neuron_id, pair.direction
        assert found[key].family_gap == (min(rest) if rest else None)
        if rest:
            scores[pair.direction].append((-min(rest) * pair.neuron_gap, key))
    for ranked in scores.values():
        assert [found[key].family_rank for _, key in sorted(ranked)] == [*range(1, len(ranked) + 1)]
    rows = atlas.query(FAMILY_PAIRS.shown()).rows
    assert {(row[0], row[1]): (row[-2], row[-1]) for row in rows} == {
        key: (item.family_gap, item.family_rank) for key, item in found.items()
    }


def test_other_spellings_do_not_make_a_gap():
    """Neuron 1 writes tokens 10 and 11, of one family, then 12; neuron 2 writes tokens 20 and 21, of two."""
    with duckdb.connect() as connection:
        connection.execute("CREATE TABLE token_family AS FROM (VALUES (10, 10), (11, 10)) AS t(token_id, family_id)")
        connection.execute("""CREATE TABLE exclusive_pair AS
            FROM (VALUES
                (1, 10, 'top', 2, 9.0, 0.5, 1.0), (2, 20, 'top', 1, 5.0, 2.0, 1.5), (3, 10, 'bottom', 1, -4.0, 1.0, 1.0)
            ) AS t(neuron_id, token_id, direction, rank, congruence, token_gap, neuron_gap)""")
        connection.execute("""CREATE TABLE neuron_token AS FROM (VALUES
                (1, 'top', 10, 9.0), (1, 'top', 11, 8.5), (1, 'top', 12, 4.0), (1, 'bottom', 12, -9.0),
                (2, 'top', 20, 5.0), (2, 'top', 21, 3.0), (3, 'bottom', 10, -4.0), (3, 'bottom', 11, -3.0)
            ) AS t(neuron_id, direction, token_id, congruence)""")
        assert sorted(connection.execute(FAMILY_PAIRS.sql).fetchall()) == [
            (1, "top", 5.0, 1),
            (2, "top", 2.0, 2),
            (3, "bottom", None, 1),
        ]


def test_a_family_is_all_spellings(both):
    atlas, connection = both
    vocabulary = rows(connection, 'SELECT token_id, "text", special FROM token')
    tokens = {token_id: (text, special) for token_id, text, special in vocabulary}
    counts = {t: tuple(n) for t, *n in rows(connection, "SELECT token_id, n_predicted, n_actual FROM token")}
    families = 0
    for token_id, (text, special) in tokens.items():
        letters = (text or "").strip().casefold()
        apart = special or not letters or "\ufffd" in text
        expected = [
            other
            for other, (spelt, other_special) in tokens.items()
            if not apart and not other_special and (spelt or "").strip().casefold() == letters
        ]
        found = read_family(atlas, token_id)
        assert [member.token.token_id for member in found] == (expected if len(expected) > 1 else [])
        assert [(m.n_predicted, m.n_actual) for m in found] == [counts[m.token.token_id] for m in found]
        assert has_family(atlas, token_id) == bool(found)
        families += bool(found)
    assert families > 10
    with pytest.raises(TokenError, match="no token 100000"):
        read_family(atlas, 100_000)


def test_curves_of_families(both):
    atlas, connection = both
    family = dict(rows(connection, "FROM token_family"))
    bars = defaultdict(list)
    for neuron_id, bin, n in rows(connection, "FROM activation_histogram ORDER BY neuron_id, bin"):
        bars[neuron_id].append((bin, n))
    cells = {tuple(row[:3]): tuple(row[3:]) for row in rows(connection, "FROM family_histogram")}
    own = {tuple(row[:3]): tuple(row[3:]) for row in rows(connection, "FROM prediction_histogram")}
    lower = dict(rows(connection, "SELECT bin, lower FROM histogram_bin"))
    upper = dict(rows(connection, "SELECT bin, upper FROM histogram_bin"))
    seen = Counter()
    for neuron_id, best, worst in rows(connection, "SELECT neuron_id, best_token_id, worst_token_id FROM neuron"):
        ends = [("top", best), ("bottom", worst)] if atlas.info.gated else [("top", best)]
        ends = [(direction, token) for direction, token in ends if token in family]
        found = family_curves(atlas, neuron_id)
        assert [(one.direction, one.token.token_id) for one in found] == ends
        for one in found:
            token, members = one.token.token_id, family[one.token.token_id]
            assert [m.token.token_id for m in one.members] == [t for t, name in family.items() if name == members]
            assert [(p.bin, p.n) for p in one.points] == bars[neuron_id]
            counted = [(p.n_predicted, p.n_actual) for p in one.points]
            assert counted == [cells.get((neuron_id, members, bin), (0, 0)) for bin, _ in bars[neuron_id]]
            alone = [(p.n_predicted, p.n_actual) for p in one.alone.points]
            assert alone == [own.get((neuron_id, token, bin), (0, 0)) for bin, _ in bars[neuron_id]]
            assert all(p <= q for (p, _), (q, _) in zip(alone, counted, strict=True))
            tail, n = [], 0
            for bin, positions in bars[neuron_id] if one.direction == "bottom" else reversed(bars[neuron_id]):
                tail.append(bin)
                n += positions
                if n >= 100:
                    break
            edge = upper[tail[-1]] if one.direction == "bottom" else lower[tail[-1]]
            assert (one.tail.n, one.tail.edge) == (n, edge)
            assert one.tail.n_token == sum(own.get((neuron_id, token, bin), (0, 0))[0] for bin in tail)
            assert one.tail.n_family == sum(cells.get((neuron_id, members, bin), (0, 0))[0] for bin in tail)
            seen[one.direction, one.tail.n_family > one.tail.n_token] += 1
    assert seen["top", True] + seen["bottom", True] > 0, "nowhere does a family add anything"


def test_kin_share_best_neurons(both):
    atlas, connection = both
    best = defaultdict(list)
    for token, neuron in rows(
        connection,
        "SELECT token_id, neuron_id FROM token_neuron WHERE direction = 'top' AND rank <= 5 ORDER BY token_id, rank",
    ):
        best[token].append(neuron)
    counts = Counter(neuron for ranked in best.values() for neuron in ranked)
    weight = {neuron: math.log(len(best) / n) for neuron, n in counts.items()}
    family = dict(rows(connection, "FROM token_family"))
    some = 0
    for token in (0, 5, 40, 77, len(best) - 1):
        expected = []
        for other in best:
            shared = [neuron for neuron in best[token] if neuron in best[other]]
            if other == token or len(shared) < 2:
                continue
            both_lists = {*best[token], *best[other]}
            likeness = sum(weight[n] for n in shared) / sum(weight[n] for n in both_lists)
            if likeness > 0:
                expected.append((-likeness, other, shared))
        expected.sort()
        found = kin(atlas, token, limit=12)
        assert [-item.likeness for item in found] == pytest.approx([value for value, _, _ in expected[:12]])
        by_token = {other: (value, shared) for value, other, shared in expected}
        for item in found:
            other = item.token.token_id
            assert [neuron.neuron_id for neuron in item.shared] == by_token[other][1]
            assert item.same_family == (family.get(other, -1) == family.get(token, -2))
        answered = atlas.query(KIN.shown(token_id=token, best=5, shared=2, limit=12)).rows
        assert [row[1] for row in answered] == pytest.approx([item.likeness for item in found])
        some += len(found)
    assert some > 5


def test_pages(optional_atlas: Path):
    from web import create_app

    app = create_app([optional_atlas])
    app.testing = True
    client = app.test_client()
    atlas = app.extensions["atlases"]["tiny-optional"]
    noisy = max(
        (one for n in range(atlas.info.n_neurons) for one in family_curves(atlas, n)),
        key=lambda one: one.tail.n_family - one.tail.n_token,
    )
    name = noisy.neuron.name
    text = client.get(f"/tiny-optional/{name}").text
    assert "Signs of gate and input" in text
    assert text.count('<td class="where"') == 4
    assert f'data-src="/tiny-optional/{name}/family"' in text
    assert f'data-src="/tiny-optional/{name}/reduced"' in text
    page = client.get(f"/tiny-optional/{name}/family")
    tail = noisy.tail
    assert show_share(tail.n_token / tail.n) in page.text
    assert show_share(tail.n_family / tail.n) in page.text
    share = (tail.n_family - tail.n_token) / (tail.n - tail.n_token)
    assert f"{show_share(share)} of the misses" in page.text
    data = client.get(f"/tiny-optional/{name}/family.json").json
    assert noisy.direction in [one["direction"] for one in data["families"]]
    chart = f"/tiny-optional/{name}/family.chart.csv?chart={noisy.direction}"
    assert "any spelling of it" in client.get(chart).text.splitlines()[0]
    token = client.get(f"/tiny-optional/token/{noisy.token.token_id}").text
    for member in noisy.members:
        assert f'href="/tiny-optional/token/{member.token.token_id}"' in token
    assert client.get(f"/tiny-optional/{name.lower()}/family").location == f"/tiny-optional/{name}/family"
    assert client.get("/tiny-optional/nothing/reduced").status_code == 404
    assert client.get("/tiny-optional/token/100000/reduced").status_code == 404
    atlas.close()


def test_the_client_answers_the_same_from_a_file(optional_atlas: Path):
    import atlas as package

    with package.open(optional_atlas) as demo, open_atlas(optional_atlas) as atlas:
        neuron, token = demo.neuron(60), demo.token(40)
        assert neuron.kind() == neuron_kind(atlas, 60)
        assert list(neuron.families()) == family_curves(atlas, 60)
        assert list(neuron.reduced(limit=7)) == reduced_tokens(atlas, 60)[:7]
        assert list(token.family()) == read_family(atlas, 40)
        assert list(token.kin(limit=4)) == kin(atlas, 40, 4)
        assert list(token.reduced()) == reduced_neurons(atlas, 40)
        assert list(demo.kinds()) == layer_kinds(atlas)
        assert {item.neuron_id for item in demo.neurons(kind="hub")} == {
            n for n in range(atlas.info.n_neurons) if neuron_kind(atlas, n).hub
        }
