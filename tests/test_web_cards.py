"""Cards: the pictures of pages, and the tags by which forums find them."""

from __future__ import annotations

import struct
from dataclasses import replace
from xml.etree import ElementTree

import pytest

from atlas import open_atlas, queries
from tests.html_reader import Reader
from web.cards import neuron_card, plain_card, token_card

SVG = "{http://www.w3.org/2000/svg}"


def words(card):
    return [element.text for element in ElementTree.fromstring(card.svg).iter(f"{SVG}text")]


def meta(text):
    class Tags(Reader):
        def __init__(self, text):
            self.found = {}
            super().__init__(text)

        def handle_starttag(self, tag, attributes):
            super().handle_starttag(tag, attributes)
            given = dict(attributes)
            if tag == "meta" and "content" in given:
                self.found[given.get("property") or given.get("name")] = given["content"]

    return Tags(text).found


@pytest.mark.parametrize(
    "url", ["/", "/tiny-llama", "/tiny-llama/L1N7", "/tiny-llama/token/5", "/tiny-llama/compare?n=L1N7&n=L2N3",
            "/tiny-llama/pairs", "/tiny-llama/neurons?dead=0", "/tiny-gpt2/L1", "/tiny-llama/study/suite"]
)  # fmt: skip
def test_every_page_has_a_picture_and_says_where(client, url):
    page = client.get(url)
    tags = meta(page.text)
    assert tags["og:title"]
    assert len(tags["og:description"]) > 30
    assert tags["og:description"] == tags["description"]
    assert tags["og:url"].startswith("http://localhost/")
    address = tags["og:image"]
    assert address.startswith("http://localhost/")
    picture = client.get(address.removeprefix("http://localhost"))
    assert (picture.status_code, picture.mimetype) == (200, "image/png")
    assert struct.unpack(">II", picture.data[16:24]) == (1200, 630)
    if url != "/":
        assert "ETag" in picture.headers


def test_what_a_neurons_card_says(tiny_llama_atlas):
    with open_atlas(tiny_llama_atlas) as atlas:
        neuron, bars = queries.neuron(atlas, 55), queries.histogram(atlas, 55)
        best = [token for token in queries.neuron_tokens(atlas, 55) if token.direction == "top"]
        (curve,) = queries.neuron_curves(atlas, 55, queries.neuron_candidates(atlas, 55)[:1], bars)
        top = next(example for example in queries.examples(atlas, 55) if example.kind == "max")
        card = neuron_card(neuron, best, bars, curve, top, "the footer")
        said = words(card)
        assert {neuron.name, "the footer", "Neuron Atlas", "writes"} <= set(said)
        assert best[0].token.shown.replace("␣", "·") in said
        assert any(
            curve.candidate.token.shown.replace("␣", "·") in line for line in said if line.startswith("predicts")
        )
        bars_drawn = ElementTree.fromstring(card.svg).iter(f"{SVG}rect")
        assert sum(1 for _ in bars_drawn) >= 2 * len(bars)
        bare = neuron_card(replace(neuron, token_gap=None), [], [], None, None, "x")
        assert {neuron.name, "token gap –"} <= set(words(bare))
        assert bare.png()[:4] == b"\x89PNG"


def test_hostile_tokens_are_text_on_a_card(tiny_llama_atlas):
    with open_atlas(tiny_llama_atlas) as atlas:
        hostile = ["<script>alert(1)</script>", "</td>", "'\"&amp;", "\u202e"]
        for text in hostile:
            token_id = next(t for t in range(len(atlas.tokens)) if atlas.tokens[t].text == text)
            row = queries.token_row(atlas, token_id)
            said = words(token_card(row, queries.token_neurons(atlas, token_id), [], None, "x"))
            shown = row.token.shown
            assert (shown if len(shown) <= 18 else shown[:17] + "…").replace("␣", "·") in said
        assert words(plain_card("<b>&", "a < b " * 40, "x"))[2] == "<b>&"
