"""What other sites show of this one: embeds in their frames, oEmbed, and the script that makes links of names."""

from __future__ import annotations

import math
import re
import threading
from pathlib import Path
from urllib.parse import urlencode, urlsplit
from xml.etree import ElementTree

import numpy as np
import pytest

from atlas.core.display import show_number
from atlas.topics.neuron_columns import COLUMN
from tests.html_reader import Reader, squeezed
from web.sections.neuron import SECTIONS
from web.site import urls
from web.views import embed

NEURON, TOKEN = "/tiny-llama/L1N7", "/tiny-llama/token/5"
PAGES = [
    "/",
    "/search",
    "/glossary",
    "/api",
    "/tiny-llama",
    "/tiny-llama/neurons",
    "/tiny-llama/L1",
    NEURON,
    TOKEN,
    "/tiny-llama/L1N7/tokens",
    "/tiny-llama/L1N7/similar",
    "/tiny-llama/token/5/neurons",
    "/tiny-llama/pairs",
    "/tiny-llama/exclusive",
    "/tiny-llama/hubs",
    "/tiny-llama/glossary",
    "/tiny-llama/compare?n=L1N7&n=L2N3",
    "/tiny-llama/list?n=L1N7~a%20note&n=L2N3",
    "/tiny-llama/sql",
    "/tiny-gpt2/L1N95",
]
ROW = re.compile(
    r'<tr><td class="n dim">(\d+)</td><td><a [^>]*href="([^"]+)"[^>]*>.*?</td><td class="n">(.*?)</td></tr>'
)


def oembed(client, address, **parameters):
    return client.get(f"/oembed?{urlencode({'url': address, **parameters})}")


def plain(html):
    """Text of a piece of HTML."""
    return re.sub(r"<[^>]+>", "", html)


# --- frames


@pytest.mark.parametrize("url", [*PAGES, "/nowhere", f"{NEURON}.json", "/oembed?url=x", "/embedded", "/embed"])
def test_the_site_may_not_be_framed(client, url):
    assert "frame-ancestors 'none'" in client.get(url).headers["Content-Security-Policy"]


@pytest.mark.parametrize("page", [NEURON, TOKEN, "/tiny-gpt2/L1N95", "/tiny-gpt2/token/300"])
def test_every_panel_may_be_framed_and_runs_nothing(client, page):
    panels, links = client.get(f"{page}.json").json["panels"], set()
    for url in (f"/embed{page}", *(f"/embed{page}/{panel}" for panel in panels)):
        response = client.get(url)
        assert response.status_code == 200, url
        policy = response.headers["Content-Security-Policy"]
        assert re.search(r"frame-ancestors \*(;|$)", policy)
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert "script" not in policy
        assert "X-Frame-Options" not in response.headers
        assert "Set-Cookie" not in response.headers
        reader = Reader(response.text)
        assert reader.inline == []
        assert not {"script", "form", "iframe", "nav"} & set(reader.tags)
        assert '<base target="_blank">' in response.text
        assert page in reader.links
        assert len(response.data) < 100_000
        links |= set(reader.links)
    for link in sorted(links)[::9]:
        assert client.get(urlsplit(link).path, buffered=True).status_code == 200, link


def test_themes(client):
    found = {theme: client.get(f"/embed{NEURON}?theme={theme}").text for theme in ("auto", "light", "dark")}
    assert "data-theme" not in found["auto"]
    assert '<html lang="en" data-theme="dark">' in found["dark"]
    assert '<meta name="color-scheme" content="dark">' in found["dark"]
    assert '<html lang="en" data-theme="light">' in found["light"]
    assert found["auto"] == client.get(f"/embed{NEURON}").text
    wrong = client.get(f"/embed{NEURON}?theme=red")
    assert wrong.status_code == 400
    assert "expected one of auto, light, dark" in plain(wrong.text)


@pytest.mark.parametrize(
    ("url", "said"),
    [
        (
            f"/embed{NEURON}/nothing",
            "L1N7 has no panel 'nothing' to embed; it has verdict, writes, predicts, texts, causes, threshold,",
        ),
        (
            f"/embed{TOKEN}/writes",
            "it has firing, relatives, neurons, curves, causes, texts, pairs, spellings, candidates, studies, family,",
        ),
        ("/embed/tiny-llama/L9N7", "There is no layer 9"),
        ("/embed/tiny-llama/L1N7777777/fires", "There is no neuron 7777777"),
        ("/embed/tiny-llama/token/99999999", "99999999"),
        ("/embed/nowhere/L1N7", "There is no atlas 'nowhere' here"),
        ("/embed/tiny-llama@000000000000/L1N7", "Build 000000000000 of 'tiny-llama' is not served here"),
        ("/embed/tiny-llama/%3Cscript%3E", "is not a neuron name"),
    ],
)
def test_what_is_not_there_says_so_in_the_frame(client, url, said):
    response = client.get(url)
    assert response.status_code == 404
    text = response.text.replace("&#39;", "'")
    assert said in text
    assert re.search(r"frame-ancestors \*", response.headers["Content-Security-Policy"])
    reader = Reader(response.text)
    assert "form" not in reader.tags
    assert "script" not in reader.tags
    if "000000000000" in url:
        assert "/embed/tiny-llama/L1N7" in reader.links


def test_spellings_pins_and_validators(client):
    for url, location in (
        ("/embed/tiny-llama/1.7?theme=dark", f"/embed{NEURON}?theme=dark"),
        ("/embed/tiny-llama/1/7", f"/embed{NEURON}"),
        ("/embed/tiny-llama/l01n007/fires", f"/embed{NEURON}/fires"),
    ):
        response = client.get(url)
        assert (response.status_code, response.location) == (301, location)
    build = client.get("/tiny-llama.json").json["build_id"]
    pinned = client.get(f"/embed/tiny-llama@{build}/L1N7/writes")
    assert pinned.status_code == 200
    assert "max-age" in pinned.headers["Cache-Control"]
    inside = [link for link in Reader(pinned.text).links if link.startswith("/tiny-llama")]
    assert inside
    assert all(link.startswith(f"/tiny-llama@{build}") for link in inside)
    held = client.get(f"/embed{NEURON}", headers={"If-None-Match": client.get(f"/embed{NEURON}").headers["ETag"]})
    assert held.status_code == 304
    assert client.get(f"/embed{NEURON}/writes.json").json == client.get(f"{NEURON}.json").json
    assert client.get(f"/embed{NEURON}.card.png").data == client.get(f"{NEURON}.card.png").data


# --- what is in them


@pytest.mark.parametrize("page", [NEURON, "/tiny-gpt2/L0N11"])
def test_panels_of_a_neuron_show_the_data_of_its_page(client, page):
    data = client.get(f"{page}.json").json
    slug = page.split("/")[1]

    def rows(panel):
        return ROW.findall(squeezed(client.get(f"/embed{page}/{panel}").text))

    expected = [
        (str(item["rank"]), f"/{slug}/token/{item['token']['token_id']}", show_number(item["congruence"]))
        for item in sorted(
            data["best_tokens"] + data["worst_tokens"],
            key=lambda item: (item["direction"] == "top") == (data["verdict"]["side"] == "negative"),
        )
    ]
    assert [(rank, link, plain(value)) for rank, link, value in rows("writes")] == expected
    reads = [
        (str(item["rank"]), show_number(item["value"]))
        for side in ("in", "gate")
        for direction in ("top", "bottom")
        for item in data["input_tokens"]
        if (item["side"], item["direction"]) == (side, direction)
    ]
    assert [(rank, plain(value)) for rank, _, value in rows("reads")] == reads
    numbers = squeezed(client.get(f"/embed{page}/numbers").text)
    for name, standing in data["percentiles"].items():
        if data["neuron"][name] is not None:
            row = re.search(
                rf'>{COLUMN[name].label}</span></th><td class="n"[^>]*>(.*?)</td><td class="n(?: far)?">(.*?)</td>',
                numbers,
            )
            assert row[1] == COLUMN[name].show(data["neuron"][name])
            assert float(row[2]) == math.floor(standing["layer"] * 1000) / 10
    texts = "".join(squeezed(client.get(f"/embed{page}/{panel}").text) for panel in ("texts", "guard"))
    stored = data["texts"]["maximum"] + data["texts"]["minimum"]
    stored += [example for interval in data["texts"]["intervals"] for example in interval["examples"]]
    values = sorted(np.float32(value) for value in re.findall(r'<span class="value [^"]*" title="([^"]+)">', texts))
    assert values == sorted(np.float32(example["activation"]) for example in stored)
    counted = client.get(f"/embed{page}/candidates").text
    links = re.findall(rf'href="/{slug}/token/(\d+)"', counted)
    assert links == [str(candidate["token"]["token_id"]) for candidate in data["candidates"]]
    alike = squeezed(client.get(f"/embed{page}/alike").text)
    similar = client.get(f"{page}/similar.json").json["similar"][:8]
    assert re.findall(rf'href="/{slug}/(L\d+N\d+)">\1</a></td>', alike) == [item["neuron"]["name"] for item in similar]
    glance = client.get(f"/embed{page}").text
    assert data["texts"]["maximum"][0]["predicted"]["shown"] in glance
    for token in data["best_tokens"][:8] + data["worst_tokens"][:8]:
        assert f'href="/{slug}/token/{token["token"]["token_id"]}"' in glance


def test_panels_of_a_token_show_the_data_of_its_page(client):
    data = client.get(f"{TOKEN}.json").json
    expected = [
        (str(item["rank"]), f"/tiny-llama/{item['neuron']['name']}", show_number(item["congruence"]))
        for item in data["best_neurons"] + data["worst_neurons"]
    ]
    found = ROW.findall(squeezed(client.get(f"/embed{TOKEN}/neurons").text))
    assert [(rank, link, plain(value)) for rank, link, value in found] == expected
    counted = re.findall(
        r'<tr><td><a class="unit" href="/tiny-llama/(L\d+N\d+)">',
        squeezed(client.get(f"/embed{TOKEN}/candidates").text),
    )
    assert counted == [candidate["neuron"]["name"] for candidate in data["candidates"]]


def test_the_histogram_is_drawn_as_it_is(client):
    data = client.get(f"{NEURON}.json").json["histogram"]
    drawing = re.search(r"<svg.*?</svg>", client.get(f"/embed{NEURON}/fires").text)[0]
    found = [
        (bar.get("class"), float(bar.get("x")), float(bar.get("height")))
        for bar in ElementTree.fromstring(drawing).iter("rect")
    ]
    assert len(found) == len(data)
    assert sorted(found, key=lambda bar: bar[1]) == found
    tallest = max(height for _, _, height in found)
    most = max(bar["n"] for bar in data)
    for (kind, _, height), bar in zip(found, data, strict=True):
        assert height / tallest == pytest.approx(math.log(1 + bar["n"]) / math.log(1 + most), abs=0.002)
        sign = "neg" if bar["lower"] is None or bar["lower"] < bar["upper"] <= 0 else "pos"
        assert kind == ("zero" if bar["lower"] is not None and bar["lower"] < 0 < bar["upper"] else sign)


def test_curves_are_drawn_as_they_are(client):
    # The neuron of this atlas whose first curve has the most predictions.
    names = [f"L{layer}N{index}" for layer in range(3) for index in range(0, 48, 12)]
    pages = [client.get(f"/tiny-llama/{name}.json").json for name in names]
    data = max(pages, key=lambda page: sum(point["n_predicted"] for point in page["curves"][0]["points"]))
    points = data["curves"][0]["points"]
    assert sum(point["n_predicted"] for point in points) > 0
    drawing = re.findall(r"<svg.*?</svg>", client.get(f"/embed/tiny-llama/{data['title']}").text)[1]
    tree = ElementTree.fromstring(drawing)
    line = next(path.get("d") for path in tree.iter("path") if path.get("class") == "line s1")
    places = [tuple(map(float, point.split())) for point in line[1:].split("L")]
    assert len(places) == len(points)
    assert places == sorted(places)
    floor = max(y for _, y in places)
    label = next(text for text in reversed(list(tree.iter("text"))) if text.text.endswith("%"))
    grid = [path.get("d") for path in tree.iter("path") if path.get("class") == "grid"][-1]
    top, at = float(label.text[:-1]) / 100, float(re.match(r"M\S+ (\S+)H", grid)[1])
    for (_, y), point in zip(places, points, strict=True):
        fraction = point["n_predicted"] / point["n"]
        drawn = (floor - y) / (floor - at) * top
        assert drawn == pytest.approx(fraction, abs=0.002)
    intervals = [path for path in tree.iter("path") if path.get("class") == "interval s1"]
    assert len(intervals) == sum(point["n_predicted"] > 0 for point in points)


def test_hostile_tokens_are_text_in_a_frame(client):
    found = client.get("/search.json?atlas=tiny-llama&q=<script>alert(1)</script>", follow_redirects=True).json
    url = f"/embed{found['url']}"
    for panel in ("", "/neurons", "/candidates"):
        text = client.get(url + panel).text
        assert "<script" not in text
        assert "&lt;script&gt;alert(1)&lt;/script&gt;" in text


# --- oEmbed


def test_a_neuron_by_oembed(client):
    said = oembed(client, f"http://localhost{NEURON}")
    assert said.mimetype == "application/json"
    assert said.headers["Access-Control-Allow-Origin"] == "*"
    found = said.json
    assert found["version"] == "1.0"
    assert found["type"] == "rich"
    assert found["title"].startswith("L1N7 ")
    assert found["provider_name"] == "Neuron Atlas"
    assert found["provider_url"] == "http://localhost/"
    assert isinstance(found["cache_age"], int)
    assert (found["width"], found["height"]) == (600, 420)
    frame = ElementTree.fromstring(found["html"])
    assert frame.tag == "iframe"
    assert frame.get("src") == f"http://localhost/embed{NEURON}"
    assert (frame.get("width"), frame.get("height")) == ("600", "420")
    assert (found["thumbnail_width"], found["thumbnail_height"]) == (1200, 630)
    assert client.get(urlsplit(found["thumbnail_url"]).path).mimetype == "image/png"
    address = f"/oembed?{urlencode({'url': f'http://localhost{NEURON}'})}"
    held = client.get(address, headers={"If-None-Match": said.headers["ETag"]})
    assert held.status_code == 304


@pytest.mark.parametrize("page", PAGES)
def test_sizes_are_honoured(client, page):
    for parameters in (
        {},
        {"maxwidth": 300},
        {"maxheight": 100},
        {"maxwidth": 5000, "maxheight": 5000},
        {"maxwidth": 1},
    ):
        found = oembed(client, f"http://localhost{page}", **parameters).json
        width, height = parameters.get("maxwidth", math.inf), parameters.get("maxheight", math.inf)
        assert 1 <= found["width"] <= width
        assert 1 <= found["height"] <= height
        shown = ElementTree.fromstring(found["html"].replace("></a>", "/></a>"))
        shown = shown if shown.tag == "iframe" else shown.find("img")
        assert (int(shown.get("width")), int(shown.get("height"))) == (found["width"], found["height"])
        # A thumbnail comes whole or not at all, and within the limits too.
        assert {name in found for name in ("thumbnail_url", "thumbnail_width", "thumbnail_height")} == {
            width >= 1200 and height >= 630
        }
        source = urlsplit(shown.get("src"))
        assert client.get(f"{source.path}?{source.query}").status_code == 200
    assert ("iframe" in found["html"]) == urls.has_embed(page)


def test_other_spellings_of_an_address(client):
    build = client.get("/tiny-llama.json").json["build_id"]
    expected = {
        "http://localhost/tiny-llama/1.7": f"/embed{NEURON}",
        "https://LOCALHOST:443/tiny-llama/1/7": f"/embed{NEURON}",
        "http://localhost/tiny-llama/l01n007?token=5#texts": f"/embed{NEURON}?token=5",
        f"http://localhost/tiny-llama@{build}/L1N7": f"/embed/tiny-llama@{build}/L1N7",
        "http://localhost/tiny-llama/token/5-an": f"/embed{TOKEN}",
        f"http://localhost/embed{NEURON}/fires?theme=dark": f"/embed{NEURON}/fires?theme=dark",
    }
    for address, source in expected.items():
        response = oembed(client, address)
        if response.status_code == 404 and "token=5" in address:
            continue  # the pair was not counted in this atlas: as its page would say
        assert ElementTree.fromstring(response.json["html"]).get("src") == f"http://localhost{source}", address


@pytest.mark.parametrize(
    ("address", "parameters", "status"),
    [
        ("http://elsewhere/tiny-llama/L1N7", {}, 404),
        ("http://localhost.evil/tiny-llama/L1N7", {}, 404),
        ("http://localhost@evil/tiny-llama/L1N7", {}, 404),
        ("http://localhost:81/tiny-llama/L1N7", {}, 404),
        ("http://localhost/nowhere", {}, 404),
        ("http://localhost/tiny-llama/L9N9", {}, 404),
        ("http://localhost/tiny-llama@000000000000/L1N7", {}, 404),
        ("http://localhost/static/atlas.css", {}, 404),
        ("http://localhost/tiny-llama/random", {}, 404),
        ("http://localhost/oembed?url=http://localhost/", {}, 404),
        ("http://localhost/sitemap.xml", {}, 404),
        ("/tiny-llama/L1N7", {}, 400),
        ("ftp://localhost/tiny-llama/L1N7", {}, 400),
        ("http://[", {}, 400),
        ("http://localhost:x/", {}, 400),
        ("", {}, 400),
        (f"http://localhost{NEURON}", {"maxwidth": "0"}, 400),
        (f"http://localhost{NEURON}", {"maxheight": "wide"}, 400),
        (f"http://localhost{NEURON}", {"format": "yaml"}, 501),
    ],
)
def test_what_oembed_refuses(client, address, parameters, status):
    response = oembed(client, address, **parameters)
    assert response.status_code == status
    assert list(response.json) == ["error"]
    assert response.json["error"]["message"]


def test_oembed_in_xml(client):
    found = client.get("/search.json?atlas=tiny-llama&q=<script>alert(1)</script>", follow_redirects=True).json
    address = f"http://localhost{found['url']}"
    response = oembed(client, address, format="xml")
    assert response.mimetype == "text/xml"
    tree = ElementTree.fromstring(response.data)
    assert tree.tag == "oembed"
    data = oembed(client, address).json
    assert {item.tag: item.text for item in tree} == {name: str(value) for name, value in data.items()}
    assert "<script" not in data["html"]
    assert "<script>" in data["title"]


@pytest.mark.parametrize("page", PAGES)
def test_discovery_leads_to_the_answer(client, page):
    text = client.get(page).text
    title = re.search(r'<meta property="og:title" content="([^"]*)">', text)[1].replace("&#39;", "'")
    for kind in ("application/json", "text/xml"):
        link = re.search(rf'<link rel="alternate" type="{re.escape(kind)}\+oembed" href="([^"]+)"', text)[1]
        parts = urlsplit(link.replace("&amp;", "&"))
        assert parts.netloc == "localhost"
        response = client.get(f"{parts.path}?{parts.query}")
        assert (response.status_code, response.mimetype) == (200, kind)
        if kind == "application/json":
            assert response.json["title"].startswith(title)


# --- autolink, and frames, in a real browser


class Blog:
    """Pages of another origin."""

    def __init__(self):
        from werkzeug.serving import make_server

        self.pages, self.headers = {}, {}
        self.server = make_server("127.0.0.1", 0, self, threaded=True)
        self.thread = threading.Thread(target=self.server.serve_forever, daemon=True)
        self.thread.start()
        self.address = f"http://127.0.0.1:{self.server.server_port}"

    def __call__(self, environ, start):
        path = environ["PATH_INFO"]
        start("200 OK", [("Content-Type", "text/html; charset=utf-8"), *self.headers.get(path, {}).items()])
        return [self.pages.get(path, "").encode()]

    def page(self, path, body, policy=None):
        self.pages[path] = f'<!doctype html><link rel="icon" href="data:,"><title>A blog</title>{body}'
        self.headers[path] = {"Content-Security-Policy": policy} if policy else {}
        return self.address + path


@pytest.fixture(scope="module")
def blog():
    blog = Blog()
    yield blog
    blog.server.shutdown()
    blog.server.server_close()
    blog.thread.join()


def test_the_script_for_blogs_has_a_lasting_address(client):
    response = client.get("/static/autolink.js", buffered=True)
    assert response.mimetype == "text/javascript"
    assert response.headers["Cache-Control"] == "public, max-age=3600"
    assert len(response.data) < 10_000
    held = client.get("/static/autolink.js", headers={"If-None-Match": response.headers["ETag"]})
    assert held.status_code == 304


def test_another_site_shows_embeds_and_nothing_else(tab, site, blog):
    frames = "".join(
        f'<iframe id="{name}" src="{site}{path}" width="280" height="300" sandbox="allow-popups '
        'allow-popups-to-escape-sandbox"></iframe>'
        for name, path in (("embed", f"/embed{NEURON}?theme=dark"), ("page", NEURON))
    )
    tab.goto(blog.page("/frames", frames))
    framed = tab.frame_locator("#embed")
    framed.locator("h1").wait_for()
    assert framed.locator("h1").inner_text() == "L1N7"
    assert framed.locator("svg.drawn").count() == 2
    body = framed.locator("body")
    assert body.evaluate("node => getComputedStyle(node).backgroundColor") == "rgb(22, 22, 26)"
    assert body.evaluate("() => document.documentElement.scrollWidth <= innerWidth")
    assert tab.frame_locator("#page").locator("header.site").count() == 0  # it is the browser's own word on it
    assert all("frame-ancestors" in said for said in tab.said), tab.said
    assert tab.said
    with tab.expect_popup() as opened:
        framed.locator("h1 a").click()
    opened.value.wait_for_load_state()
    assert opened.value.url == site + NEURON
    assert opened.value.evaluate("() => document.documentElement.classList.contains('scripted')")


POST = """<body style="margin: 2rem; {style}">
<script src="{site}/static/autolink.js" data-atlas="tiny-llama" defer></script>
<p id="text">The neurons L1N7 and L2N3, not XL1N7 or L1N7x.</p>
<p><code>L1N8</code> <a href="#x">L1N9</a> <span data-atlas="none">L1N10</span> <textarea>L1N11</textarea></p>
<p id="other" data-atlas="{site}/tiny-gpt2">Another model: L1N95. <code data-atlas-code>L0N2</code></p>
<p id="missing">No such neuron: L99N1.</p><p id="later"></p></body>"""


@pytest.mark.parametrize(
    ("style", "ground"), [("", "rgb(253, 252, 249)"), ("background: #111; color: #ddd", "rgb(22, 22, 26)")]
)
def test_names_become_links_with_cards(tab, site, blog, style, ground):
    policy = f"script-src {site}; connect-src {site}; frame-src {site}"
    policy += "; default-src 'none'; img-src data:; style-src 'unsafe-inline'"
    asked = []
    tab.on("request", lambda request: asked.append(request.url))
    address = blog.page("/post", POST.format(site=site, style=style), policy)
    tab.goto(address)
    tab.locator("a.neuron-atlas").first.wait_for()
    links = {link.inner_text(): link.get_attribute("href") for link in tab.locator("a.neuron-atlas").all()}
    assert links == {
        "L1N7": f"{site}/tiny-llama/L1N7",
        "L2N3": f"{site}/tiny-llama/L2N3",
        "L1N95": f"{site}/tiny-gpt2/L1N95",
        "L0N2": f"{site}/tiny-gpt2/L0N2",
        "L99N1": f"{site}/tiny-llama/L99N1",
    }
    assert tab.locator("#text").inner_text() == "The neurons L1N7 and L2N3, not XL1N7 or L1N7x."
    # Nothing is loaded before a link is pointed at.
    assert [url for url in asked if not url.startswith("data:")] == [address, f"{site}/static/autolink.js"]

    link, card = tab.locator("#text a").first, tab.locator("#neuron-atlas-card")
    link.hover()
    card.wait_for(state="attached")
    best = tab.request.get(f"{site}{NEURON}.json").json()["best_tokens"][0]["token"]["shown"]
    assert card.text_content().startswith(f"L1N7 writes {best}")
    frame = tab.frame_locator("iframe")
    frame.locator("h1").wait_for()
    assert frame.locator("h1").inner_text() == "L1N7"
    assert frame.locator("body").evaluate("node => getComputedStyle(node).backgroundColor") == ground
    tab.mouse.move(5, 5)
    card.wait_for(state="detached")

    # By the keyboard.
    link.focus()
    card.wait_for(state="attached")
    assert link.get_attribute("aria-describedby") == "neuron-atlas-card"
    tab.keyboard.press("Escape")
    card.wait_for(state="detached")
    assert link.get_attribute("aria-describedby") is None
    tab.locator("#other a").first.focus()
    card.wait_for(state="attached")
    assert card.text_content().startswith("L1N95 writes ")
    assert any("tiny-gpt2" in url for url in asked)

    # What comes later is linked when asked for; without an answer a link is only a link.
    tab.evaluate("() => { document.querySelector('#later').textContent = 'See L0N3.'; neuronAtlas.scan(); }")
    assert tab.locator("#later a").get_attribute("href") == f"{site}/tiny-llama/L0N3"
    assert tab.locator("#text a").count() == 2
    assert tab.said == []
    tab.keyboard.press("Escape")
    card.wait_for(state="detached")
    with tab.expect_response("**/neurons/L99N1/tokens*"):
        tab.locator("#missing a").hover()
    tab.wait_for_timeout(100)
    assert card.count() == 0
    tab.said.clear()  # the browser's own word on the 404


def test_links_stay_when_the_host_is_down(tab, site, blog):
    tab.goto(blog.page("/down", POST.format(site=site, style="")))
    link = tab.locator("#text a").first
    link.wait_for()
    tab.route(f"{site}/**", lambda route: route.abort())
    link.hover()
    tab.wait_for_timeout(600)
    assert tab.locator("#neuron-atlas-card").count() == 0
    assert link.get_attribute("href") == f"{site}/tiny-llama/L1N7"
    tab.said.clear()  # the browser's own word on the requests


# --- the documentation


def test_examples_of_the_documentation_hold(client, app):
    """Every address in docs/linking.md leads somewhere, when it is of an atlas that is served here."""
    text = (Path(__file__).parents[1] / "docs" / "linking.md").read_text(encoding="utf-8")
    build = app.extensions["atlases"]["tiny-llama"].info.build_id
    text = text.replace("2c9d270e6ca1", build).replace("smollm2-135m", "tiny-llama")
    text = text.replace("L24N917", "L1N7").replace("https://atlas.example", "http://localhost")
    found = re.findall(r"http://localhost[^\s\"'`)<>]*", text)
    assert len(found) > 12
    for address in found:
        parts = urlsplit(address)
        response = client.get(f"{parts.path}?{parts.query}" if parts.query else parts.path or "/", buffered=True)
        assert response.status_code == 200, address
    for panel in (*(kind.id for kind in SECTIONS), *embed.TOKEN_PANELS):
        assert f"`{panel}`" in text
