"""Collections: what an address may hold, and that a neuron at a glance is what its own records say."""

from __future__ import annotations

from dataclasses import replace

import duckdb
import pytest

import atlas as client
from atlas import open_atlas
from atlas.core.errors import NeuronNameError, ParameterError
from atlas.core.names import nearest_neuron
from atlas.core.units import neuron_ref
from atlas.topics.collection import (
    LONGEST_NOTE,
    LONGEST_TITLE,
    MOST,
    Collection,
    Entry,
    check_collection,
    collection,
    curves,
    listed_neurons,
    neurons_of_answer,
    panels,
    read_collection,
)
from atlas.topics.curve import curve_point, histogram, neuron_candidates, token_curves
from atlas.topics.example import neuron_examples
from atlas.topics.glance import LISTED
from atlas.topics.neuron import find_neuron, neuron_tokens
from atlas.topics.verdict import verdict

IDS = (60, 3, 95, 40)


@pytest.fixture(scope="module")
def llama(tiny_llama_atlas):
    with open_atlas(tiny_llama_atlas) as atlas:
        yield atlas


# --- what an address holds


def test_names_in_any_spelling_each_once_with_the_first_note(llama):
    texts = ["1.7", "L2/N3~one", "L1N7~two", " l2n3~three", "", "~nothing", "L0N0~a~b"]
    written, misnamed = read_collection(llama, " A\r\ntitle ", texts)
    entries = (Entry("L1N7", "two"), Entry("L2N3", "one"), Entry("L0N0", "a~b"))
    assert (written, misnamed) == (Collection("A title", entries), [])
    assert read_collection(llama, "A title", [entry.written() for entry in entries])[0] == written


def test_a_wrong_name_leaves_the_rest(llama):
    written, misnamed = read_collection(llama, "", ["L1N7", "banana~note", "L9N99", "L2N3", "L9N99"])
    assert [entry.name for entry in written.entries] == ["L1N7", "L2N3"]
    assert [(item.text, item.nearest) for item in misnamed] == [("banana", None), ("L9N99", "L2N47")]
    assert "layers 0 to 2" in misnamed[1].reason


@pytest.mark.parametrize(
    ("text", "nearest"),
    [
        ("L31N892", "L29N892"),
        ("L25N9999", "L25N1535"),
        ("layer 25 neuron 1527", "L25N1527"),
        ("25-1527", "L25N1527"),
        ("L25", None),
        ("banana", None),
        ("1.2.3", None),
        ("", None),
    ],
)
def test_the_nearest_name(text, nearest):
    assert nearest_neuron(text, 30, 1536) == nearest


def test_limits(tiny_llama_atlas, monkeypatch):
    monkeypatch.setattr("atlas.topics.collection.MOST", 5)
    with open_atlas(tiny_llama_atlas) as atlas:
        names = [neuron_ref(atlas, n).name for n in range(12)]
        assert len(read_collection(atlas, "", names[:5])[0].entries) == 5
        with pytest.raises(ParameterError, match=r"12 neurons; expected at most 5.*L0N5, L0N6, L0N7, L0N8, L0N9, …"):
            read_collection(atlas, "", names)
        assert read_collection(atlas, "x" * LONGEST_TITLE, ["L0N1~" + "y" * LONGEST_NOTE])[0].entries
        with pytest.raises(ParameterError, match="The title has 121 characters; expected at most 120"):
            read_collection(atlas, "x" * (LONGEST_TITLE + 1), [])
        with pytest.raises(ParameterError, match="note on L0N1 has 301 characters; expected at most 300"):
            read_collection(atlas, "", ["L0N1~" + "y" * (LONGEST_NOTE + 1)])
    assert (MOST, LONGEST_NOTE, LONGEST_TITLE) == (300, 300, 120)


# --- neurons at a glance


def test_a_glance_is_what_the_neurons_own_records_say(both):
    atlas, _ = both
    glances = collection(atlas, IDS)
    assert [item.neuron.neuron_id for item in glances] == list(IDS)
    points = curves(atlas, glances)
    for item in glances:
        neuron_id = item.neuron.neuron_id
        assert item.neuron == find_neuron(atlas, neuron_id)
        assert item.verdict == verdict(atlas, neuron_id)
        end = "bottom" if item.verdict.side == "negative" else "top"
        assert list(item.tokens) == neuron_tokens(atlas, neuron_id, end)[:LISTED]
        assert item.own_token == (item.verdict.token or item.tokens[0].token)
        pair = [pair for pair in neuron_candidates(atlas, neuron_id) if pair.token == item.own_token]
        assert points[neuron_id] == token_curves(atlas, pair)[0].points  # the very curve of the neuron's page
        assert sum(point.n for point in points[neuron_id]) == sum(bar.n for bar in histogram(atlas, neuron_id))


def test_a_listed_neuron_has_its_note_and_its_strongest_text(both):
    atlas, _ = both
    entries = [Entry(neuron_ref(atlas, n).name, f"note {n}") for n in IDS]
    glances = listed_neurons(atlas, entries)
    assert [(item.place, item.note) for item in glances] == [(k + 1, f"note {n}") for k, n in enumerate(IDS)]
    for item in glances:
        kind = "min" if item.verdict.side == "negative" else "max"
        assert item.example == neuron_examples(atlas, item.neuron.neuron_id, kind)[0]
        best = max((point.predicted_fraction for point in item.curve if point.n >= 5), default=None)
        assert (item.peak and item.peak.predicted_fraction) == best
    assert listed_neurons(atlas, []) == []
    assert panels([]) == {}


def test_too_few_positions_are_no_peak(llama):
    item = listed_neurons(llama, [Entry("L1N7")])[0]
    few, enough = curve_point(70, 4, 4, 0), curve_point(71, 5, 4, 0)
    assert replace(item, curve=(few, enough)).peak == enough
    assert replace(item, curve=(few,)).peak is None


# --- the call


def test_the_client_asks_for_a_collection(tiny_llama_atlas):
    with client.open(tiny_llama_atlas) as demo:
        glances = demo.collection(["L1N7", "2.3", "L1N7"])
        assert [item.neuron.name for item in glances] == ["L1N7", "L2N3"]
        assert glances == demo.collection("L1N7,L2N3") == demo.collection(name for name in ("L1N7", "L2N3"))
        with pytest.raises(NeuronNameError, match=r"'L9N99' \(nearest: L2N47\), 'banana'.*leave them out"):
            demo.collection(["L1N7", "L9N99", "banana"])
        with pytest.raises(ParameterError, match="expected 1 to 300 names of neurons"):
            demo.collection(["L1N7"] * 301)


# --- from an answer of SQL


@pytest.mark.parametrize(
    ("columns", "rows", "names"),
    [
        (("token", "neuron"), [(" an", "L1N7"), ("x", "2.3"), ("y", "L1N7"), ("z", None)], ["L1N7", "L2N3"]),
        (("name", "neuron_id"), [("an", 50), ("suite", 0), ("x", -1), ("y", 10**6), ("z", True)], ["L1N2", "L0N0"]),
        (("neuron_id",), [(0.5,), ("L0N1",)], ["L0N1"]),
        (("token", "score"), [("L1N7", 1)], []),
        (("neuron",), [], []),
    ],
)
def test_the_neurons_of_an_answer(llama, columns, rows, names):
    assert [(entry.name, entry.note) for entry in neurons_of_answer(llama, columns, rows)] == [
        (name, "") for name in names
    ]


def test_the_notes_of_an_answer(llama):
    rows = [("x y\nz ", "L1N7"), ("later", "1.7"), (None, "L2N3"), (0.5, "L2N3"), ("n" * 301, "L0N1"), ("", "L0N2")]
    entries = neurons_of_answer(llama, ("note", "neuron"), rows)
    notes = {entry.name: entry.note for entry in entries}
    assert notes == {"L1N7": "x y z", "L2N3": "0.5", "L0N1": "n" * 299 + "…", "L0N2": ""}
    check_collection(Collection("", entries))


def test_an_answer_with_more_neurons_than_a_list_has(llama):
    assert len(neurons_of_answer(llama, ("neuron_id",), [(n,) for n in range(144)] * 3)) == 144
    with duckdb.connect() as connection:
        rows = connection.execute("SELECT range % 144 FROM range(1000)").fetchall()
    assert [entry.name for entry in neurons_of_answer(llama, ("neuron_id",), rows)] == [
        neuron_ref(llama, neuron_id).name for neuron_id in range(144)
    ]
