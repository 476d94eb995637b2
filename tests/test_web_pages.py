"""Every page, its data, and the addresses that lead to it."""

from __future__ import annotations

import json
import re

import pytest

from tests.html_reader import Reader

PAGES = [
    "/",
    "/search",
    "/search?q=an",
    *(
        f"/{slug}{rest}"
        for slug in ("tiny-llama", "tiny-gpt2")
        for rest in (
            "", "/L0", "/L1?sort=token_gap&order=asc&page=1", "/L0N0", "/L1N7", "/L1N47", "/token/0", "/token/5",
            "/token/200", "/token", "/pairs", "/pairs?direction=bottom&all=1", "/pairs?page=2", "/exclusive",
            "/exclusive?all=1&page=2",
        )
    ),
]  # fmt: skip


@pytest.mark.parametrize("url", PAGES)
def test_a_page_and_its_data(client, url):
    response = client.get(url)
    assert response.status_code == 200
    page = Reader(response.text)
    assert page.inline == []
    assert response.text.count("<h1>") == 1
    path, _, query = url.partition("?")
    data = client.get(f"{path}.json?{query}")
    assert data.status_code == 200
    assert data.mimetype == "application/json"
    record = json.loads(data.text, parse_constant=pytest.fail)
    assert record["title"]
    assert client.get(record["url"]).text == response.text  # the page's own address, in full
    assert client.get("/healthz").json["status"] == "ok"


def test_every_link_leads_somewhere(client):
    seen, waiting = set(), ["/", "/tiny-gpt2/L1N7", "/tiny-llama@" + build(client, "tiny-llama") + "/L1N7"]
    while waiting and len(seen) < 400:
        url = waiting.pop(0)
        if url in seen:
            continue
        seen.add(url)
        response = client.get(url, buffered=True)  # closes the files of static answers
        assert response.status_code in (200, 301, 302), url
        if response.mimetype == "text/html" and response.status_code == 200:
            found = Reader(response.text).links
            assert all(link.startswith(("/", "#")) for link in found)
            # One of each shape of address from each page: a layer has hundreds of neurons.
            shapes = {re.sub(r"\d+", "0", link): link for link in found if not link.startswith(("#", "/static/vega"))}
            waiting += [link for link in shapes.values() if link not in seen]
    assert len(seen) > 40


def build(client, slug):
    return client.get(f"/{slug}.json").json["build_id"]


def test_links_of_a_pinned_page_stay_pinned(client):
    pin = f"/tiny-llama@{build(client, 'tiny-llama')}"
    for rest in ("", "/L1", "/L1N7", "/token/5", "/pairs"):
        response = client.get(pin + rest)
        assert response.status_code == 200
        links = [link for link in Reader(response.text).links if link.startswith("/tiny-llama")]
        assert links
        assert [link for link in links if not link.startswith(pin)] == []
    assert client.get(f"{pin}/1.7").location == f"{pin}/L1N7"


def test_a_build_that_is_not_served(client):
    response = client.get("/tiny-llama@0123456789ab/L1N7?token=5")
    assert response.status_code == 404
    assert "Build 0123456789ab of" in response.text
    assert f"build {build(client, 'tiny-llama')} is" in response.text
    assert 'href="/tiny-llama/L1N7?token=5"' in response.text


@pytest.mark.parametrize(
    ("url", "location"),
    [
        ("/tiny-llama/1.7", "/tiny-llama/L1N7"),
        ("/tiny-llama/1:7", "/tiny-llama/L1N7"),
        ("/tiny-llama/1/7", "/tiny-llama/L1N7"),
        ("/tiny-llama/L1/N7", "/tiny-llama/L1N7"),
        ("/tiny-llama/l1n7", "/tiny-llama/L1N7"),
        ("/tiny-llama/L01N007", "/tiny-llama/L1N7"),
        ("/tiny-llama/1.7.json", "/tiny-llama/L1N7.json"),
        ("/tiny-llama/1/7.json", "/tiny-llama/L1N7.json"),
        ("/tiny-llama/1.7?token=5", "/tiny-llama/L1N7?token=5"),
        ("/tiny-llama/l1", "/tiny-llama/L1"),
        ("/tiny-llama/L01.json?sort=index", "/tiny-llama/L1.json?sort=index"),
        ("/tiny-llama/token/5-an", "/tiny-llama/token/5"),
        ("/tiny-llama/token/005", "/tiny-llama/token/5"),
        ("/tiny-llama/token/5-%0A%2F.json", None),
        ("/tiny-llama/", "/tiny-llama"),
        ("/tiny-llama/L1N7/", "/tiny-llama/L1N7"),
    ],
)
def test_other_spellings_lead_to_the_canonical_address(client, url, location):
    response = client.get(url)
    if location is None:
        assert response.status_code == 404
    else:
        assert response.status_code == 301
        assert response.location == location


@pytest.mark.parametrize("url", ["/", "/tiny-llama/L1N7", "/tiny-llama/L1N7.json", "/nowhere", "/static/atlas.css"])
def test_headers_of_every_answer(client, url):
    headers = client.get(url, buffered=True).headers
    policy = headers["Content-Security-Policy"]
    assert "default-src 'self'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert headers["X-Content-Type-Options"] == "nosniff"


def test_static_files_are_kept_for_ever_under_their_contents_address(client):
    link = next(link for link in Reader(client.get("/").text).links if "atlas.css" in link)
    assert "max-age=31536000" in client.get(link, buffered=True).headers["Cache-Control"]
    assert "max-age" not in client.get("/static/atlas.css", buffered=True).headers.get("Cache-Control", "")


def test_the_token_of_a_text(client):
    response = client.get("/tiny-llama/token?text= an")
    assert response.status_code == 302
    found = client.get(response.location + ".json").json
    assert found["row"]["token"]["text"] == " an"
    assert client.get("/tiny-llama/token?text=␣an").location == response.location
    assert client.get("/tiny-llama/token.json?text= an").location == response.location + ".json"
    halves = client.get("/tiny-llama/token.json?text=\ufffd").json["tokens"]
    assert len(halves) > 1  # bytes that are half a character all look alike
    assert len({token["bytes"] for token in halves}) == len(halves)


def test_search(client):
    assert client.get("/search?q=1.7&atlas=tiny-llama").location == "/tiny-llama/L1N7"
    assert client.get("/search.json?q=L1N7&atlas=tiny-llama").location == "/tiny-llama/L1N7.json"
    both = client.get("/search.json?q=L1N7").json["found"]
    assert [item["neuron"]["name"] for item in both] == ["L1N7", "L1N7"]
    assert client.get("/search?q=+an&atlas=tiny-llama").location.startswith("/tiny-llama/token/")
    nothing = client.get("/search.json?q=L99N99").json["found"]
    assert [item["neuron"] for item in nothing] == [None, None]
    listed = client.get("/search.json?q=AN&atlas=tiny-llama").json["found"][0]
    assert " an" in [token["text"] for token in listed["containing"]]


def test_a_curve_asked_for_comes_first(client):
    page = client.get("/tiny-llama/L1N7.json").json
    token_id = page["candidates"][-1]["token"]["token_id"]
    chosen = client.get(f"/tiny-llama/L1N7.json?token={token_id}").json
    assert chosen["curves"][0]["candidate"]["token"]["token_id"] == token_id
    counted = {candidate["token"]["token_id"] for candidate in page["candidates"]}
    other = next(token for token in range(300) if token not in counted)
    response = client.get(f"/tiny-llama/L1N7?token={other}")
    assert response.status_code == 404
    assert "was not counted, so it has no curve" in response.text


def test_first_and_last_neurons_have_one_neighbour(client):
    first, last = client.get("/tiny-gpt2/L0N0.json").json, client.get("/tiny-gpt2/L1N95.json").json
    assert (first["previous"], first["following"]["name"]) == (None, "L0N1")
    assert (last["previous"]["name"], last["following"]) == ("L1N94", None)
    assert first["minimum"] == []  # not gated
    assert client.get("/tiny-llama/L0N0.json").json["minimum"]


def test_hostile_tokens_are_escaped_everywhere(client, app):
    atlas = app.extensions["atlases"]["tiny-llama"]
    hostile = ["<script>alert(1)</script>", "</td>", "'\"&amp;", "\u202e"]
    ids = [next(t for t in range(len(atlas.tokens)) if atlas.tokens[t].text == text) for text in hostile]
    urls = [f"/tiny-llama/token/{token_id}" for token_id in ids] + ["/tiny-llama", "/tiny-llama/exclusive?all=1"]
    urls += [f"/tiny-llama/L0N{index}" for index in range(0, 48, 4)] + [
        "/search?q=<script>alert(1)</script>&atlas=tiny-gpt2"
    ]
    urls += [f"/tiny-llama/L{layer}" for layer in range(3)]
    shown = 0
    for url in urls:
        text = client.get(url, follow_redirects=True).text
        assert "<script>alert" not in text
        assert "\u202e" not in text
        assert "</td></td>" not in text.replace("\n", "")
        Reader(text)
        shown += "&lt;script&gt;alert(1)&lt;/script&gt;" in text
    assert shown >= 3


def test_charts_data_is_valid_json_even_with_hostile_text(client):
    text = client.get("/tiny-llama/L1N7").text
    specs = re.findall(r'<script type="application/json">(.*?)</script>', text, flags=re.DOTALL)
    assert len(specs) > 2
    for spec in specs:
        parsed = json.loads(spec, parse_constant=pytest.fail)
        assert parsed["$schema"].startswith("https://vega.github.io/schema/vega-lite/")
        assert parsed["datasets"]["rows"]
        assert "<" not in spec
