"""Lists of neurons: their page, data, card, embed, short link, and making one in a browser."""

from __future__ import annotations

import csv
import io
import json
import re
from base64 import b32encode
from contextlib import closing
from hashlib import sha256
from urllib.parse import quote, urlencode

import pytest
from axe_playwright_python.sync_playwright import Axe

from atlas.topics.collection import LONGEST_ADDRESS, MOST
from atlas.topics.curve import curve_point
from tests.html_reader import Reader, squeezed
from web.cards.collection import list_card
from web.charts.spark import spark_drawing
from web.saved.store import open_saved
from web.site import urls

LIST = "/tiny-llama/list?n=L1N7~one&n=L2N3&n=L0N0&title=Three"
NOTES = [
    "plain",
    "a & b = c ? d # e % f + g / h",
    "~ tilde ~ ~",
    '<script>alert("x")</script> \' " `',
    "ünïcödé 神経 🧠 \u202eright",
    "{{ 7 * 7 }} $name -- ; DROP",
    "a\x00b \x1b[0m \ufffd",
    "%20 &amp; \\n",
]
JSON = {"Accept": "application/json"}


@pytest.fixture
def store(app, tmp_path):
    """The site keeps short links in an empty file."""
    with closing(open_saved(tmp_path / "saved.sqlite")) as store:
        app.extensions["saved"] = store
        yield store
        app.extensions["saved"] = None


# --- the page


def test_the_page_is_the_list_in_its_order(client):
    page = client.get(LIST).text
    assert re.findall(r'<li id="(L\d+N\d+)">', page) == ["L1N7", "L2N3", "L0N0"]
    assert Reader(page).inline == []
    assert '<h1 id="list-title">Three</h1>' in page
    data = client.get(LIST.replace("/list", "/list.json")).json
    assert [(item["place"], item["neuron"]["name"], item["note"]) for item in data["neurons"]] == [
        (1, "L1N7", "one"),
        (2, "L2N3", ""),
        (3, "L0N0", ""),
    ]
    verdict = client.get("/api/v1/atlases/tiny-llama/neurons/L1N7/verdict").json["data"]
    assert data["neurons"][0]["verdict"] == verdict
    assert squeezed(page).count(re.sub(r"&#(\d+);", lambda m: chr(int(m[1])), verdict["text"])) == 1
    assert data["heading"] == data["title"] == "Three"
    assert "noindex" in client.get(LIST).headers["X-Robots-Tag"]


def test_orders(client):
    def names(sort):
        return [
            item["neuron"] for item in client.get(f"{LIST.replace('/list', '/list.json')}&sort={sort}").json["neurons"]
        ]

    assert [neuron["name"] for neuron in names("name")] == ["L0N0", "L1N7", "L2N3"]
    values = [neuron["best_congruence"] for neuron in names("congruence")]
    assert values == sorted(values, reverse=True)
    assert len(names("auroc")) == 3
    wrong = client.get(f"{LIST}&sort=luck")
    assert wrong.status_code == 400
    assert "expected one of listed, name, congruence, auroc" in wrong.text


def test_other_spellings_lead_to_the_canonical_address(client):
    response = client.get("/tiny-llama/list.json?n=1.7&n=&n=l2n3~x&n=L1N7~one&title=%20T")
    assert (response.status_code, response.location) == (301, "/tiny-llama/list.json?n=L1N7~one&n=L2N3~x&title=T")
    build = client.get("/tiny-llama.json").json["build_id"]
    pinned = client.get(f"/tiny-llama@{build}/list?n=L1N7")
    assert pinned.status_code == 200
    assert f"/tiny-llama@{build}/L1N7" in pinned.text


@pytest.mark.parametrize("note", NOTES)
def test_a_note_of_any_characters_survives(client, store, note):
    url = urls.to("collection", urls.AtlasRef("tiny-llama"), n=[f"L1N7~{note}", "L2N3"], title=note)
    page = client.get(url)
    assert page.status_code == 200
    assert Reader(page.text).inline == []
    held = json.loads(re.search(r'id="list"[^>]*>(.*?)</script>', page.text, re.DOTALL)[1])
    assert held == {"title": note, "entries": [{"name": "L1N7", "note": note}, {"name": "L2N3", "note": ""}]}
    assert client.get(urls.json(url)).json["neurons"][0]["note"] == note
    row = next(csv.DictReader(io.StringIO(client.get(urls.csv(url)).text)))
    assert (row["name"], row["note"]) == ("L1N7", note)
    saved = client.post("/tiny-llama/list", data={"n": [f"L1N7~{note}", "L2N3"], "title": note}).location
    data = client.get(f"{saved}.json").json
    assert (data["heading"], data["neurons"][0]["note"]) == (note, note)


def test_a_wrong_name_leaves_the_rest_to_people_and_is_an_error_to_programs(client):
    url = "/tiny-llama/list?n=L1N7&n=banana&n=L9N99"
    page = client.get(url)
    assert page.status_code == 200
    assert re.findall(r'<li id="(L\d+N\d+)">', page.text) == ["L1N7"]
    assert "Left out, because they are no neurons of this model" in page.text
    assert "'/tiny-llama/L2N47'" in page.text.replace('"', "'")
    assert client.get(url.replace("/list", "/list.card.png")).status_code == 200
    error = client.get(url.replace("/list", "/list.json"))
    assert error.status_code == 400
    assert "'banana', 'L9N99' (nearest: L2N47)" in error.json["error"]["message"]
    assert client.get(url.replace("/list", "/list.csv")).status_code == 400
    alone = client.get("/tiny-llama/list?n=banana")
    assert alone.status_code == 400
    assert "banana" in alone.text


def test_limits(client):
    many = urlencode([("n", f"L{n // 48}N{n % 48}") for n in range(144)])
    assert client.get(f"/tiny-llama/list.json?{many}").status_code == 200
    for query, words in (
        ("n=L1N7&title=" + "x" * 121, "The title has 121 characters"),
        ("n=L1N7~" + "x" * 301, "The note on L1N7 has 301 characters"),
    ):
        response = client.get(f"/tiny-llama/list?{query}")
        assert response.status_code == 400
        assert words in response.text


def test_an_empty_list_says_how_to_make_one(client):
    page = client.get("/tiny-llama/list")
    assert page.status_code == 200
    assert "Add neurons by name below" in page.text
    assert client.get("/tiny-llama/list.json").json["neurons"] == []
    assert client.get("/tiny-llama/list.card.png").status_code == 200


def test_csv_has_every_column_of_the_neuron(client):
    answer = client.get(LIST.replace("/list", "/list.csv"))
    rows = list(csv.DictReader(io.StringIO(answer.text)))
    neuron = client.get("/tiny-llama/L2N3.json").json["neuron"]
    assert [row["name"] for row in rows] == ["L1N7", "L2N3", "L0N0"]
    assert rows[1]["best_token"] == neuron["best_token"]["text"]
    assert float(rows[1]["token_gap"]) == neuron["token_gap"]
    header = client.get("/tiny-llama/neurons.csv?layer_min=1&layer_max=0").text.strip().split(",")
    assert set(rows[0]) == {*header, "note", "verdict"}


# --- cards, embeds


def test_the_card_names_the_neurons(client):
    data = client.get(LIST.replace("/list", "/list.json")).json
    view = client.application.view_functions["collection.collection"].view
    with client.application.test_request_context(LIST):
        from flask import g

        g.ref = urls.AtlasRef("tiny-llama")
        page = view(atlas=client.application.extensions["atlases"]["tiny-llama"])
    svg = page.card().svg
    assert "Three" in svg
    assert all(f">{item['neuron']['name']}<" in svg for item in data["neurons"])
    assert "and 14 more" in list_card("Many", page.neurons * 7, "").svg


def test_an_embed_runs_nothing_and_leads_out(client):
    response = client.get(f"/embed{LIST}&theme=dark")
    assert response.status_code == 200
    assert "frame-ancestors *" in response.headers["Content-Security-Policy"]
    reader = Reader(response.text)
    assert not {"script", "form"} & set(reader.tags)
    assert LIST in reader.links
    assert 'data-theme="dark"' in response.text
    full = f"http://localhost{LIST}"
    embedded = client.get(f"/oembed?{urlencode({'url': full})}").json
    assert embedded["type"] == "rich"
    assert "/embed/tiny-llama/list?n=L1N7~one&amp;n=L2N3&amp;n=L0N0&amp;title=Three" in embedded["html"]


def test_citations_fetch_the_list(client):
    text = client.get(LIST).text
    assert ".collection([&#39;L1N7&#39;, &#39;L2N3&#39;, &#39;L0N0&#39;])" in text
    assert "&lt;iframe src=" in text


def test_a_spark_is_the_curve_of_the_neurons_page(client):
    item = client.get(LIST.replace("/list", "/list.json")).json["neurons"][0]
    token = (item["verdict"]["token"] or item["tokens"][0]["token"])["token_id"]
    page = client.get(f"/tiny-llama/{item['neuron']['name']}.json?token={token}").json
    (curve,) = [one for one in page["curves"] if one["candidate"]["token"]["token_id"] == token]
    assert item["curve"] == curve["points"]
    assert sum(point["n"] for point in item["curve"]) == client.get("/tiny-llama.json").json["info"]["n_positions"]
    assert spark_drawing([]) == spark_drawing([curve_point(70, 4, 4, 0)]) == ""  # too few positions to draw


# --- short links


def test_a_short_link_is_the_hash_of_the_list(client, store):
    form = {"n": ["L1N7~one", "L2N3"], "title": "Two"}
    content = '["list","Two",[["L1N7","one"],["L2N3",""]]]'
    name = b32encode(sha256(content.encode()).digest()).decode().lower()[:12]
    first = client.post("/tiny-llama/list", data=form)
    assert (first.status_code, first.location) == (303, f"/tiny-llama/list/{name}")
    again = client.post("/tiny-llama/list", data=form | {"n": ["1.7~one", "2.3", "L1N7"]}, headers=JSON)
    assert (again.status_code, again.json["new"], again.json["name"]) == (200, False, name)
    other = client.post("/tiny-llama/list", data=form | {"title": "Others"}, headers=JSON)
    assert (other.status_code, other.json["new"]) == (201, True)
    page = client.get(first.location)
    assert f"http://localhost/tiny-llama/list/{name}" in page.text
    assert "noindex" in page.headers["X-Robots-Tag"]
    plain = client.get("/tiny-llama/list.json?n=L1N7~one&n=L2N3&title=Two").json
    assert client.get(f"{first.location}.json").json["neurons"] == plain["neurons"]
    for ending in (".csv", ".card.png"):
        assert client.get(f"{first.location}{ending}").status_code == 200
    assert client.get(f"/embed{first.location}").status_code == 200
    build = client.get("/tiny-llama.json").json["build_id"]
    assert client.get(f"/tiny-llama@{build}/list/{name}").status_code == 200
    assert client.get(f"/tiny-gpt2/list/{name}").status_code == 404


def test_what_cannot_be_saved(client, store):
    for form, status, words in (
        ({}, 400, "no neurons to save"),
        ({"n": ["L1N7", "banana"]}, 400, "'banana'"),
        ({"n": "L1N7", "title": "x" * 121}, 400, "The title has 121"),
    ):
        response = client.post("/tiny-llama/list", data=form, headers=JSON)
        assert response.status_code == status
        assert words in response.json["error"]["message"]
    cross = client.post("/tiny-llama/list", data={"n": "L1N7"}, headers=JSON | {"Sec-Fetch-Site": "cross-site"})
    assert (cross.status_code, cross.json["error"]["code"]) == (403, "cross_site")
    store.most = 0
    full = client.post("/tiny-llama/list", data={"n": "L1N7"}, headers=JSON)
    assert (full.status_code, full.json["error"]["code"]) == (507, "saved_full")
    assert client.get("/tiny-llama/list/aaaaaaaaaaaa").status_code == 404


def test_without_a_store_there_are_no_short_links(client):
    assert "Make a short link" not in client.get(LIST).text
    assert client.post("/tiny-llama/list", data={"n": "L1N7"}, headers=JSON).status_code == 404
    assert "Short links are not kept" in client.get("/tiny-llama/list/aaaaaaaaaaaa").text


# --- as a list


@pytest.mark.parametrize(
    "url",
    [
        "/tiny-llama/compare?n=L1N7&n=L2N3",
        "/tiny-llama/neurons",
        "/tiny-llama/token/5",
        "/search?q=apple&atlas=tiny-llama",
    ],
)
def test_pages_lead_to_their_neurons_as_a_list(client, url):
    links = [link for link in Reader(client.get(url).text).links if re.match(r"/tiny-llama/list\?n=", link)]
    assert links
    assert client.get(links[0]).status_code == 200


# --- in a browser


def test_add_edit_and_share(tab, site, store):
    tab.goto(f"{site}/tiny-llama/L1N7")
    assert tab.locator("a[data-list]").is_hidden()
    button = tab.locator("button[data-add='tiny-llama/L1N7']").first
    button.click()
    assert button.get_attribute("aria-pressed") == "true"
    assert tab.locator("a[data-list]").inner_text() == "list (1)"
    # From the row of another page: by the button, and by the key from the link.
    tab.goto(f"{site}/tiny-llama/token/5")
    links = tab.locator("main td a.unit")
    names = [name for name in links.all_inner_texts() if name != "L1N7"][:2]
    row = tab.locator("main td", has_text=names[0]).first
    row.hover()
    row.locator("button.add").click()
    links.filter(has_text=re.compile(f"^{names[1]}$")).first.focus()
    tab.keyboard.press("+")
    assert tab.locator("a[data-list]").inner_text() == "list (3)"
    tab.locator("a[data-list]").click()
    tab.wait_for_url(f"{site}/tiny-llama/list?n=L1N7&n={names[0]}&n={names[1]}")
    # In place: the address, the parts of the page that hold it, and one's own list follow.
    note = "50% of “an”, a & b ~ 🧠"
    tab.get_by_role("button", name="Edit", exact=True).click()
    tab.get_by_label("Note on L1N7").fill(note)
    tab.get_by_label("Title of the list").fill("Mine")
    tab.get_by_label("Title of the list").blur()
    tab.get_by_role("button", name=f"Remove {names[1]}").click()
    assert Axe().run(tab).response["violations"] == []
    tab.get_by_role("button", name="Done").click()
    assert tab.locator("#L1N7 .said").inner_text() == note
    assert tab.locator("h1").inner_text() == "Mine"
    expected = f"/tiny-llama/list?n=L1N7~{quote(note, safe='~')}&n={names[0]}&title=Mine"
    assert tab.url == site + expected
    tab.wait_for_function("document.title.startsWith('Mine')")
    assert tab.locator("a[data-list]").inner_text() == "list (2)"
    data = tab.request.get(site + tab.locator("#list-choices a", has_text="JSON").get_attribute("href")).json()
    assert [(item["neuron"]["name"], item["note"]) for item in data["neurons"]] == [("L1N7", note), (names[0], "")]
    # Shared: whoever has the short link reads it.
    tab.get_by_role("button", name="Make a short link").click()
    tab.wait_for_url(re.compile(r"/tiny-llama/list/[a-z2-7]{12}$"))
    assert tab.locator("#L1N7 .said").inner_text() == note
    # An edited copy is another list, to be saved anew.
    tab.get_by_role("button", name="Edit", exact=True).click()
    tab.get_by_label("Title of the list").fill("Edited")
    tab.get_by_label("Title of the list").blur()
    tab.locator("#list-short .citation").wait_for(state="detached")
    tab.get_by_role("button", name="Make a short link").wait_for()
    tab.go_back()
    tab.evaluate("localStorage.clear()")
    tab.reload()
    assert tab.locator("a[data-list]").is_hidden()
    tab.get_by_role("button", name="Add all to your list").click()
    assert tab.locator("a[data-list]").inner_text() == "list (2)"
    assert tab.said == []


def test_the_script_knows_the_limit(client):
    page = client.get(LIST).text
    script = client.get(re.search(r'src="(/static/list\.js[^"]*)"', page)[1]).text
    assert f"const MOST = {MOST};" in script
    assert f"const LONGEST = {LONGEST_ADDRESS};" in script
