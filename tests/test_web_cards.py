"""Cards: the pictures of pages, and the tags by which forums find them."""

from __future__ import annotations

import re
import struct
from dataclasses import replace
from xml.etree import ElementTree

import pytest

from atlas import open_atlas
from atlas.core.units import NeuronRef, Token
from atlas.topics.curve import Candidate, Curve, CurvePoint, HistogramBar
from atlas.topics.example import Example
from atlas.topics.neuron import CongruentToken, find_neuron
from atlas.topics.study.records import LensJump, StudyNeuron, StudyNeurons, StudyStep
from atlas.topics.study.study import find_study
from atlas.topics.token import CongruentNeuron, token_neurons, token_row
from tests.html_reader import Reader
from web.cards.neuron import neuron_card
from web.cards.plain import plain_card
from web.cards.study import study_card
from web.cards.token import token_card
from web.charts.theme import colours

SVG = "{http://www.w3.org/2000/svg}"


def words(card):
    return [element.text for element in ElementTree.fromstring(card.svg).iter(f"{SVG}text")]


def placed(card):
    """Where each text is: left end (or right end, for one that ends there) and foot."""
    return {
        element.text: (element.get("x"), element.get("y"), element.get("text-anchor"))
        for element in ElementTree.fromstring(card.svg).iter(f"{SVG}text")
    }


def boxes(card, left, top, width, height):
    """Rectangles inside a box: x, y, height, and the name of their colour."""
    names = {light: name for name, (light, _) in reversed(colours().items())}
    for element in ElementTree.fromstring(card.svg).iter(f"{SVG}rect"):
        x, y, tall = (float(element.get(name) or 0) for name in ("x", "y", "height"))
        if left <= x < left + width and top <= y <= top + height and tall <= height:
            yield x, y, tall, names[element.get("fill")]


def token(token_id, text):
    return Token(token_id, text, text.encode(), False)


def neuron_ref(layer, index, d_mlp=48):
    return NeuronRef(layer * d_mlp + index, layer, index, f"L{layer}N{index}")


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
    "url",
    [
        "/",
        "/tiny-llama",
        "/tiny-llama/L1N7",
        "/tiny-llama/token/5",
        "/tiny-llama/compare?n=L1N7&n=L2N3",
        "/tiny-llama/pairs",
        "/tiny-llama/neurons?dead=0",
        "/tiny-gpt2/L1",
        "/tiny-llama/study/suite",
    ],
)
def test_every_page_has_a_picture_and_says_where(client, url):
    page = client.get(url)
    tags = meta(page.text)
    assert tags["og:title"]
    if url.startswith("/tiny-llama/token/"):  # it names the neuron
        assert re.fullmatch(r"Token \S+: L\d+N\d+ (predicts it|writes it most) · .+", tags["og:title"])
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
    """Every number from a made-up neuron: 7 and 63 positions are log 8 and log 64, half and all of the height."""
    with open_atlas(tiny_llama_atlas) as atlas:
        neuron = replace(find_neuron(atlas, 55), best_congruence=12.3456, token_gap=-0.01234567)
    best = [CongruentToken("top", rank, token(rank, text), 1.0) for rank, text in ((1, " an"), (2, "a"))]
    bars = [HistogramBar(0, None, -1.0, 7), HistogramBar(61, -1.0, 1.0, 0), HistogramBar(122, 1.0, None, 63)]
    points = [
        CurvePoint(bar.bin, bar.lower, bar.upper, bar.n, 0, 0, fraction, 0.0)
        for bar, fraction in zip(bars, (0.0, 0.25, 0.5), strict=True)
    ]
    curve = Curve(Candidate(neuron_ref(1, 7), token(1, " an"), 1.0, ("neuron_top",), 3, 4), tuple(points))
    tokens = tuple(token(number, text) for number, text in enumerate(("a", " b", " peak", " c", "d")))
    top = Example("max", None, 1, 3, 7, 2.5, tokens[0], None, 5, 12, tokens, (0.0,) * 5)
    card = neuron_card(neuron, "predicts ␣an", best, bars, curve, top, "the footer")
    said = words(card)
    assert said == [
        "Neuron Atlas",
        "the footer",
        "L1N7",
        "predicts ·an",
        "writes",
        "·an",
        "a",
        "how often it has each activation (log)",
        "below −1",
        "1 and more",
        "predicts ·an by activation, up to 50%",
        "a b",
        " peak",
        " cd",
    ]
    # The histogram, from 56 to 556 and down to 440; its curve from 644 to 1144 over the same counts.
    third = 500 / 3
    expected = [(365.0, 75.0, "neg"), (440.0, 0.0, "zero"), (290.0, 150.0, "pos")]
    for left, fills in ((56, [fill for *_, fill in expected]), (644, ["counts"] * 3)):
        found = list(boxes(card, left, 290, 500, 150))
        assert [box[1:3] for box in found] == [box[:2] for box in expected]
        assert [x for x, *_ in found] == pytest.approx([left, left + third, left + 2 * third], abs=0.01)
        assert [fill for *_, fill in found] == fills
    assert 'd="M727.33 440.00 L894.00 402.50 L1060.67 365.00"' in card.svg
    # The firing token begins where what is before it ends, and what follows begins where it ends: 14.4 a character.
    middle = 56 + 0.52 * 1088
    assert (middle, middle + 5 * 14.4) == pytest.approx((621.76, 693.76))
    where = placed(card)
    assert (where["a b"], where[" peak"]) == (("621.76", "522", "end"), ("621.76", "522", "start"))
    assert where[" cd"] == ("693.76", "522", "start")
    (ground,) = [(x, fill) for x, y, tall, fill in boxes(card, 600, 490, 100, 40)]
    assert ground == (621.76, "pos-fill")
    low = neuron_card(neuron, "predicts ␣an", best, bars, None, replace(top, activation=-2.5), "x")
    assert [fill for *_, fill in boxes(low, 600, 490, 100, 40)] == ["neg-fill"]
    bare = neuron_card(neuron, "no clear token", [], [], None, None, "x")
    assert words(bare)[2:6] == ["L1N7", "no clear token", "writes", "how often it has each activation (log)"]
    assert bare.png()[:4] == b"\x89PNG"


def test_what_a_tokens_card_says(tiny_llama_atlas):
    with open_atlas(tiny_llama_atlas) as atlas:
        row = replace(token_row(atlas, 5), token=token(5, " an"), n_predicted=1234, n_actual=56)
    best = [CongruentNeuron("top", rank + 1, neuron_ref(1, rank), 9.87654 - rank) for rank in range(8)]
    worst = [CongruentNeuron("bottom", 1, neuron_ref(2, 3), -0.5)]
    points = tuple(CurvePoint(bin, 0.0, 1.0, n, 0, 0, f, 0.0) for bin, (n, f) in enumerate(((63, 1.0), (7, 0.5))))
    curve = Curve(Candidate(neuron_ref(1, 0), token(5, " an"), 9.0, (), 1, 1), points)
    card = token_card(row, best, worst, curve, "x")
    assert words(card)[2:] == [
        "Token",
        "·an",
        "predicted at 1,234 positions, the actual next token at 56",
        "best neurons",
        "L1N0",
        "9.877",
        "L1N1",
        "8.877",
        "L1N2",
        "7.877",
        "L1N3",
        "6.877",
        "L1N4",
        "5.877",
        "L1N5",
        "4.877",
        "worst",
        "L2N3",
        "−0.5000",
        "predicted, by activation of L1N0",
    ]
    assert list(boxes(card, 624, 270, 520, 220)) == [(624.0, 270.0, 220.0, "counts"), (884.0, 380.0, 110.0, "counts")]
    assert 'd="M754.00 270.00 L1014.00 380.00"' in card.svg


def test_what_a_studys_card_says(tiny_llama_atlas):
    """Its lens rises from -1 by 0.5 and 3.5: a third of the box is 0.5 of 4; recoveries of 40.5% and -20.25%."""
    with open_atlas(tiny_llama_atlas) as atlas:
        study = replace(find_study(atlas, "an"), answer_token=token(1, " an"), other_token=token(2, " a"))
    steps = [
        StudyStep("logit_lens", variant, "post", layer, None, None, value, None, None, 1)
        for variant, values in (("own_norm", (5.0, 6.0, 7.0)), ("final_norm", (-1.0, -0.5, 3.0)))
        for layer, value in enumerate(values)
    ]
    jumps = [LensJump("own_norm", 2, "mlp", 0.0, 9.0), LensJump("final_norm", 1, "mlp", -0.5, 3.0)]
    stands = [
        StudyNeuron(neuron_ref(2, index), index + 1, value, *[None] * 5, True)
        for index, value in enumerate((0.405, -0.2025, 0.1, 0.1, 0.1, 0.1))
    ]
    card = study_card(
        study, steps[::-1], jumps, StudyNeurons(6, tuple(stands), (), (), (), 0, None), "It was found.", "x"
    )
    assert words(card)[2:] == [
        "Study an",
        "·an",
        "·a",
        "It was found.",
        "lead of the answer, layer by layer",
        "greatest rise in layer 1, +3.50",
        "recovery by single neurons",
        "L2N0",
        "40.5%",
        "L2N1",
        "−20.2%",
        "L2N2",
        "10.0%",
        "L2N3",
        "10.0%",
        "L2N4",
        "10.0%",
    ]
    assert 'd="M149.33 520.00 L336.00 496.25 L522.67 330.00"' in card.svg
    fills = [(tall, fill) for x, _, tall, fill in boxes(card, 830, 330, 10, 200)]
    assert fills == [(20.0, "pos"), (20.0, "neg"), *[(20.0, "pos")] * 3]
    assert f'width="{200 - 0.6:.2f}"' in card.svg
    assert f'width="{100 - 0.6:.2f}"' in card.svg


def test_hostile_tokens_are_text_on_a_card(tiny_llama_atlas):
    with open_atlas(tiny_llama_atlas) as atlas:
        hostile = ["<script>alert(1)</script>", "</td>", "'\"&amp;", "\u202e"]
        for text in hostile:
            token_id = next(t for t in range(len(atlas.tokens)) if atlas.tokens[t].text == text)
            row = token_row(atlas, token_id)
            said = words(token_card(row, token_neurons(atlas, token_id), [], None, "x"))
            shown = row.token.shown
            assert (shown if len(shown) <= 18 else shown[:17] + "…").replace("␣", "·") in said
        assert words(plain_card("<b>&", "a < b " * 40, "x"))[2] == "<b>&"
        # Nor does what a prompt or a title holds reorder what stands there, or end the picture.
        assert words(plain_card("a\u202eb\x1b[1m", "c\x07", "d\u200b"))[1:] == [
            "d\\u200b",
            "a\\u202eb\\x1b[1m",
            "c\\x07",
        ]
