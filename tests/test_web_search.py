"""The search page, its suggestions, and what hostile queries do to them."""

from __future__ import annotations

import json
import re
from html import unescape

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
    rows = re.findall(r"<li>\s*<span class=\"value (?:pos|neg)?\">.*?</li>", page, re.DOTALL)
    assert len(rows) == len(texts["neurons"])
    for row, match in zip(rows, texts["neurons"], strict=True):  # what it writes, and what fires it
        chips = [unescape(chip) for chip in re.findall(r'class="chip[^>]*>(.*?)</a>', row)]
        tokens = [*match["firing_tokens"], *(item["token"] for item in match["tokens"][:5]), match["token"]]
        assert chips == [token["shown"] for token in tokens]
        statement = "fires on " if match["verdict"]["claim"] == "none" else match["verdict"]["headline"]
        assert statement in unescape(row.partition("</b>")[0])
    assert "no clear token" not in page.lower()
    assert page.count("<mark>lemon</mark>") == len(texts["neurons"]) + len(texts["texts"])
    listed = [text["text_id"] for text in texts["texts"]]
    assert len(set(listed)) == len(listed) > 1  # each text once


def test_case_is_folded_and_the_text_shown_as_it_is(client):
    page = client.get("/search?q=ÜBUNG&atlas=tiny-gpt2").text
    assert "<mark>Übung</mark>" in page


def test_short_queries_are_not_looked_for_in_texts(client):
    (found,) = client.get("/search.json?q=a&atlas=tiny-llama").json["found"]
    assert found["texts"] is None
    assert "3 characters and more" in client.get("/search?q=zq&atlas=tiny-llama").text
    assert (
        "No stored text has “nowhere to be found”" in client.get("/search?q=nowhere to be found&atlas=tiny-llama").text
    )


def test_hostile_texts_are_escaped(client):
    page = client.get("/search", query_string={"q": "alert(1)", "atlas": "tiny-llama"}).text
    assert "<mark>alert(1)</mark>" in page
    assert "<script>alert" not in page
    assert "&lt;script&gt;" in page
    Reader(page)
    page = client.get("/search", query_string={"q": "</script><b>", "atlas": "tiny-llama"}).text
    assert "</script><b>" not in page


@pytest.mark.parametrize(
    ("query", "path"),
    [
        ("L1", "/tiny-llama/L1"),
        ("layer 1", "/tiny-llama/L1"),
        ("layer 1 neuron 7", "/tiny-llama/L1N7"),
        ("1.7", "/tiny-llama/L1N7"),
        ('" an"', " an"),
        ("' an'", " an"),
    ],
)
def test_what_means_one_thing_leads_there(client, query, path):
    response = client.get("/search", query_string={"q": query, "atlas": "tiny-llama"})
    assert response.status_code == 302
    if path.startswith(" "):
        assert client.get(response.location + ".json").json["row"]["token"]["text"] == path
    else:
        assert response.location == path


def test_out_of_range_the_nearest_is_offered(client):
    for query, name in (("L1N9999", "L1N47"), ("layer 40", "L2"), ("L40N3", "L2N3")):
        (found,) = client.get("/search.json", query_string={"q": query, "atlas": "tiny-llama"}).json["found"]
        assert [(near["label"], near["url"]) for near in found["nearest"]] == [(name, f"/tiny-llama/{name}")]
    page = client.get("/search?q=L1N9999&atlas=tiny-llama").text
    assert "layer 1 has neurons 0 to 47" in page
    assert 'value="L1N9999"' in page


def test_a_token_with_and_without_its_space_lists_the_neurons_that_write_it(client):
    (found,) = client.get("/search.json?q=a&atlas=tiny-llama").json["found"]
    assert {token["text"] for token in found["tokens"]["exact"]} == {"a", " a"}
    assert found["writers"]
    page = client.get("/search?q=a&atlas=tiny-llama").text
    for writer in found["writers"]:
        assert writer["verdict"]["text"]
        if writer["verdict"]["claim"] != "none":
            assert writer["verdict"]["text"].replace("'", "&#39;")[:40] in page.replace("&lt;", "<")
    (about,) = client.get("/search.json?q=a neuron&atlas=tiny-llama").json["found"]
    assert about["writers"] == found["writers"]


def test_words_that_stand_apart_say_so(client):
    page = client.get("/search?q=indentation lemon&atlas=tiny-llama").text
    assert re.search("No stored text has this phrase; looked for\\s+“lemon”", page)
    assert "No stored text" not in client.get("/search?q=lemon&atlas=tiny-llama").text


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
    assert {item["label"] for item in found[:2]} == {"a", "␣a"}
    assert len({item["url"] for item in found}) == len(found) > 4
    for item in found:
        assert set(item) == {"kind", "label", "text", "url", "detail"}
        page = client.get(item["url"])
        assert page.status_code == 200
        label = item["label"].replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
        assert label in page.text


def test_a_suggested_neuron_says_its_verdict(client):
    for spelling in ("L1N7", "l1n7", "1.7", "1/7"):
        (item,) = [item for item in suggested(client, q=spelling, atlas="tiny-llama") if item["kind"] == "neuron"]
        assert (item["label"], item["url"]) == ("L1N7", "/tiny-llama/L1N7")
        assert item["detail"] == client.get("/api/v1/atlases/tiny-llama/neurons/L1N7/verdict").json["data"]["headline"]


def test_suggestions_of_all_atlases_say_whose_they_are(client):
    found = suggested(client, q="L1N7")
    assert [item["detail"].rpartition(" · ")[2] for item in found] == ["tiny-llama", "tiny-gpt2"]
    assert suggested(client, q="") == []
    assert len(suggested(client, q="e")) == 10


def test_suggestions_of_hostile_tokens_are_data(client):
    labels = [item["label"] for item in suggested(client, q="<script>alert(1)</script>", atlas="tiny-llama")]
    assert labels == ["<script>alert(1)</script>"]
    assert suggested(client, q="\u202e", atlas="tiny-llama")[0]["label"] == "\\u202e"


def test_an_empty_search_offers_its_beginning_where_that_is_a_token(client, monkeypatch):
    assert "instead?" not in client.get("/search?q=zqqq&atlas=tiny-llama").text
    monkeypatch.setattr("web.views.search.MIN_LETTERS", 1)  # the tiny vocabulary has letters, hardly words
    text = client.get("/search?q=zqqq&atlas=tiny-llama").text
    assert "No stored text has “zqqq”" in text
    assert re.search(r'<a href="/search\?[^"]*q=z">z</a> instead', text)
