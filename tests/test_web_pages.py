"""Every page, its data, and the addresses that lead to it."""

from __future__ import annotations

import csv
import gzip
import html
import json
import math
import re
from xml.etree import ElementTree

import duckdb
import pytest

from atlas.core.term import POST_URL
from tests.html_reader import Reader
from web import create_app
from web.charts.theme import CONFIG, colours
from web.site import caching, urls

PAGES = [
    "/",
    "/search",
    "/search?q=a",
    "/search?q=lemon tree&atlas=tiny-gpt2",
    "/glossary",
    *(
        f"/{slug}{rest}"
        for slug in ("tiny-llama", "tiny-gpt2")
        for rest in (
            "",
            "/L0",
            "/L1?sort=token_gap&order=asc&page=1",
            "/L0N0",
            "/L1N7",
            "/L1N47",
            "/token/0",
            "/token/5",
            "/token/200",
            "/token",
            "/pairs",
            "/pairs?direction=bottom&all=1",
            "/pairs?page=2",
            "/exclusive",
            "/exclusive?all=1&page=2",
            "/pairs?layer_min=1&token=a&sort=score&order=asc",
            "/exclusive?min_gap=0.1&sort=n_predicted",
            "/hubs",
            "/hubs?k=1",
            "/hubs/centring",
            "/glossary",
            "/neurons",
            "/neurons?layer_min=1&sort=token_gap&order=asc",
        )
    ),
]


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
    while waiting and len(seen) < 200:
        url = waiting.pop(0)
        if url in seen:
            continue
        seen.add(url)
        response = client.get(url, buffered=True)  # closes the files of static answers
        assert response.status_code in (200, 301, 302), url
        if response.mimetype == "text/html" and response.status_code == 200:
            found = [link.removeprefix("http://localhost") for link in Reader(response.text).links]  # rel=canonical
            assert all(link.startswith(("/", "#")) or link == POST_URL for link in found)
            # One of each shape of address from each page: a layer has hundreds of neurons.
            inside = [link for link in found if link.startswith("/") and not link.startswith("/static/vega")]
            shapes = {re.sub(r"\d+", "0", link): link for link in inside}
            # What SQL links lead to is run in test_web_panels.
            waiting += [link for link in shapes.values() if link not in seen and "/sql?" not in link]
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
    for path, status in (("/token/5", 200), ("/token/5.json", 404)):  # a page of the current build; no other numbers
        response = client.get(f"/tiny-llama@0123456789ab{path}")
        assert response.status_code == status
        assert "0123456789ab" in response.text
        assert build(client, "tiny-llama") in response.text


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


def test_addresses_by_hand():
    ref, pin = urls.AtlasRef("a-1"), urls.AtlasRef("a-1", "0123456789ab")
    assert urls.to("study", ref, "x/y?z=1 #é") == "/a-1/study/x%2Fy%3Fz%3D1%20%23%C3%A9"
    assert urls.to("live_progress", pin, "x/y") == "/a-1@0123456789ab/live/study/x%2Fy"
    assert urls.to("search", atlas=None, q=" a&b=c") == "/search?q=%20a%26b%3Dc"
    assert urls.to("compare", ref, n=[]) == "/a-1/compare"
    assert urls.to("compare", pin, n=["L1N2", "L0N3"], token=0) == "/a-1@0123456789ab/compare?n=L1N2&n=L0N3&token=0"
    assert urls.to("bridge_compare", n=["a-1:L1N2"], text="") == "/bridge/compare?n=a-1%3AL1N2&text="
    assert urls.api("atlases/{atlas}/tokens/{token}", ref, {"token": "a/b@c"}, q="1 2") == (
        "/api/v1/atlases/a-1/tokens/a%2Fb@c?q=1%202"
    )
    assert urls.sql(ref, "SELECT 1", {"a b": "'"}) == "/a-1/sql?sql=SELECT%201&p.a%20b=%27"
    page = "/a-1/L1N2?token=5"
    assert urls.json(page) == "/a-1/L1N2.json?token=5"
    assert urls.card("/a-1") == "/a-1.card.png"
    assert urls.csv(page) == "/a-1/L1N2.csv?token=5"
    assert urls.chart(page, "a b", "svg") == "/a-1/L1N2.chart.svg?token=5&chart=a%20b"
    assert urls.chart("/a-1", "x", "csv") == "/a-1.chart.csv?chart=x"
    assert urls.embed(page, "writes", "dark") == "/embed/a-1/L1N2/writes?token=5&theme=dark"
    assert urls.embed("/a-1/token/5", theme="light") == "/embed/a-1/token/5?theme=light"
    assert urls.pinned(ref, page, "0123456789ab") == "/a-1@0123456789ab/L1N2?token=5"
    assert urls.pinned(pin, "/a-1@0123456789ab/L1N2", "ffffffffffff") == "/a-1@ffffffffffff/L1N2"
    # What follows the slug may hold the same words.
    assert urls.current(pin, "/a-1@0123456789ab/study/a-1@0123456789ab") == "/a-1/study/a-1@0123456789ab"
    assert urls.current(pin, "/embed/a-1@0123456789ab/L1N2") == "/embed/a-1/L1N2"


@pytest.mark.parametrize(
    ("address", "embedded", "live", "framed"),
    [
        ("/a/L1N2", True, False, False),
        ("/a@0123/token/5?x=1", True, False, False),
        ("/a/L1", False, False, False),
        ("/a/L1N2/tokens", False, False, False),
        ("/a/live", False, True, False),
        ("/a/L1N2/live.json", False, True, False),
        ("/a/live/study/x", False, True, False),
        ("/a/lively", False, False, False),
        ("/a/study/live", False, False, False),
        ("/embed/a/L1N2", False, False, True),
        ("/embedded/L1N2", True, False, False),
    ],
)
def test_what_kind_an_address_is_of(address, embedded, live, framed):
    found = urls.has_embed(address), urls.is_live(address.partition("?")[0]), urls.may_be_framed(address)
    assert found == (embedded, live, framed)


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
    short = client.get("/static/atlas.css", buffered=True)
    assert short.headers["Cache-Control"] == "public, max-age=3600"
    held = client.get("/static/atlas.css", headers={"If-None-Match": short.headers["ETag"]})
    assert held.status_code == 304


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
    assert " an" in [token["text"] for token in listed["tokens"]["same_letters"]]


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
    assert (first["neighbours"]["previous"], first["neighbours"]["following"]["name"]) == (None, "L0N1")
    assert (last["neighbours"]["previous"]["name"], last["neighbours"]["following"]) == ("L1N94", None)
    assert first["neighbours"]["below"] is last["neighbours"]["above"] is None
    assert first["texts"]["minimum"] == []  # not gated
    assert client.get("/tiny-llama/L0N0.json").json["texts"]["minimum"]


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
    scripts = re.findall(r'<script type="application/json"[^>]*>(.*?)</script>', text, flags=re.DOTALL)
    assert all("<" not in script for script in scripts)
    parsed = [json.loads(script, parse_constant=pytest.fail) for script in scripts]
    specs = [item for item in parsed if "$schema" in item]
    assert len(specs) == text.count("data-chart") > 1
    for spec in specs:
        assert spec["$schema"].startswith("https://vega.github.io/schema/vega-lite/")
        assert len({len(values) for values in spec["columns"].values()}) == 1
        assert spec["title"].endswith(", model")  # what the model is called


def test_charts_as_files(client):
    for url, name in (
        ("/tiny-llama/L1N7", "predicted"),
        ("/tiny-llama/L1N7/tokens", "tokens"),
        ("/tiny-gpt2", "activity"),
    ):
        svg = client.get(f"{url}.chart.svg?chart={name}")
        assert (svg.status_code, svg.mimetype) == (200, "image/svg+xml")
        assert ElementTree.fromstring(svg.data).tag == "{http://www.w3.org/2000/svg}svg"
        png = client.get(f"{url}.chart.png?chart={name}")
        assert (png.status_code, png.mimetype, png.data[:8]) == (200, "image/png", b"\x89PNG\r\n\x1a\n")
        spec = client.get(f"{url}.chart.json?chart={name}").json
        assert spec["datasets"]["rows"]
        assert "$" not in json.dumps(spec["config"])
    rows = list(csv.reader(client.get("/tiny-llama/L1N7.chart.csv?chart=histogram").text.splitlines()))
    assert rows[0] == ["activation", "positions"]
    assert sum(int(n) for _, n in rows[1:]) == client.get("/tiny-llama.json").json["info"]["n_positions"]
    # A page's state is kept: the chart of the token asked for.
    token_id = client.get("/tiny-llama/L1N7.json").json["candidates"][-1]["token"]["token_id"]
    head = client.get(f"/tiny-llama/L1N7.chart.csv?token={token_id}&chart=predicted").text.splitlines()[0]
    assert client.get(f"/tiny-llama/token/{token_id}.json").json["row"]["token"]["shown"] in head
    missing = client.get("/tiny-llama/L1N7.chart.svg?chart=pie")
    assert missing.status_code == 404
    assert "no chart &#39;pie&#39;; it has predicted, histogram." in missing.text
    assert (
        client.get("/tiny-llama/1.7.chart.svg?chart=histogram").location == "/tiny-llama/L1N7.chart.svg?chart=histogram"
    )


def test_colours_of_charts_are_the_style_sheets(client):
    found = colours()
    used = set(re.findall(r'"\$([a-z0-9-]+)"', json.dumps(CONFIG))) - {"font"}
    assert used <= set(found)
    sheet = client.get("/static/atlas.css").text
    assert all(f"--{name}: light-dark({light}, {dark})" in sheet for name, (light, dark) in found.items())


def test_thresholds_are_in_the_address(client):
    data = client.get("/tiny-llama/L1N7.json").json
    explorer = data["explorer"]
    edge = explorer["choices"][0]["edge"]
    edges = [choice["edge"] for choice in explorer["choices"]]
    assert edges == sorted(edges)  # right is higher
    assert edges[0] < 0 < edges[-1]
    url = f"/tiny-llama/L1N7?threshold={edge:g}"
    page = client.get(url)
    assert f'<option value="{edge:g}" selected>' in page.text
    assert client.get(client.get(url.replace("?", ".json?")).json["url"]).text == page.text
    preview = html.unescape(re.search(r'<meta property="og:description" content="([^"]*)"', client.get(url).text)[1])
    assert f"{edge:g}".lstrip("-") in preview.split(", “")[0]
    assert "is the model’s top prediction at " in preview
    for bad, said in (("threshold=0.3", "threshold=&#39;0.3&#39; is no bin edge with counted positions beyond it"),):
        response = client.get(f"/tiny-llama/L1N7?{bad}")
        assert response.status_code == 400
        assert said in response.text


def test_the_curve_and_the_threshold_of_the_verdict_come_first(client):
    claims = set()
    for name in (f"L{layer}N{index}" for layer in range(3) for index in range(0, 48, 16)):
        found = client.get(f"/api/v1/atlases/tiny-llama/neurons/{name}/verdict").json["data"]
        prediction = found["prediction"] or {"token": None}
        data = client.get(f"/tiny-llama/{name}.json").json
        first = data["curves"][0]["candidate"]["token"]
        token = found["token"] or prediction["token"]
        assert token is None or token == first
        if first == prediction["token"]:
            assert data["explorer"]["threshold"]["edge"] == prediction["threshold"]
            claims.add(found["claim"])
    assert claims


def test_a_random_neuron_is_drawn_anew(client):
    found = set()
    for _ in range(12):
        response = client.get("/tiny-llama/random")
        assert (response.status_code, response.headers["Cache-Control"]) == (302, "no-store")
        found.add(response.location)
    assert len(found) > 3
    assert all(re.fullmatch(r"/tiny-llama/L[0-2]N\d+", location) for location in found)
    assert client.get("/tiny-llama/random.json").location.endswith(".json")


def test_compare_takes_two_to_eight(client):
    page = client.get("/tiny-llama/compare.json?n=L1N7&n=L2N3").json
    assert [neuron["name"] for neuron in page["neurons"]] == ["L1N7", "L2N3"]
    token_id = page["own_curves"][1][0]["candidate"]["token"]["token_id"]
    chosen = client.get(f"/tiny-llama/compare.json?n=L1N7&n=L2N3&token={token_id}").json
    assert {curve["candidate"]["token"]["token_id"] for curve in chosen["curves"]} == {token_id}
    assert client.get("/tiny-llama/compare?n=1.7&n=l1n7&n=").location == "/tiny-llama/compare?n=L1N7"
    assert "Add two neurons or more" in client.get("/tiny-llama/compare").text
    many = "&".join(f"n=L0N{index}" for index in range(9))
    assert client.get(f"/tiny-llama/compare?{many}").status_code == 400
    assert "There are 9 neurons to compare; expected at most 8" in client.get(f"/tiny-llama/compare?{many}").text
    assert client.get("/tiny-llama/compare?n=L9N9").status_code == 404
    assert page["token"] is None or len(page["curves"]) > 1
    assert "was counted with none of" in client.get("/tiny-llama/compare?n=L1N7&token=0").text


def test_compare_sets_each_neurons_own_findings_in_a_column(client):
    data = client.get("/tiny-llama/compare.json?n=L1N7&n=L2N3").json
    page = client.get("/tiny-llama/compare?n=L1N7&n=L2N3").text
    for place, name in enumerate(("L1N7", "L2N3")):
        glance, own = data["glances"][place], client.get(f"/tiny-llama/{name}.json").json
        assert glance["neuron"] == own["neuron"]
        kind = "min" if glance["verdict"]["side"] == "negative" else "max"
        texts = client.get(f"/api/v1/atlases/tiny-llama/neurons/{name}/examples?kind={kind}").json["data"]
        assert data["examples"][place] == texts[:3]
        token = glance["verdict"]["token"] or glance["tokens"][0]["token"]
        assert [curve["candidate"]["token"] for curve in data["own_curves"][place]] == [token]
    assert page.index("At a glance") < page.index("When they fire") < page.index("<h2>Numbers")


def test_compare_leaves_the_rest_where_a_name_is_wrong(client):
    page = client.get("/tiny-llama/compare?n=L1N7&n=banana&n=L2N99&n=L2N3")
    assert page.status_code == 200
    assert "Compare L1N7, L2N3" in page.text
    assert "Left out, because they are no neurons of this model" in page.text
    assert ">L2N47</a>" in page.text
    data = client.get("/tiny-llama/compare.json?n=L1N7&n=L2N99")
    assert data.status_code == 404
    assert "'L2N99' (nearest: L2N47)" in data.json["error"]["message"]


def test_pages_are_validated_by_build_and_address(client):
    first = client.get("/tiny-llama/L1N7")
    etag = first.headers["ETag"]
    assert etag.startswith(f'W/"{build(client, "tiny-llama")}-')
    assert first.headers["Cache-Control"] == "no-cache"
    again = client.get("/tiny-llama/L1N7", headers={"If-None-Match": etag})
    assert (again.status_code, again.data, again.headers["ETag"]) == (304, b"", etag)
    for other in ("/tiny-llama/L1N8", "/tiny-llama/L1N7.json", "/tiny-llama/L1N7?side=above", "/tiny-gpt2/L1N7"):
        response = client.get(other, headers={"If-None-Match": etag})
        assert response.status_code == 200
        assert response.headers["ETag"] != etag
    pinned = client.get(f"/tiny-llama@{build(client, 'tiny-llama')}/L1N7")
    assert pinned.headers["Cache-Control"] == "public, max-age=3600"
    assert "ETag" not in client.get("/tiny-llama/L9N9").headers


def test_pages_are_fetched_anew_when_another_atlas_is_served_beside(client, tiny_llama_atlas):
    """They lead to the others."""
    app = create_app([tiny_llama_atlas])
    alone = app.test_client().get("/tiny-llama/token/40")
    beside = client.get("/tiny-llama/token/40", headers={"If-None-Match": alone.headers["ETag"]})
    assert (beside.status_code, alone.data == beside.data) == (200, False)
    app.extensions["atlases"]["tiny-llama"].close()


@pytest.mark.parametrize(
    ("kind", "how"), [("svg", "inline"), ("png", "inline"), ("json", "inline"), ("csv", "attachment")]
)
def test_drawings_are_shown_and_tables_are_saved(client, kind, how):
    answer = client.get(f"/tiny-llama/L1N7.chart.{kind}?chart=histogram")
    assert answer.status_code == 200
    disposition = answer.headers["Content-Disposition"]
    assert re.fullmatch(rf"{how}; filename=l1n7-[a-z0-9-]*histogram\.{kind}", disposition), disposition


def test_full_colour_is_the_neurons_greatest_magnitude(client, tiny_llama_atlas):
    """Of a neuron that is further below zero than above: an eighth of log 16 a level."""
    with duckdb.connect(str(tiny_llama_atlas), read_only=True) as connection:
        name, least = connection.execute(
            "SELECT name, activation_min FROM neuron WHERE -activation_min > 2 * activation_max "
            "AND activation_max > 0.1 ORDER BY neuron_id LIMIT 1"
        ).fetchone()
    text = client.get(f"/tiny-llama/{name}").text + client.get(f"/tiny-llama/{name}/part/rest").text
    peaks = re.findall(r'<i class="([pn])([1-8]) peak" title="([^"]+)"', text)
    assert {("p", "8"), ("n", "8")} & {peak[:2] for peak in peaks} == {("n", "8")}
    for sign, level, shown in peaks:
        value = float(shown.replace("−", "-"))
        eighths = 8 * math.log(1 + 15 * abs(value / least)) / math.log(16)
        assert sign == ("p" if value > 0 else "n")
        assert eighths - 0.01 <= int(level) < eighths + 1.01, value


def test_an_octaves_share_is_of_all_positions(client, tiny_llama_atlas):
    data = client.get("/tiny-llama/L1N7.json").json["texts"]["intervals"]
    assert len(data) > 2
    with duckdb.connect(str(tiny_llama_atlas), read_only=True) as connection:
        (total,) = connection.execute("SELECT n_positions FROM atlas").fetchone()
        for item in data:
            low = -math.inf if item["lower"] is None else item["lower"]
            high = math.inf if item["upper"] is None else item["upper"]
            (n,) = connection.execute(
                "SELECT sum(n)::INTEGER FROM activation_histogram JOIN histogram_bin USING (bin) "
                "JOIN neuron USING (neuron_id) WHERE name = 'L1N7' AND lower >= ? AND upper <= ?",
                [low, high],
            ).fetchone()
            assert (item["n_positions"], item["fraction"]) == (n, n / total)


def test_pages_made_by_another_program_are_fetched_anew(client, monkeypatch, tmp_path):
    """After an upgrade the build is the same and the page is not."""
    held = client.get("/tiny-llama/L1N7").headers["ETag"]
    _, digest, _ = held.split("-")
    assert re.fullmatch(r"[0-9a-f]{12}", digest)
    monkeypatch.setattr(caching, "program_digest", lambda: "0123456789ab")
    response = client.get("/tiny-llama/L1N7", headers={"If-None-Match": held})
    assert response.status_code == 200
    assert response.headers["ETag"] == held.replace(digest, "0123456789ab")
    assert client.get("/tiny-llama/L1N7", headers={"If-None-Match": response.headers["ETag"]}).status_code == 304


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("web/site/page.py", True),
        ("web/views/neuron.py", True),
        ("web/templates/a.html", True),
        ("web/static/a.css", True),
        ("web/static/a.js", True),
        ("atlas/topics/a.py", True),
        ("web/static/a.png", False),
    ],
)
def test_whatever_makes_a_page_is_in_the_programs_digest(monkeypatch, tmp_path, name, part):
    for package in ("web", "atlas"):
        (tmp_path / package).mkdir()
    monkeypatch.setattr(caching.web, "__file__", str(tmp_path / "web" / "__init__.py"))
    monkeypatch.setattr(caching.atlas, "__file__", str(tmp_path / "atlas" / "__init__.py"))
    of_none = caching.program_digest.__wrapped__()
    file = tmp_path / name
    file.parent.mkdir(exist_ok=True, parents=True)
    file.write_text("a")
    one = caching.program_digest.__wrapped__()
    file.write_text("b")
    assert (len({of_none, one, caching.program_digest.__wrapped__()}) == 3) == part


def test_answers_are_compressed_for_those_who_can_read_them(client):
    plain = client.get("/tiny-llama/L1N7")
    assert "Content-Encoding" not in plain.headers
    for encoding in ("gzip", "br"):
        response = client.get("/tiny-llama/L1N7", headers={"Accept-Encoding": encoding})
        assert response.headers["Content-Encoding"] == encoding
        assert response.headers["Vary"] == "Accept-Encoding"
        assert len(response.data) < len(plain.data) / 3
        assert response.headers["ETag"] == plain.headers["ETag"]
    packed = client.get("/tiny-llama/L1N7", headers={"Accept-Encoding": "gzip"}).data
    assert gzip.decompress(packed) == plain.data
