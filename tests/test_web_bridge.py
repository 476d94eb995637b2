"""Several atlases at once: what pages, the API and the client say is what plain queries on each file say."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from urllib.parse import quote

import duckdb
import pytest

import atlas
from atlas.topics.example_queries import across
from tests.html_reader import Reader
from tests.test_web_panels import Panels
from tests.test_web_swap import NEW, another_build
from web import create_app
from web.server.generation import Generation
from web.workers.sql.console import ConsoleOptions
from web.workers.sql.hard_links import HardLinks

SLUGS = ("tiny-llama", "tiny-gpt2")
BOTH = "/bridge/compare?n=tiny-llama%3AL1N2&n=tiny-gpt2%3AL0N3"


@pytest.fixture(scope="module")
def files(tiny_llama_atlas, tiny_gpt2_atlas):
    """The atlases' files, by slug."""
    return dict(zip(SLUGS, (tiny_llama_atlas, tiny_gpt2_atlas), strict=True))


@pytest.fixture(scope="module")
def plain(files):
    """A plain connection to each file."""
    opened = {slug: duckdb.connect(str(path), read_only=True) for slug, path in files.items()}
    yield opened
    for connection in opened.values():
        connection.close()


@pytest.fixture(scope="module")
def texts(plain):
    """Texts that are one token of both, some of them exclusive in one."""
    of = [
        {text for (text,) in c.execute('SELECT "text" FROM token GROUP BY "text" HAVING count(*) = 1').fetchall()}
        for c in plain.values()
    ]
    shared = sorted(text for text in of[0] & of[1] if text and "�" not in text)
    exclusive = "SELECT t.\"text\" FROM exclusive_pair JOIN token AS t USING (token_id) WHERE direction = 'top'"
    paired = {text for c in plain.values() for (text,) in c.execute(exclusive).fetchall()}
    return [text for text in shared if text in paired][:6] + [text for text in shared if text.startswith(" ")][:6]


def row_of(connection, text):
    """id, counts, best neuron, congruence, gap of a token."""
    return connection.execute(
        "SELECT t.token_id, t.n_input, t.n_actual, t.n_predicted, n.name, t.best_congruence, t.neuron_gap, n.neuron_id "
        'FROM token AS t JOIN neuron AS n ON n.neuron_id = t.best_neuron_id WHERE "text" = ?',
        [text],
    ).fetchone()


def check(found, connection, text):
    """What is said of a text in one atlas is what its tables hold."""
    token_id, n_input, n_actual, n_predicted, best, congruence, gap, neuron_id = row_of(connection, text)
    row = found["row"]
    assert (row["token"]["token_id"], row["n_input"], row["n_actual"]) == (token_id, n_input, n_actual)
    assert (row["n_predicted"], row["best_neuron"]["name"]) == (n_predicted, best)
    assert (row["best_congruence"], row["neuron_gap"]) == (congruence, gap)
    ranked = connection.execute(
        "SELECT n.name, l.congruence FROM token_neuron AS l JOIN neuron AS n USING (neuron_id) "
        "WHERE token_id = ? AND direction = 'top' ORDER BY rank",
        [token_id],
    ).fetchall()
    assert [(item["neuron"]["name"], item["congruence"]) for item in found["best_neurons"]] == ranked
    pairs = connection.execute(
        "SELECT direction, score FROM exclusive_pair WHERE token_id = ? ORDER BY direction DESC", [token_id]
    ).fetchall()
    assert [(pair["direction"], pair["score"]) for pair in found["pairs"]] == pairs
    bins = dict(
        connection.execute("SELECT bin, n FROM activation_histogram WHERE neuron_id = ?", [neuron_id]).fetchall()
    )
    cells = {
        bin: (predicted, actual)
        for bin, predicted, actual in connection.execute(
            "SELECT bin, n_predicted, n_actual FROM prediction_histogram WHERE neuron_id = ? AND token_id = ?",
            [neuron_id, token_id],
        ).fetchall()
    }
    expected = [(bins[bin], *cells.get(bin, (0, 0))) for bin in sorted(bins)]
    points = found["curve"]["points"]
    assert [(point["n"], point["n_predicted"], point["n_actual"]) for point in points] == expected
    sides = connection.execute(
        "SELECT side, auroc_predicted FROM pair_metric WHERE neuron_id = ? AND token_id = ? ORDER BY side DESC",
        [neuron_id, token_id],
    ).fetchall()
    assert [(metric["side"], metric["auroc_predicted"]) for metric in found["metrics"]] == sides


def test_a_token_in_every_atlas_is_what_each_file_holds(client, plain, texts):
    assert len(texts) > 8
    for text in texts:
        page = client.get(f"/bridge/token.json?text={quote(text)}").json
        answer = client.get(f"/api/v1/bridge/token?text={quote(text)}").json
        assert answer == {"data": page["found"], "next": None}
        assert [found["slug"] for found in page["found"]] == list(SLUGS)
        for found in page["found"]:
            check(found, plain[found["slug"]], text)


def test_the_page_sets_them_side_by_side(client, plain, texts):
    text = texts[0]
    page = client.get(f"/bridge/token?text={quote(text)}")
    assert page.status_code == 200
    for slug, connection in plain.items():
        token_id, *_, best, _, _, _ = row_of(connection, text)
        assert f'href="/{slug}/token/{token_id}"' in page.text
        assert f'href="/{slug}/{best}"' in page.text
    assert Reader(page.text).inline == []
    named = [f"{slug}:{row_of(connection, text)[4]}" for slug, connection in plain.items()]
    compare = f"/bridge/compare?n={quote(named[0], safe='')}&n={quote(named[1], safe='')}&text={quote(text, safe='')}"
    assert compare.replace("&", "&amp;") in page.text
    assert client.get(compare).status_code == 200
    assert client.get(f"/bridge/token.chart.csv?text={quote(text)}&chart=predicted").text.count("tiny-") >= 2
    card = client.get(f"/bridge/token.card.png?text={quote(text)}")
    assert card.data.startswith(b"\x89PNG")


def test_a_text_that_is_no_token_says_so_and_offers_its_spellings(client, plain):
    letters = {
        slug: {
            text.strip().casefold(): text
            for (text,) in c.execute('SELECT "text" FROM token WHERE "text" IS NOT NULL').fetchall()
        }
        for slug, c in plain.items()
    }
    known = next(word for word in sorted(letters["tiny-llama"]) if len(word) == 2 and word.isalpha())
    asked = f"  {known.upper()} "
    found = client.get(f"/bridge/token.json?text={quote(asked)}").json["found"]
    assert [item["row"] for item in found] == [None, None]
    for item in found:
        rows = plain[item["slug"]].execute('SELECT "text" FROM token WHERE "text" IS NOT NULL').fetchall()
        expected = {text for (text,) in rows if text.strip().casefold() == known}
        assert {token["text"] for token in item["nearest"]} == expected
    page = client.get(f"/bridge/token?text={quote(asked)}").text
    assert "has no token that is exactly" in page
    assert f"/bridge/token?text={quote(letters['tiny-llama'][known])}" in page
    assert "None is spelt like it either" in client.get("/bridge/token?text=zebras%20all").text


def test_only_some_have_it(twice, plain):
    # The second file is the first one with one token spelt otherwise.
    (text,) = plain["tiny-llama"].execute('SELECT "text" FROM token WHERE token_id = 41').fetchone()
    client = twice.test_client()
    found = client.get(f"/bridge/token.json?text={quote(text)}").json["found"]
    assert [item["row"] is None for item in found] == [False, True]
    assert client.get(f"/bridge/token?text={quote(text)}").text.count("has no token that is exactly") == 1
    check(found[0], plain["tiny-llama"], text)


def test_as_shown_is_as_meant(client, texts):
    text = next(text for text in texts if text.startswith(" "))
    assert (
        client.get(f"/bridge/token.json?text=␣{quote(text[1:])}").json["found"]
        == client.get(f"/bridge/token.json?text={quote(text)}").json["found"]
    )
    assert "By its exact text" in client.get("/bridge/token").text
    assert client.get("/api/v1/bridge/token").status_code == 400


def test_what_they_share(client, plain):
    page = client.get("/bridge.json").json
    every = 'SELECT "text" FROM token WHERE "text" IS NOT NULL'
    of = [{text for (text,) in connection.execute(every).fetchall()} for connection in plain.values()]
    assert page["pairs"] == [
        {
            "first": "tiny-llama",
            "second": "tiny-gpt2",
            "same_model": False,
            "same_dataset": False,
            "same_build": False,
            "tokens": len(of[0] & of[1]),
        }
    ]
    builds = {slug: c.execute("SELECT build_id FROM atlas").fetchone()[0] for slug, c in plain.items()}
    assert {item["info"]["slug"]: item["info"]["build_id"] for item in page["atlases"]} == builds
    text = client.get("/bridge").text
    assert all(f'href="/{slug}"' in text for slug in SLUGS)
    assert 'href="/bridge"' in client.get("/").text
    assert 'href="/bridge/token?text=' in client.get("/tiny-llama/token/40").text


def test_one_atlas_has_nothing_to_be_set_beside(tiny_llama_atlas, texts):
    app = create_app([tiny_llama_atlas])
    alone = app.test_client()
    assert "One atlas is served here" in alone.get("/bridge").text
    page = alone.get(f"/bridge/token?text={quote(texts[0])}")
    assert page.status_code == 200
    assert "One atlas is served here, so there is nothing to set beside it." in page.text
    assert "/bridge" not in alone.get("/").text
    assert "/bridge" not in alone.get("/tiny-llama/token/40").text
    assert alone.get("/bridge/compare?n=tiny-llama:L1N2").location == "/tiny-llama/compare?n=L1N2"
    app.extensions["atlases"]["tiny-llama"].close()


def test_no_atlas_at_all():
    client = create_app([]).test_client()
    assert "No atlas is served here" in client.get("/bridge").text
    assert client.get("/bridge/token?text=a").status_code == 200
    assert client.get("/bridge/compare").status_code == 200


@pytest.mark.parametrize(
    ("asked", "to"),
    [
        ("/tiny-llama/compare?n=L1N2&n=tiny-gpt2:L0N3", BOTH),
        ("/tiny-llama/compare?n=1.2&n=tiny-gpt2:0:3", BOTH),
        ("/bridge/compare?n=tiny-llama:1.2&n=tiny-gpt2:l0n3&n=", BOTH),
        ("/bridge/compare?n=tiny-llama:L1N2&in=tiny-gpt2&n=L0N3", BOTH),
        ("/bridge/compare?n=tiny-llama:L1N2&n=tiny-llama:L0N3", "/tiny-llama/compare?n=L1N2&n=L0N3"),
        ("/tiny-llama/compare?n=L1N2&n=tiny-llama:L0N3", "/tiny-llama/compare?n=L1N2&n=L0N3"),
        ("/tiny-llama/compare.json?n=L1N2&n=tiny-gpt2:L0N3", BOTH.replace("compare?", "compare.json?")),
    ],
)
def test_a_comparison_has_one_address(client, asked, to):
    answer = client.get(asked)
    assert answer.status_code in (301, 302)
    while answer.location:  # to the page of several atlases, say, and there to the canonical spelling
        address, answer = answer.location, client.get(answer.location)
    assert (address, answer.status_code) == (to, 200)


def test_a_token_of_a_comparison_goes_on_by_its_text(client, plain):
    (text,) = plain["tiny-llama"].execute('SELECT "text" FROM token WHERE token_id = 40').fetchone()
    answer = client.get("/tiny-llama/compare?n=L1N2&n=tiny-gpt2:L0N3&token=40")
    assert answer.location == f"{BOTH}&text={quote(text)}"


def test_pins(client, plain):
    build = {slug: c.execute("SELECT build_id FROM atlas").fetchone()[0] for slug, c in plain.items()}
    pinned = f"/bridge/compare?n=tiny-llama%40{build['tiny-llama']}%3AL1N2&n=tiny-gpt2%40{build['tiny-gpt2']}%3AL0N3"
    page = client.get(pinned)
    assert page.status_code == 200
    assert f'href="/tiny-gpt2@{build["tiny-gpt2"]}/L0N3"' in page.text
    from_page = client.get(f"/tiny-llama@{build['tiny-llama']}/compare?n=L1N2&n=tiny-gpt2@{build['tiny-gpt2']}:L0N3")
    assert from_page.location == pinned
    gone = client.get("/bridge/compare?n=tiny-llama@000000000000:L1N2&n=tiny-gpt2:L0N3")
    assert gone.status_code == 404
    assert "is not served here; build" in gone.text
    assert BOTH.replace("&", "&amp;") in gone.text


@pytest.mark.parametrize(
    ("url", "status", "said"),
    [
        ("/bridge/compare?n=nowhere:L1N2", 404, "no atlas &#39;nowhere&#39; here; there is tiny-llama, tiny-gpt2."),
        ("/tiny-llama/compare?n=L1N2&n=nowhere:L1N2", 404, "there is tiny-llama, tiny-gpt2."),
        ("/bridge/compare?n=L1N2", 400, "names no atlas; expected one before it, as in tiny-llama:L0N0."),
        ("/bridge/compare?n=tiny-gpt2:L9N9", 404, "There is no layer 9: this model has layers 0 to 1."),
        ("/bridge/compare?" + "&".join(f"n=tiny-gpt2:L0N{n}" for n in range(9)), 400, "9 neurons to compare; expected"),
        (f"{BOTH}&text=zebra", 400, "was counted with none of tiny-llama L1N2, tiny-gpt2 L0N3"),
    ],
)
def test_what_cannot_be_compared_says_what_can(client, url, status, said):
    answer = client.get(url, follow_redirects=True)
    assert answer.status_code == status
    assert said in answer.text


def test_a_comparison_is_what_each_file_holds(client, plain):
    page = client.get(BOTH.replace("compare?", "compare.json?")).json
    names = [("tiny-llama", "L1N2"), ("tiny-gpt2", "L0N3")]
    lists, counted = [], []
    for (slug, name), item in zip(names, page["neurons"], strict=True):
        connection = plain[slug]
        neuron = connection.execute("SELECT best_congruence, activation_max FROM neuron WHERE name = ?", [name])
        assert (item["neuron"]["best_congruence"], item["neuron"]["activation_max"]) == neuron.fetchone()
        of = "FROM {} JOIN token AS t USING (token_id) JOIN neuron AS n USING (neuron_id) WHERE n.name = ?"
        rows = connection.execute(f'SELECT t."text", congruence {of.format("neuron_token")}', [name]).fetchall()
        best: dict[str, float] = {}
        for text, congruence in rows:
            best[text] = max(congruence, best.get(text, -float("inf")))
        lists.append(best)
        pairs = connection.execute(f'SELECT t."text" {of.format("candidate_pair")}', [name]).fetchall()
        counted.append({text for (text,) in pairs})
    shared = {text for text in lists[0].keys() & lists[1].keys() if text and "�" not in text}
    assert {item["text"]: tuple(item["congruences"]) for item in page["tokens"]} == {
        text: (lists[0][text], lists[1][text]) for text in shared
    }
    assert page["text"] in counted[0] | counted[1]
    assert page["rows"] == []
    said = " ".join(page["left_out"])
    assert "Cosines of weights" in said
    assert "widths 24 and 32" in said
    assert "Texts of different data sets" in said
    text = client.get(BOTH).text
    assert "Cosine of output weights" not in text
    assert "Texts in common" not in text
    assert all(f'href="/{slug}/{name}"' in text for slug, name in names)


def curve_of(connection, neuron_id, text):
    """The counts of a neuron's bins, with those of a token by its text, or None if the two were not counted."""
    tokens = connection.execute(
        'SELECT token_id FROM candidate_pair JOIN token USING (token_id) WHERE neuron_id = ? AND "text" = ?',
        [neuron_id, text],
    ).fetchall()
    if not tokens:
        return None
    return connection.execute(
        "SELECT h.n, coalesce(p.n_predicted, 0), coalesce(p.n_actual, 0) FROM activation_histogram AS h "
        "LEFT JOIN prediction_histogram AS p ON p.neuron_id = h.neuron_id AND p.bin = h.bin AND p.token_id = ? "
        "WHERE h.neuron_id = ? ORDER BY h.bin",
        [*tokens[0], neuron_id],
    ).fetchall()


def shared_pairs(plain, *, same_id):
    """A neuron of each atlas and a text with which both were counted, of one id or of two."""
    counted = [
        connection.execute(
            'SELECT "text", neuron_id FROM candidate_pair JOIN token USING (token_id) WHERE "text" IN '
            '(SELECT "text" FROM token GROUP BY ALL HAVING count(*) = 1) AND "text" <> \'\' ORDER BY ALL'
        ).fetchall()
        for connection in plain.values()
    ]
    of = [{text: [neuron for word, neuron in found if word == text] for text, _ in found} for found in counted]
    for text in sorted(of[0].keys() & of[1].keys()):
        for one in of[0][text]:
            for other in of[1][text]:
                if (one == other) == same_id and "�" not in text:
                    yield text, one, other


@pytest.mark.parametrize("same_id", [True, False])
def test_a_text_counted_with_both_has_both_curves(client, plain, same_id):
    """Neurons of one id stay apart, and each has its own atlas's counts."""
    text, *ids = next(shared_pairs(plain, same_id=same_id))
    names = {
        slug: connection.execute("SELECT name FROM neuron WHERE neuron_id = ?", [neuron]).fetchone()[0]
        for (slug, connection), neuron in zip(plain.items(), ids, strict=True)
    }
    asked = "&".join(f"n={slug}%3A{name}" for slug, name in names.items())
    page = client.get(f"/bridge/compare.json?{asked}&text={quote(text)}").json
    assert page["text"] == text
    labels = [curve["candidate"]["neuron"]["name"] for curve in page["curves"]]
    assert len(set(labels)) == 2
    for label, curve, (slug, name), neuron in zip(labels, page["curves"], names.items(), ids, strict=True):
        assert label.startswith(slug)
        assert name in label
        points = [(point["n"], point["n_predicted"], point["n_actual"]) for point in curve["points"]]
        assert points == curve_of(plain[slug], neuron, text)
    # Without a text, one that both were counted with comes before any other.
    chosen = client.get(f"/bridge/compare.json?{asked}").json
    assert len(chosen["curves"]) == 2
    for curve, (slug, connection), neuron in zip(chosen["curves"], plain.items(), ids, strict=True):
        points = [(point["n"], point["n_predicted"], point["n_actual"]) for point in curve["points"]]
        assert points == curve_of(connection, neuron, chosen["text"]), slug


@pytest.fixture(scope="module")
def twice(tiny_llama_atlas, tmp_path_factory):
    """The same atlas twice, under another slug: the same model, the same data set, all tokens but one."""
    copy = tmp_path_factory.mktemp("twice") / "again.duckdb"
    shutil.copy(tiny_llama_atlas, copy)
    copy.chmod(0o644)
    with duckdb.connect(str(copy)) as connection:
        connection.execute("UPDATE atlas SET slug = 'again', build_id = '0123456789ab'")
        connection.execute("UPDATE token SET \"text\" = 'spelt otherwise' WHERE token_id = 41")
    app = create_app([tiny_llama_atlas, copy])
    yield app
    for one in app.extensions["atlases"].values():
        one.close()


def test_of_one_data_set_texts_are_shared(twice, plain):
    page = twice.test_client().get("/bridge/compare.json?n=tiny-llama%3AL1N7&n=again%3AL1N7").json
    rows = plain["tiny-llama"].execute(
        'SELECT DISTINCT source_row FROM example JOIN "text" USING (text_id) JOIN neuron USING (neuron_id) '
        "WHERE name = 'L1N7' ORDER BY source_row LIMIT 20"
    )
    assert [item["source_row"] for item in page["rows"]] == [row for (row,) in rows.fetchall()]
    for item in page["rows"]:
        one, other = item["examples"]
        assert (one["text_id"], one["position"], one["activation"]) == (
            other["text_id"],
            other["position"],
            other["activation"],
        )
    said = " ".join(page["left_out"])
    assert "the atlases are of the same model" in said
    assert "data sets" not in said
    pair = twice.test_client().get("/bridge.json").json["pairs"][0]
    assert (pair["same_model"], pair["same_dataset"], pair["same_build"]) == (True, True, False)


def test_its_sql_answers_what_the_pages_show(client, files, texts):
    with duckdb.connect() as both:
        for slug, path in files.items():
            both.execute(f"ATTACH '{path}' AS \"{slug}\" (READ_ONLY)")
        for text in texts[:3]:
            page = client.get(f"/bridge/token.json?text={quote(text)}").json
            rows = {name: both.execute(sql).fetchall() for name, sql in page["panels"].items()}
            assert {row[0]: row[2:8] for row in rows["numbers"]} == {
                one["slug"]: (
                    *(one["row"][name] for name in ("n_input", "n_actual", "n_predicted")),
                    one["row"]["best_neuron"]["name"],
                    *(one["row"][name] for name in ("best_congruence", "neuron_gap")),
                )
                for one in page["found"]
            }
            assert sorted(rows["neurons"]) == sorted(
                (one["slug"], item["rank"], item["neuron"]["name"], item["congruence"])
                for one in page["found"]
                for item in one["best_neurons"]
            )
            assert sorted((row[0], *row[4:7]) for row in rows["curves"]) == sorted(
                (one["slug"], point["n"], point["n_predicted"], point["n_actual"])
                for one in page["found"]
                for point in (one["curve"] or {"points": []})["points"]
            )
            assert sorted(row[:2] for row in rows["metrics"]) == sorted(
                (one["slug"], metric["neuron"]["name"]) for one in page["found"] for metric in one["metrics"]
            )
        page = client.get(BOTH.replace("compare?", "compare.json?")).json
        rows = {name: both.execute(sql).fetchall() for name, sql in page["panels"].items()}
        assert [row[:2] for row in rows["numbers"]] == [
            (one["ref"]["slug"], one["neuron"]["name"]) for one in page["neurons"]
        ]
        assert [row[2] for row in rows["numbers"]] == [one["neuron"]["best_congruence"] for one in page["neurons"]]
        listed = {row[2] for row in rows["tokens"]}
        assert all(item["text"] in listed for item in page["tokens"])
        assert sorted(row[4] for row in rows["curves"]) == sorted(
            point["n"] for curve in page["curves"] for point in curve["points"]
        )


@pytest.mark.parametrize("url", ["/bridge/token?text={}", BOTH])
def test_its_sql_runs_in_the_console_and_over_the_files(client, plain, files, texts, url):
    url = url.format(quote(texts[0]))
    statements = Panels(client.get(url).text).sql
    assert len(statements) >= 3
    with duckdb.connect() as both:
        for slug, path in files.items():
            both.execute(f"ATTACH '{path}' AS \"{slug}\" (READ_ONLY)")
        for sql in statements:
            expected = both.execute(sql).fetchall()
            answer = client.get(f"/tiny-gpt2/sql.json?sql={quote(sql)}")
            if answer.status_code == 503:
                pytest.skip(answer.json["error"]["message"])
            assert answer.status_code == 200, answer.text
            assert len(answer.json["rows"]) == len(expected) > 0
            assert {row[0] for row in answer.json["rows"]} <= set(SLUGS)


def test_the_console_says_which_others_there_are(client, plain):
    page = client.get("/tiny-llama/sql").text
    assert "&#34;tiny-gpt2&#34;.neuron" in page or '"tiny-gpt2".neuron' in page
    link = Reader(page)
    assert "best neurons here and in tiny-gpt2" in page
    assert link.inline == []
    answer = client.get(f"/tiny-llama/sql.json?sql={quote(across('tiny-gpt2').sql)}")
    if answer.status_code == 503:
        pytest.skip(answer.json["error"]["message"])
    assert answer.json["rows"]
    for text, here, *_, there, _, _ in answer.json["rows"]:
        assert (row_of(plain["tiny-llama"], text)[4], row_of(plain["tiny-gpt2"], text)[4]) == (here, there)


@pytest.mark.parametrize(
    "text", ["\0", "'", '"', "<script>alert(1)</script>", "\U0001f600", "{{ 7 * 7 }}", "\u202e", "a" * 5000]
)
def test_no_text_breaks_the_page(client, text):
    page = client.get(f"/bridge/token?text={quote(text)}")
    assert page.status_code == 200
    assert "<script>alert" not in page.text
    assert Reader(page.text).inline == []
    assert client.get(f"/bridge/token.json?text={quote(text)}").status_code == 200


def test_the_client_over_files_and_over_a_site(site, files, texts, plain):
    text = texts[0]
    of_files = atlas.bridge(list(files.values()), text)
    mixed = atlas.bridge([atlas.open(files["tiny-llama"]), f"{site}/tiny-gpt2"], text)
    assert list(of_files) == list(mixed)
    for found in of_files:
        token_id, *_, best, _, _, _ = row_of(plain[found.slug], text)
        assert (found.row.token.token_id, found.row.best_neuron.name) == (token_id, best)
    assert atlas.bridge([files["tiny-gpt2"]], "no such token")[0].row is None


def test_a_new_generation_attaches_the_new_builds(files, tmp_path):
    one, other = (Path(shutil.copy(files[slug], tmp_path / f"{slug}.duckdb")) for slug in SLUGS)
    asked = 'SELECT a.build_id, b.build_id FROM atlas AS a, "tiny-gpt2".atlas AS b'
    room = HardLinks()
    first = Generation([one, other], room)
    reason = first.start_sql(SLUGS, ConsoleOptions())
    if reason is not None:
        first.release(wait=True)
        pytest.skip(reason)
    before = first.console.ask("tiny-llama", asked).rows[0]
    changed = another_build(files["tiny-gpt2"], tmp_path, slug="tiny-gpt2")
    os.replace(changed, other)
    second = Generation([one, other], room, 2)
    second.start_sql(SLUGS, ConsoleOptions())
    assert second.console.ask("tiny-llama", asked).rows == [[before[0], NEW]]
    assert first.console.ask("tiny-llama", asked).rows == [before]
    first.release(wait=True)
    second.release(wait=True)
    room.close()
