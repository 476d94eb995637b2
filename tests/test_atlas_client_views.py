"""What the client's records look like in a terminal and in a notebook, and as tables of other libraries."""

from __future__ import annotations

import io
import sys
from html.parser import HTMLParser

import pytest
from rich.console import Console

import atlas
from atlas.client.records import Records
from atlas.client.table import MissingLibraryError, columns_of, flat, show_cell
from atlas.core.units import NeuronRef, Token
from tests.tiny import HOSTILE


@pytest.fixture(scope="module")
def demo(tiny_llama_atlas):
    with atlas.open(tiny_llama_atlas) as opened:
        yield opened


@pytest.fixture(scope="module")
def pair(demo):
    return next(iter(demo.pairs()))


def printed(thing):
    console = Console(width=200, record=True, file=io.StringIO())
    console.print(thing)
    return console.export_text()


class Tags(HTMLParser):
    """Elements of a piece of HTML, and the text in it; every element must be closed."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.text, self.open = set(), "", []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        assert attributes == []
        self.tags.add(tag)
        self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data


def views(demo, pair):
    neuron, token = demo.neuron(pair.neuron.name), demo.token(pair.token.token_id)
    yield from (demo, neuron, token, neuron.curve(token.token_id), neuron.histogram(), neuron.examples())
    yield from (neuron.thresholds(token.token_id), neuron.similar(), neuron.candidates(), token.neurons, demo.layers())
    yield from (demo.neurons(), demo.pairs(limit=3), demo.exclusive(), demo.tokens(), demo.glossary())
    yield from (demo.suggest("a"), demo.sql("SELECT * FROM atlas"))


def test_everything_prints_itself(demo, pair):
    for thing in views(demo, pair):
        assert len(printed(thing).splitlines()) >= 3, thing
        text = thing._repr_html_()
        assert Tags(text).tags - {"p"} == {"table", "caption", "thead", "tbody", "tr", "th", "td"}, thing


def test_a_neuron_in_the_terminal_is_what_atlas_show_prints(demo, pair):
    text = printed(demo.neuron(pair.neuron.name))
    assert "Exclusive pair: it and" in text
    assert "Greatest activations" in text


def test_a_long_list_says_how_long(demo):
    assert f"20 of {demo.info.n_neurons}" in printed(demo.neurons())
    assert f"(20 of {demo.info.n_neurons})" in demo.neurons()._repr_html_()
    assert repr(demo.neurons(limit=5)) == "<neurons: 5>"


def test_hostile_tokens_are_text(demo):
    found = [token for text in HOSTILE for token in demo.tokens(text=text)]
    assert len(found) == len(HOSTILE)
    text = Records("<script>", found)._repr_html_()
    page = Tags(text)
    assert "script" not in page.tags
    assert "<script>alert(1)</script>" in page.text
    assert "</td>" in page.text
    assert "\u202e" not in text
    assert r"\u202e" in printed(Records("x", found))


def test_columns_are_those_of_the_views_of_the_file(demo, pair):
    assert list(flat(pair)) == [
        "direction",
        "rank",
        "neuron",
        "neuron_id",
        "token",
        "token_id",
        "congruence",
        "token_gap",
        "neuron_gap",
        "score",
        "n_actual",
        "n_predicted",
    ]
    token = Token(3, " an", b" an", False)
    assert columns_of([token]) == {"token_id": [3], "text": [" an"], "bytes": [b" an"], "special": [False]}
    assert columns_of([1, 2]) == {"value": [1, 2]}
    assert flat(demo.search("an"))["neuron"] is None
    assert NeuronRef(7, 0, 7, "L0N7").name in show_cell(["L0N7", None])


def test_tables_of_arrow_and_pandas(demo, pair):
    neuron = demo.neuron(pair.neuron.name)
    curve = neuron.curve(pair.token.token_id)
    for thing in (curve, neuron.examples(), neuron.candidates(), demo.neurons(limit=7), demo.pairs(limit=3)):
        table, frame = thing.to_arrow(), thing.to_pandas()
        assert table.num_rows == len(frame) == len(thing)
        assert table.column_names == list(frame.columns) == list(thing.columns())
    assert curve.to_arrow()["n"].to_pylist() == [point.n for point in curve]
    assert neuron.examples().to_arrow()["activations"].to_pylist()[0] == list(neuron.examples()[0].activations)
    assert demo.sql("SELECT 1 AS a, 'x' AS b").to_arrow().to_pylist() == [{"a": 1, "b": "x"}]


def test_without_pandas_it_says_what_to_install(demo, monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(MissingLibraryError, match=r"pip install pandas.*\.to_arrow\(\)"):
        demo.layers().to_pandas()


def test_a_list_is_a_sequence(demo):
    layers = demo.layers()
    assert layers[0].layer == 0
    assert [item.layer for item in layers[1:]] == [1, 2]
    assert layers[1:] == Records("others", layers.rows[1:])
    assert hash(layers) == hash(Records("same", layers.rows))
    assert layers != list(layers)
    assert len(layers[:2]) == 2
