"""How pages are cited, and what programs that read sites find."""

from __future__ import annotations

import html
import re
from urllib.parse import urlsplit
from xml.etree import ElementTree

import duckdb
import pytest

from tests.html_reader import Reader
from web.site.sharing import citations, query_citations
from web.views import crawlers

LOC = "{http://www.sitemaps.org/schemas/sitemap/0.9}loc"


def path(address):
    parts = urlsplit(address)
    assert (parts.scheme, parts.netloc) == ("http", "localhost")
    return parts.path + (f"?{parts.query}" if parts.query else "")


def cited(text):
    """The citations on a page, by name."""
    found = re.findall(
        r'<div class="citation" id="[a-z-]+"><h3>([^<]+)</h3><pre tabindex="0"><code>(.*?)</code>', text, re.DOTALL
    )
    return {name: html.unescape(citation) for name, citation in found}


def test_citations_lead_to_the_pinned_page(client, app):
    info = app.extensions["atlases"]["tiny-llama"].info
    text = client.get("/tiny-llama/L1N7?threshold=0.25").text
    assert f"http://localhost/tiny-llama@{info.build_id}/L1N7?threshold=0.25" in text
    assert Reader(text).inline == []
    found = {c.name: c.text for c in citations("A [b]", "It *says* {so}.", "http://h", "/a_(b)", info)}
    assert found["Link"] == "http://h/a_(b)"
    assert found["Markdown"] == rf"[A \[b\]](http://h/a_%28b%29) of {info.model_name}. It \*says\* {{so}}."
    assert found["BibTeX"].startswith(
        f"@misc{{tiny-llama-a-b-{info.build_id},\n  title = {{A [b], {info.model_name}}},"
    )
    assert info.model_fingerprint in found["BibTeX"]
    assert found["BibTeX"].count("{") == found["BibTeX"].count("}")
    assert "Embed" not in found
    data = re.search(r"curl '(.*)'", cited(text)["curl"])[1]
    assert client.get(path(data)).json["neuron"]["name"] == "L1N7"
    scope = {}
    exec(found["Data, in Python"].replace("urllib.request.urlopen", "len").replace("json.load", "str"), scope)
    assert scope["page"] == str(len("http://h/a_(b).json"))


@pytest.mark.parametrize(("page", "thing"), [("/tiny-llama/L1N7", "neuron"), ("/tiny-llama/token/5", "token")])
def test_a_neuron_and_a_token_are_fetched_and_framed_as_cited(client, site, tiny_llama_atlas, page, thing):
    data = client.get(f"{page}.json").json
    build = data["build_id"]
    found = cited(client.get(page).text)
    frame = ElementTree.fromstring(found["Embed"])
    assert path(frame.get("src")) == "/embed" + page.replace("tiny-llama", f"tiny-llama@{build}")
    assert client.get(path(frame.get("src"))).status_code == 200
    assert frame.get("title").startswith(data["title"])
    assert (frame.get("loading"), frame.get("sandbox")) == ("lazy", "allow-popups allow-popups-to-escape-sandbox")
    scope = {}
    exec(found["Data, in Python"].replace("http://localhost", site), scope)
    with duckdb.connect(str(tiny_llama_atlas), read_only=True) as connection:
        answer = connection.execute(found["Data, in SQL"])
        names, (values,) = [column[0] for column in answer.description], answer.fetchall()
    row = dict(zip(names, values, strict=True))
    if thing == "neuron":
        assert scope["neuron"].best_congruence == data["neuron"]["best_congruence"]
        assert row["neuron"] == scope["neuron"].name == "L1N7"
        said = re.sub(r"\\(?=[^\w\s])", "", found["Markdown"])
        assert f"[L1N7](http://localhost/tiny-llama@{build}/L1N7)" in found["Markdown"]
        assert data["verdict"]["token"]["shown"] in said
    else:
        assert scope["token"].best_congruence == data["row"]["best_congruence"]
        assert row["token_id"] == 5


def test_the_site_map_has_every_page_once(client, app, monkeypatch):
    monkeypatch.setattr(crawlers, "PER_PART", 150)
    parts = [item.text for item in ElementTree.fromstring(client.get("/sitemap.xml").data).iter(LOC)]
    found = [item.text for part in parts for item in ElementTree.fromstring(client.get(path(part)).data).iter(LOC)]
    expected = sum(
        atlas.info.n_neurons + atlas.info.d_vocab + atlas.info.n_layers + 13
        for atlas in app.extensions["atlases"].values()
    )
    assert len(found) == len(set(found)) == expected
    for address in found[:: len(found) // 25]:
        response = client.get(path(address))
        assert response.status_code == 200, address
        # The address of the page itself, which its own state in full is a form of.
        assert (
            client.get(path(address).replace("?", ".json?") + ("" if "?" in address else ".json"))
            .json["url"]
            .startswith(path(address))
        )
    for missing in ("/sitemap/tiny-llama-99.xml", "/sitemap/nowhere-0.xml"):
        assert client.get(missing).status_code == 404


@pytest.mark.parametrize("url", ["/robots.txt", "/llms.txt"])
def test_addresses_for_programs_lead_somewhere(client, url):
    text = client.get(url).text
    addresses = re.findall(r"http://localhost[^\s)]*?(?=[.)]?(?:\s|\)|$))", text)
    assert addresses
    for address in addresses:
        assert client.get(path(address)).status_code == 200, address


@pytest.mark.parametrize(
    ("sql", "parameters", "rows"),
    [
        ("SELECT name FROM neuron WHERE name = :name -- one's own", {"name": "L1N7"}, [("L1N7",)]),
        ("SELECT :a AS a, :b AS b", {"a": "it's '' \"so\"", "b": "'; DROP TABLE neuron; --"}, None),
        ("SELECT '\\' AS a, '\"\"\"' AS b", {}, [("\\", '"""')]),
        ('SELECT 1 AS "a"', {}, [(1,)]),
    ],
)
def test_a_cited_query_asks_the_file_itself_the_same(tiny_llama_atlas, monkeypatch, sql, parameters, rows):
    """In SQL and in Python, whatever is quoted in the statement and in what is typed."""
    expected = rows or [tuple(parameters.values())]
    in_sql, in_python = (citation.text for citation in query_citations("tiny-llama", sql, parameters))
    with duckdb.connect(str(tiny_llama_atlas), read_only=True) as connection:
        assert connection.execute(in_sql).fetchall() == expected
    monkeypatch.chdir(tiny_llama_atlas.parent)
    scope = {}
    exec(in_python, scope)
    scope["file"].close()
    assert scope["rows"] == expected
