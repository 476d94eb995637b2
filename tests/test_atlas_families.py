"""Families of tokens, kin and sign cases as they are read, against plain Python over the same file."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from pathlib import Path

import duckdb
import pytest

from atlas import open_atlas
from atlas.core.display import show_share
from atlas.core.errors import TokenError
from atlas.topics.family import KIN, family_curves, has_family, kin
from atlas.topics.family import family as read_family
from atlas.topics.kind import layer_kinds, neuron_kind
from atlas.topics.reduced import reduced_neurons, reduced_tokens
from atlas.topics.sign_case import SIGN_CASES, has_sign_cases, sign_cases
from tests.conftest import Built, build_tiny


@pytest.fixture(scope="module")
def signed_path(built_llama: Built, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The gated atlas with its sign cases."""
    options = {"context_length": built_llama.context_length, "overflow": built_llama.overflow, "sign_cases": True}
    folder = tmp_path_factory.mktemp("signed")
    return build_tiny(folder, built_llama.model, built_llama.dataset, "tiny-signed", **options)


@pytest.fixture
def signed(signed_path: Path):
    with open_atlas(signed_path) as atlas, duckdb.connect(str(signed_path), read_only=True) as connection:
        yield atlas, connection


def rows(connection, sql, *parameters):
    return connection.execute(sql, parameters).fetchall()


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


def test_sign_cases(signed):
    atlas, connection = signed
    assert has_sign_cases(atlas)
    texts = dict(rows(connection, 'SELECT text_id, token_ids FROM "text"'))
    names = dict(rows(connection, 'SELECT token_id, "text" FROM token'))
    seen = 0
    for neuron_id in (0, 60, atlas.info.n_neurons - 1):
        stored = rows(connection, "FROM sign_case WHERE neuron_id = ?", neuron_id)
        found = sign_cases(atlas, neuron_id)
        assert [(c.gate_positive, c.in_positive) for c in found] == sorted((row[1:3] for row in stored), reverse=True)
        assert sum(case.share for case in found) == pytest.approx(1)
        by_signs = {tuple(row[1:3]): row[3:] for row in stored}
        for case in found:
            expected = by_signs[case.gate_positive, case.in_positive]
            assert (case.n, case.activation_mean, case.activation_extreme, case.text_id, case.position) == expected
            text = texts[case.text_id]
            assert case.token.text == names[text[case.position]]
            following = text[case.position + 1 : case.position + 9]
            assert len(case.after) >= (1 if following else 0)
            assert (case.after == "") == (not following)
            seen += 1
        answered = atlas.query(SIGN_CASES.shown(neuron_id=neuron_id)).rows
        assert [row[2] for row in answered] == [case.n for case in found]
        assert [row[8] for row in answered] == [case.token.text for case in found]
    assert seen > 8


def test_no_sign_cases_were_counted(both):
    atlas, _ = both
    assert not has_sign_cases(atlas)
    assert sign_cases(atlas, 3) == []


def test_pages(signed_path: Path):
    from web import create_app

    app = create_app([signed_path])
    app.testing = True
    client = app.test_client()
    atlas = app.extensions["atlases"]["tiny-signed"]
    noisy = max(
        (one for n in range(atlas.info.n_neurons) for one in family_curves(atlas, n)),
        key=lambda one: one.tail.n_family - one.tail.n_token,
    )
    name = noisy.neuron.name
    text = client.get(f"/tiny-signed/{name}").text
    assert "Signs of gate and input" in text
    assert text.count('<td class="where"') == 4
    assert f'data-src="/tiny-signed/{name}/family"' in text
    assert f'data-src="/tiny-signed/{name}/reduced"' in text
    page = client.get(f"/tiny-signed/{name}/family")
    tail = noisy.tail
    assert show_share(tail.n_token / tail.n) in page.text
    assert show_share(tail.n_family / tail.n) in page.text
    share = (tail.n_family - tail.n_token) / (tail.n - tail.n_token)
    assert f"{show_share(share)} of the noise goes" in page.text
    data = client.get(f"/tiny-signed/{name}/family.json").json
    assert noisy.direction in [one["direction"] for one in data["families"]]
    chart = f"/tiny-signed/{name}/family.chart.csv?chart={noisy.direction}"
    assert "any spelling of it" in client.get(chart).text.splitlines()[0]
    token = client.get(f"/tiny-signed/token/{noisy.token.token_id}").text
    for member in noisy.members:
        assert f'href="/tiny-signed/token/{member.token.token_id}"' in token
    assert client.get(f"/tiny-signed/{name.lower()}/family").location == f"/tiny-signed/{name}/family"
    assert client.get("/tiny-signed/nothing/reduced").status_code == 404
    assert client.get("/tiny-signed/token/100000/reduced").status_code == 404
    atlas.close()


def test_the_client_answers_the_same_from_a_file(signed_path: Path):
    import atlas as package

    with package.open(signed_path) as demo, open_atlas(signed_path) as atlas:
        neuron, token = demo.neuron(60), demo.token(40)
        assert neuron.kind() == neuron_kind(atlas, 60)
        assert list(neuron.families()) == family_curves(atlas, 60)
        assert list(neuron.reduced(limit=7)) == reduced_tokens(atlas, 60)[:7]
        assert list(neuron.sign_cases()) == sign_cases(atlas, 60)
        assert list(token.family()) == read_family(atlas, 40)
        assert list(token.kin(limit=4)) == kin(atlas, 40, 4)
        assert list(token.reduced()) == reduced_neurons(atlas, 40)
        assert list(demo.kinds()) == layer_kinds(atlas)
        assert {item.neuron_id for item in demo.neurons(kind="hub")} == {
            n for n in range(atlas.info.n_neurons) if neuron_kind(atlas, n).hub
        }
