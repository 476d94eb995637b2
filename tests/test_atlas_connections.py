"""Connections as stored: in the API, in the client, on a neuron's page; not offered where there are none."""

from __future__ import annotations

from pathlib import Path

import pytest

import atlas as package
from atlas import open_atlas
from atlas.topics.connection import DOWNSTREAM, UPSTREAM, downstream, has_connections, upstream
from web import create_app


def test_they_are_read_as_stored(optional_atlas: Path):
    with package.open(optional_atlas) as demo, open_atlas(optional_atlas) as atlas:
        assert has_connections(atlas)
        last = atlas.info.n_neurons - 1
        for read, statement, ids in ((downstream, DOWNSTREAM, (0, 60)), (upstream, UPSTREAM, (60, last))):
            for neuron_id in ids:
                connections = read(atlas, neuron_id)
                table = f"neuron_{read.__name__}"
                stored = atlas.rows(
                    f"SELECT side, direction, rank, other_neuron_id, weight FROM {table} WHERE neuron_id = ? "
                    "ORDER BY side DESC, direction DESC, rank",
                    neuron_id,
                )
                assert stored == [(c.side, c.direction, c.rank, c.other.neuron_id, c.weight) for c in connections]
                assert len(stored) == 80
                shown = atlas.query(statement.shown(neuron_id=neuron_id))
                places = [shown.columns.index(name) for name in ("side", "direction", "rank", "other", "weight")]
                assert [tuple(row[place] for place in places) for row in shown.rows] == [
                    (c.side, c.direction, c.rank, c.other.name, c.weight) for c in connections
                ]
                assert list(getattr(demo.neuron(neuron_id), read.__name__)()) == connections
        assert downstream(atlas, last) == upstream(atlas, 0) == []


@pytest.fixture
def pages(optional_atlas: Path, tiny_llama_atlas: Path):
    app = create_app([optional_atlas, tiny_llama_atlas])
    yield app.test_client()
    app.extensions["console"].close()


def test_a_neurons_page_has_them_folded(pages):
    page = pages.get("/tiny-optional/L1N12").text
    assert 'id="downstream"' in page
    assert 'id="upstream"' in page
    data = pages.get("/tiny-optional/L1N12.json").json
    for name in ("downstream", "upstream"):
        part = pages.get(f"/tiny-optional/L1N12/part/{name}").text
        first = data[name][0]
        assert (first["side"], first["direction"], first["rank"]) == ("in", "top", 1)
        assert f'href="/tiny-optional/{first["other"]["name"]}"' in part
        assert part.count('class="unit"') == 4 * 8
        assert f"neuron_{name}" in data["panels"][name]
    assert "it is in the last layer" in pages.get("/tiny-optional/L2N12/part/downstream").text


def test_an_atlas_without_them_does_not_offer_them(pages, tiny_llama_atlas: Path):
    with open_atlas(tiny_llama_atlas) as atlas:
        assert not has_connections(atlas)
        assert downstream(atlas, 3) == []
    page = pages.get("/tiny-llama/L1N12").text
    assert 'id="downstream"' not in page
    assert 'id="reads"' in page
