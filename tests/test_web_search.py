"""The search page, its suggestions, and what hostile queries do to them."""

from __future__ import annotations

import json
import time

import pytest

from tests.html_reader import Reader


def test_everything_found_is_on_the_page(client):
    data = client.get("/search.json?q=lemon&atlas=tiny-llama").json
    (found,) = data["found"]
    assert found["neuron"] is None
    assert "ref" in found
    texts = found["texts"]
    assert texts["n_occurrences"] > 0
    assert 0 < len(texts["neurons"]) <= 30
    assert texts["n_neurons"] >= len(texts["neurons"])
    page = client.get("/search?q=lemon&atlas=tiny-llama").text
    for match in texts["neurons"]:
        assert f">{match['neuron']['name']}</a>" in page
    assert page.count("<mark>lemon</mark>") == len(texts["neurons"])
    assert "Order: the example’s rank" in page


def test_case_is_folded_and_the_text_shown_as_it_is(client):
    page = client.get("/search?q=ÜBUNG&atlas=tiny-gpt2").text
    assert "<mark>Übung</mark>" in page


def test_short_queries_are_not_looked_for_in_texts(client):
    (found,) = client.get("/search.json?q=a&atlas=tiny-llama").json["found"]
    assert found["texts"] is None
    assert "3 characters and more" in client.get("/search?q=a&atlas=tiny-llama").text
    assert "In none of the stored texts" in client.get("/search?q=nowhere to be found&atlas=tiny-llama").text


def test_hostile_texts_are_escaped(client):
    page = client.get("/search", query_string={"q": "alert(1)", "atlas": "tiny-llama"}).text
    assert "<mark>alert(1)</mark>" in page
    assert "<script>alert" not in page
    assert "&lt;script&gt;" in page
    Reader(page)
    page = client.get("/search", query_string={"q": "</script><b>", "atlas": "tiny-llama"}).text
    assert "</script><b>" not in page


def test_a_neuron_and_a_phrase_in_all_atlases(client):
    data = client.get("/search.json?q=L1N7").json
    assert [item["neuron"]["name"] for item in data["found"]] == ["L1N7", "L1N7"]
    assert client.get("/search.json").json["found"] == []


@pytest.mark.parametrize("path", ["/search", "/search.json", "/search/suggest.json"])
def test_bad_queries(client, path):
    response = client.get(path, query_string={"q": "x" * 201})
    assert response.status_code == 400
    assert "201 characters; expected at most 200" in response.text
    response = client.get(path, query_string={"q": "x", "atlas": "other"})
    assert response.status_code == 400
    assert "expected one of tiny-llama, tiny-gpt2" in response.text


def suggested(client, **query):
    response = client.get("/search/suggest.json", query_string=query)
    assert response.status_code == 200
    assert response.mimetype == "application/json"
    data = json.loads(response.text, parse_constant=pytest.fail)
    assert data["query"] == query["q"]
    return data["suggestions"]


def test_suggestions_come_in_order_and_lead_somewhere(client):
    found = suggested(client, q="a", atlas="tiny-llama")
    kinds = ["neuron", "exact", "same letters", "prefix"]
    order = [kinds.index(item["kind"]) for item in found]
    assert order == sorted(order)
    assert {item["kind"] for item in found} == {"exact", "same letters", "prefix"}
    assert [item["label"] for item in found[:2]] == ["a", "␣a"]
    assert len({item["url"] for item in found}) == len(found) > 4
    for item in found:
        assert set(item) == {"kind", "label", "text", "url", "detail"}
        page = client.get(item["url"])
        assert page.status_code == 200
        label = item["label"].replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
        assert label in page.text


def test_a_suggested_neuron_says_what_it_is_for(client):
    for spelling in ("L1N7", "l1n7", "1.7", "1/7"):
        (item,) = [item for item in suggested(client, q=spelling, atlas="tiny-llama") if item["kind"] == "neuron"]
        assert (item["label"], item["url"]) == ("L1N7", "/tiny-llama/L1N7")
        best = client.get("/tiny-llama/L1N7.json").json["neuron"]["best_token"]["shown"]
        assert item["detail"] == f"neuron for {best}"


def test_suggestions_of_all_atlases_say_whose_they_are(client):
    found = suggested(client, q="L1N7")
    assert [item["detail"].rpartition(" · ")[2] for item in found] == ["tiny-llama", "tiny-gpt2"]
    assert suggested(client, q="") == []
    assert len(suggested(client, q="e")) == 10


def test_suggestions_of_hostile_tokens_are_data(client):
    labels = [item["label"] for item in suggested(client, q="<script>alert(1)</script>", atlas="tiny-llama")]
    assert labels == ["<script>alert(1)</script>"]
    assert suggested(client, q="\u202e", atlas="tiny-llama")[0]["label"] == "\\u202e"


def test_suggestions_are_instant(client):
    suggested(client, q="a")
    times = []
    for query in ("a", "an", "app", "L1N7", "<", "e") * 3:
        start = time.perf_counter()
        suggested(client, q=query)
        times.append(time.perf_counter() - start)
    assert sorted(times)[len(times) // 2] < 0.01
