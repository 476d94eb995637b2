"""How pages are cited, and what programs that read sites find."""

from __future__ import annotations

import re
from urllib.parse import urlsplit
from xml.etree import ElementTree

import pytest

from tests.html_reader import Reader
from web.sharing import citations
from web.views import crawlers

LOC = "{http://www.sitemaps.org/schemas/sitemap/0.9}loc"


def path(address):
    parts = urlsplit(address)
    assert (parts.scheme, parts.netloc) == ("http", "localhost")
    return parts.path + (f"?{parts.query}" if parts.query else "")


def test_citations_lead_to_the_pinned_page(client, app):
    info = app.extensions["atlases"]["tiny-llama"].info
    text = client.get("/tiny-llama/L1N7?context=window").text
    assert f"http://localhost/tiny-llama@{info.build_id}/L1N7?context=window" in text
    assert Reader(text).inline == []
    found = {c.name: c.text for c in citations("A [b]", "It says {so}.", "http://h/a_(b)", "http://h/a.json", info)}
    assert found["Address"] == "http://h/a_(b)"
    assert found["Markdown"] == rf"[A \[b\]](http://h/a_%28b%29) of {info.model_name}. It says {{so}}."
    assert found["BibTeX"].startswith(
        f"@misc{{tiny-llama-a-b-{info.build_id},\n  title = {{A [b], {info.model_name}}},"
    )
    assert info.model_fingerprint in found["BibTeX"]
    assert found["BibTeX"].count("{") == found["BibTeX"].count("}")
    data = re.search(r"curl &#39;(http[^&]*)", text)[1].replace("&amp;", "&")
    assert client.get(path(data)).json["neuron"]["name"] == "L1N7"
    scope = {}
    exec(found["Data, in Python"].replace("urllib.request.urlopen", "len").replace("json.load", "str"), scope)
    assert scope["page"] == str(len("http://h/a.json"))


def test_the_site_map_has_every_page_once(client, app, monkeypatch):
    monkeypatch.setattr(crawlers, "PER_PART", 150)
    parts = [item.text for item in ElementTree.fromstring(client.get("/sitemap.xml").data).iter(LOC)]
    found = [item.text for part in parts for item in ElementTree.fromstring(client.get(path(part)).data).iter(LOC)]
    expected = sum(
        atlas.info.n_neurons + atlas.info.d_vocab + atlas.info.n_layers + 6
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
