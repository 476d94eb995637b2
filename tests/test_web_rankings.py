"""Pairs, exclusive tokens, hubs and the glossary as pages: filters in the URL, CSV, what is drawn."""

from __future__ import annotations

import csv
import io
import json
import re
from dataclasses import replace

import duckdb
import pytest

from atlas.api.calls import TERMS
from tests.html_reader import Reader
from web import create_app
from web.views import exclusive
from web.views.ranking import Column
from web.views.ranking_page import ranking_page


def table(client, url):
    response = client.get(url)
    assert response.status_code == 200
    assert response.mimetype == "text/csv"
    assert "attachment" in response.headers["Content-Disposition"]
    return list(csv.DictReader(io.StringIO(response.get_data(as_text=True), newline="")))


def test_filters_of_pairs(client):
    every = client.get("/tiny-llama/pairs.json?all=1").json
    assert every["parameters"] == {"all": 1}
    some = client.get("/tiny-llama/pairs.json?all=1&layer_min=1&layer_max=1&min_score=0.02&sort=score&order=asc").json
    kept = [p for p in every["pairs"]["rows"] if p["neuron"]["layer"] == 1 and p["score"] >= 0.02]
    assert some["pairs"]["rows"] == sorted(kept, key=lambda p: (p["score"], p["rank"]))
    assert some["pairs"]["total"] == len(kept)
    assert some["url"] == ("/tiny-llama/pairs?all=1&layer_min=1&layer_max=1&min_score=0.02&sort=score&order=asc&page=1")
    token = client.get("/tiny-llama/pairs.json?all=1&token=A&min_predicted=1").json["pairs"]["rows"]
    assert token == [
        p for p in every["pairs"]["rows"] if "a" in (p["token"]["text"] or "").lower() and p["n_predicted"]
    ]


def test_pages_of_a_ranking_have_every_row_once(client, tiny_llama_atlas):
    """A hundred to a page; what follows the last is empty."""
    with duckdb.connect(str(tiny_llama_atlas), read_only=True) as connection:
        expected = connection.execute(
            "SELECT token_id FROM token ORDER BY neuron_gap DESC NULLS LAST, token_id"
        ).fetchall()
    pages = [client.get(f"/tiny-llama/exclusive.json?all=1&page={page}").json["tokens"] for page in range(1, 6)]
    found = [[row["token"]["token_id"] for row in page["rows"]] for page in pages]
    n = len(expected)
    assert 300 < n < 400
    assert [len(page) for page in found] == [100, 100, 100, n - 300, 0]
    assert [(token_id,) for page in found for token_id in page] == expected
    assert {page["total"] for page in pages} == {n}
    assert [page["offset"] for page in pages] == [0, 100, 200, 300, 400]


def test_an_empty_form_says_nothing(client):
    empty = "layer_min=&layer_max=&token=&min_predicted=&min_score=&sort=&order="
    assert client.get(f"/tiny-llama/pairs.json?{empty}").text == client.get("/tiny-llama/pairs.json").text
    empty = empty.replace("score", "gap")
    assert client.get(f"/tiny-gpt2/exclusive.json?{empty}").text == client.get("/tiny-gpt2/exclusive.json").text


def test_the_form_keeps_what_is_selected(client):
    page = client.get("/tiny-llama/pairs?direction=bottom&all=1&token=%22%3E%3Cb%3E&sort=score").text
    assert '<input type="hidden" name="direction" value="bottom">' in page
    assert '<input type="hidden" name="sort" value="score">' in page
    assert 'name="token" value="&#34;&gt;&lt;b&gt;"' in page
    Reader(page)
    for link in Reader(client.get("/tiny-llama/pairs?all=1&layer_min=1").text).links:
        if link.startswith("/tiny-llama/pairs?") and "sort=" in link:
            assert "layer_min=1" in link
            assert "page=" not in link


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("layer_min=3", "layer_min=&#39;3&#39; is invalid: expected a layer, 0 to 2."),
        ("layer_max=x", "layer_max=&#39;x&#39; is invalid: expected a layer, 0 to 2."),
        ("layer_min=2&layer_max=1", "layer_min=2 is above layer_max=1: expected it not to be."),
        ("min_predicted=-1", "min_predicted=&#39;-1&#39; is invalid: expected a whole number from 0."),
        ("min_score=nan", "min_score=&#39;nan&#39; is invalid: expected a number."),
        ("min_score=1e999", "min_score=&#39;1e999&#39; is invalid: expected a number."),
        ("sort=name", "sort=&#39;name&#39; is invalid: expected one of rank, score,"),
        ("order=up", "order=&#39;up&#39; is invalid: expected one of desc, asc."),
        ("all=2", "all=&#39;2&#39; is invalid: expected one of 0, 1."),
        ("page=0", "page=&#39;0&#39; is invalid: expected a whole number from 1."),
        ("direction=up", "direction=&#39;up&#39; is invalid: expected one of top, bottom."),
    ],
)
def test_bad_parameters(client, query, message):
    for path in ("/tiny-llama/pairs", "/tiny-llama/pairs.csv"):
        response = client.get(f"{path}?{query}")
        assert response.status_code == 400
        assert message in response.text


def test_csv_of_pairs_is_the_whole_selection(client):
    query = "all=1&layer_min=1&sort=congruence"
    lines = table(client, f"/tiny-llama/pairs.csv?{query}&page=7")
    listing = client.get(f"/tiny-llama/pairs.json?{query}").json["pairs"]
    assert listing["total"] == len(lines) > 3
    for line, pair in zip(lines, listing["rows"], strict=True):
        assert (line["neuron"], int(line["rank"])) == (pair["neuron"]["name"], pair["rank"])
        assert line["token"] == (pair["token"]["text"] or "")
        assert float(line["score"]) == pair["score"]
        assert float(line["congruence"]) == pair["congruence"]
    assert table(client, "/tiny-llama/pairs.csv?token=nowhere") == []


def test_csv_of_tokens_is_the_whole_selection(client, monkeypatch):
    monkeypatch.setattr("web.views.exclusive.RANKING.chunk", 7)
    lines = table(client, "/tiny-gpt2/exclusive.csv?all=1&min_gap=0.05&sort=n_predicted&order=asc")
    listing = client.get("/tiny-gpt2/exclusive.json?all=1&min_gap=0.05&sort=n_predicted&order=asc").json["tokens"]
    assert len(lines) == listing["total"] > 100
    for line, row in zip(lines, listing["rows"], strict=False):
        assert (int(line["token_id"]), line["neuron"]) == (row["token"]["token_id"], row["neuron"]["name"])
        assert line["second_neuron"] == row["second_neuron"]["name"]
        assert float(line["neuron_gap"]) == row["neuron_gap"]


def test_a_ranking_is_its_declaration(tiny_gpt2_atlas):
    best = replace(exclusive.RANKING, name="best", rows="best", counted="best tokens", columns=lambda *_: COLUMNS)
    app = create_app([tiny_gpt2_atlas])
    app.register_blueprint(ranking_page(best))
    client = app.test_client()
    page = client.get("/tiny-gpt2/best?all=1&page=2").text
    data = client.get("/tiny-gpt2/best.json?all=1&page=2").json
    assert data["url"] == "/tiny-gpt2/best?all=1&page=2"
    assert f"<h2>{data['best']['total']} best tokens" in page
    assert re.findall(r"<th [^>]*>(?:<a[^>]*>)?([a-z ]+)", page) == ["place", "token", "lead"]
    assert page.count("<tr>") == 1 + len(data["best"]["rows"]) == 101
    assert 'title="Lead over all others"' in page
    assert 'href="/tiny-gpt2/best.csv?all=1"' in page
    assert "sort=neuron_gap&amp;order=asc" in page
    assert [row["token_id"] for row in table(client, "/tiny-gpt2/best.csv?all=1")][100:200] == [
        str(row["token"]["token_id"]) for row in data["best"]["rows"]
    ]


COLUMNS = (
    Column("place", "place", "place"),
    Column("token", "token", "token"),
    Column("neuron_gap", "lead", title="Lead over all others"),
)


def test_five_curves_on_one_chart(client):
    page = client.get("/tiny-llama/pairs?all=1")
    data = client.get("/tiny-llama/pairs.json?all=1").json
    first = [(p["neuron"]["name"], p["token"]["token_id"]) for p in data["pairs"]["rows"][:5]]
    pairs = [(c["candidate"]["neuron"]["name"], c["candidate"]["token"]["token_id"]) for c in data["curves"]]
    assert pairs == first
    assert 'id="pairs"' in page.text
    assert page.text.index("<tbody>") < page.text.index("Does firing predict the token?")
    second = client.get("/tiny-llama/pairs.json?all=1&page=2").json
    assert second["curves"] == data["curves"]
    none = client.get("/tiny-llama/pairs?token=nowhere")
    assert none.status_code == 200
    assert "data-chart" not in none.text


def assert_same_decimals(page):
    """The shares of each column of each table have the same decimals."""
    for table in re.findall(r"<table.*?</table>", page, re.DOTALL):
        rows = [
            re.findall(r'<td class="n">.*?</td>', row, re.DOTALL)
            for row in re.findall(r"<tr>.*?</tr>", table, re.DOTALL)
        ]
        for column in zip(*filter(None, rows), strict=True):
            shares = [re.search(r"[\d,]+(\.?\d*)%", cell) for cell in column]
            assert len({len(share[1]) for share in shares if share}) <= 1, column


def test_hubs(client):
    data = client.get("/tiny-llama/hubs.json?k=5").json
    assert data["neuron_occurrence"]["k"] == data["token_occurrence"]["k"] == 5
    page = client.get("/tiny-llama/hubs?k=5").text
    assert f">{data['neurons'][0]['neuron']['name']}</a>" in page
    assert 'data-src="/tiny-llama/hubs/centring"' in page
    assert_same_decimals(page)
    response = client.get("/tiny-llama/hubs?k=3")
    assert response.status_code == 400
    assert "expected one of 1, 5, 10, 20." in response.text
    (spec,) = re.findall(r'</div>\s*<script type="application/json">(.*?)</script>', page, flags=re.DOTALL)
    columns = json.loads(spec)["columns"]
    rows = [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]
    for occurrence, what in (
        (data["neuron_occurrence"], "neurons, k = 5"),
        (data["token_occurrence"], "tokens, k = 5"),
    ):
        points = [row for row in rows if row["label"] == what]
        assert points[0]["occurrence"] == 1
        assert points[-1]["occurrence"] == occurrence["greatest"]
        for row in points:
            assert row["n"] == sum(n for value, n in occurrence["counts"] if value >= row["occurrence"]) > 0


def test_centring_with_and_without_weights(client, app):
    page = client.get("/tiny-llama/hubs/centring").text
    assert_same_decimals(page)
    assert_same_decimals(client.get("/tiny-llama/hubs/reduced").text)
    assert "data-part" in page
    assert "is the best neuron of" in page
    atlas = app.extensions["atlases"]["tiny-llama"]
    info = atlas.info
    try:
        atlas.info = replace(info, has_weights=False)
        page = client.get("/tiny-llama/hubs/centring").text
        assert "This atlas holds no weights" in page
        assert client.get("/tiny-llama/hubs/centring.json").json["centring"] is None
    finally:
        atlas.info = info


@pytest.mark.parametrize("url", ["/glossary", "/tiny-llama/glossary", "/tiny-gpt2/glossary"])
def test_the_glossary(client, url):
    page = client.get(url).text
    data = client.get(f"{url}.json").json
    assert [term["anchor"] for term in data["terms"]] == [term.anchor for term in TERMS]
    for term in TERMS:
        assert f'id="{term.anchor}"' in page
        assert f'href="#{term.anchor}"' in page
    assert ("answers" in data) == (url != "/glossary")
    if "answers" in data:
        assert all(data["answers"][term.anchor]["rows"] for term in TERMS)
        assert "does not hold what it needs" not in page
