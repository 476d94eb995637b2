"""The pages on causes, over a copy of an atlas with invented attributions, and what they say where there are none."""

from __future__ import annotations

import csv
import io
import re
from html import unescape

import pytest

from atlas.core.statements import Statement
from atlas.topics.attribution import NEURON_CAUSES
from atlas.topics.causal import causal_answers
from atlas.topics.law import laws as read_laws
from tests.invented_attribution import with_attribution
from web import create_app
from web.report import causes as report


@pytest.fixture(scope="module")
def attributed(tiny_llama_atlas, tmp_path_factory):
    """A client of the site over the copy, and its open atlas."""
    path = with_attribution(tiny_llama_atlas, tmp_path_factory.mktemp("causes") / "attributed.duckdb")
    app = create_app([path])
    app.testing = True
    yield app.test_client(), app.extensions["atlases"]["tiny-llama"]
    app.extensions["atlases"]["tiny-llama"].close()


def words(html: str) -> str:
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", html)).split())


def part(html: str, name: str) -> str:
    return re.search(rf'<section id="{name}">.*?</section>', html, re.DOTALL)[0]


def test_a_token_shows_its_drivers(attributed):
    client, atlas = attributed
    token_id = atlas.rows("SELECT min(token_id) FROM token_driver")[0][0]
    data = client.get(f"/tiny-llama/token/{token_id}.json").json
    rows = atlas.query(data["panels"]["causes"]).rows
    assert [row[:3] for row in rows] == [
        (d["direction"], d["rank"], d["neuron"]["name"]) for d in data["supports"] + data["opposes"]
    ]
    assert [row[7] for row in rows] == [d["congruence"] for d in data["supports"] + data["opposes"]]
    html = part(client.get(f"/tiny-llama/token/{token_id}").text, "causes")
    for driver in data["supports"] + data["opposes"]:
        assert f">{driver['neuron']['name']}</a>" in html
    assert html.count("(?)") == 1 + sum(not d["holds"] for d in data["supports"] + data["opposes"])
    assert "± 0.100" in words(html)
    assert "exact ablations of single neurons" in words(html)
    assert "Supports it" in client.get(f"/embed/tiny-llama/token/{token_id}/causes").text


def test_a_token_without_drivers_says_why(attributed, client):
    token_id = attributed[1].rows("SELECT token_id FROM token WHERE n_predicted = 0 LIMIT 1")[0][0]
    html = attributed[0].get(f"/tiny-llama/token/{token_id}").text
    assert "fewer than 10 of the 400 positions read for attribution" in words(part(html, "causes"))
    html = client.get(f"/tiny-llama/token/{token_id}").text
    assert "Attribution was off when this atlas was made: `atlas attribute FILE` adds it." in words(
        part(html, "causes")
    )


def test_a_neuron_shows_what_it_causes(attributed, client, monkeypatch):
    site, atlas = attributed
    name = atlas.rows(
        "SELECT name FROM token_driver JOIN neuron USING (neuron_id) WHERE direction = 'bottom' AND layer > 0 LIMIT 1"
    )[0][0]
    runs, rows = [], Statement.rows

    def watched(self, atlas, **parameters):
        runs.append((self, parameters))
        return rows(self, atlas, **parameters)

    monkeypatch.setattr(Statement, "rows", watched)
    data = site.get(f"/tiny-llama/{name}.json").json
    (asked,) = (parameters for statement, parameters in runs if statement == NEURON_CAUSES)  # one query for all
    assert data["panels"]["causes"] == NEURON_CAUSES.shown(**asked)
    assert [row[1:4] for row in atlas.query(data["panels"]["causes"]).rows] == [
        (cause["n"], cause["attribution"], cause["direct"]) for cause in data["causes"]
    ]
    html = part(site.get(f"/tiny-llama/{name}").text, "causes")
    text = words(html)
    assert "Averaged over 400 positions its attribution is" in text
    assert f"p{100 * data['attribution']['percentile']:.0f}"[:2] in text
    assert "Supports" in text
    assert "Opposes" in text
    for cause in data["causes"]:
        assert f"/token/{cause['token']['token_id']}" in html
    clear = [c for c in data["causes"] if c["standard_error"] and abs(c["attribution"]) >= 3 * c["standard_error"]]
    assert html.count('<tr class="dim"') == len(data["causes"]) - len(clear) > 0
    assert "by attribution it" in data["verdict"]["text"].lower()
    assert 'href="#causes"' in site.get(f"/tiny-llama/{name}").text
    assert 'id="causes"' not in client.get(f"/tiny-llama/{name}").text
    assert "This atlas has no attributions." in client.get(f"/tiny-llama/{name}/part/causes").text
    first = atlas.rows("SELECT name FROM token_driver JOIN neuron USING (neuron_id) WHERE layer = 0 LIMIT 1")[0][0]
    assert "(?)" in part(site.get(f"/tiny-llama/{first}").text, "causes").replace("those are marked with (?)", "")


@pytest.mark.parametrize(
    ("query", "where", "key"),
    [
        ("", "direction = 'bottom'", "abs(attribution) DESC"),
        ("direction=top&sort=direct&order=asc&all=1", "direction = 'top'", "abs(direct) ASC"),
        ("layer_min=1&min_attribution=0.5", "direction = 'bottom' AND abs(attribution) >= 0.5 AND layer >= 1", ""),
    ],
)
def test_the_ranking_of_drivers(attributed, query, where, key):
    client, atlas = attributed
    expected = atlas.rows(
        f"SELECT n.name, token_id FROM token_driver JOIN neuron AS n USING (neuron_id) WHERE {where} "
        f"ORDER BY {key or 'abs(attribution) DESC'}, neuron_id, token_id"
    )
    data = client.get(f"/tiny-llama/drivers.json?{query}").json
    shown = [(d["neuron"]["name"], d["token"]["token_id"]) for d in data["drivers"]["rows"]]
    assert shown == expected[:100]
    assert [(row[0], row[-1]) for row in atlas.query(data["panels"]["drivers"]).rows] == shown
    rows = list(csv.DictReader(io.StringIO(client.get(f"/tiny-llama/drivers.csv?{query}").text)))
    assert [(row["neuron"], int(row["token_id"])) for row in rows] == expected
    text = words(client.get(f"/tiny-llama/drivers?{query}").text)
    assert "exact ablations of single neurons" in text
    answer = client.get("/api/v1/atlases/tiny-llama/drivers?limit=2&direction=top").json
    assert len(answer["data"]) == 2


def test_the_causal_answer_is_what_its_sql_answers(attributed):
    client, atlas = attributed
    data = client.get("/tiny-llama/prediction/causes.json").json
    rows = {name: atlas.query(sql).rows for name, sql in data["panels"].items()}
    assert len(rows["pairs"]) == data["answer"]["n_pairs"]
    assert [*rows["opposed"]] == [tuple(data["answer"]["opposed"].values())]
    assert [row[1:] for row in rows["layers"]] == [
        (layer["magnitude"], layer["direct_magnitude"]) for layer in data["answer"]["layers"]
    ]
    for name in ("unkept", "indirect"):
        assert [(row[0], row[3], row[4]) for row in rows[name]] == [
            (pair["neuron"]["name"], pair["direct"], pair["attribution"]) for pair in data[name]
        ]
    text = words(client.get("/tiny-llama/prediction/causes").text)
    for sentence in (*data["said"], data["reliability_said"]):
        assert sentence in text
    assert f"{data['answer']['n_pairs']:,} pairs" in data["said"][0]
    for chart in ("causes", "kept"):
        assert client.get(f"/tiny-llama/prediction/causes.chart.csv?chart={chart}").status_code == 200
    html = client.get("/tiny-llama/prediction").text
    for lazy in ("causes", "laws"):
        assert f'data-src="/tiny-llama/prediction/{lazy}"' in html


def test_the_report_says_what_is_caused(attributed, both):
    _, atlas = attributed
    section = report.causes(atlas)
    answer = causal_answers(atlas)[0]
    assert (
        f"over {answer.n_pairs:,} pairs of {answer.n_neurons:,} neurons and {answer.n_tokens:,} tokens"
        in section.finding
    )
    assert f"{answer.opposed.n_opposed} have a neuron that opposes them" in section.finding
    assert any("exact ablations" in sentence for sentence in section.sentences)
    assert all(panel.answer.rows for panel in section.panels[1:])
    laws = report.laws(atlas)
    assert [panel.title for panel in laws.panels] == [law.title for law in read_laws(atlas)]
    assert "atlas attribute FILE" in report.causes(both[0]).sentences[0]


def test_where_attribution_was_off(client):
    for slug in ("tiny-llama", "tiny-gpt2"):
        assert "atlas attribute FILE" in client.get(f"/{slug}/prediction/causes").text
        assert "atlas attribute FILE" in client.get(f"/{slug}/drivers").text
        assert client.get(f"/{slug}/prediction/causes.json").json["answer"] is None


def test_laws_stand_beside_what_was_published(client):
    for slug in ("tiny-llama", "tiny-gpt2"):
        data = client.get(f"/{slug}/prediction/laws.json").json
        text = words(client.get(f"/{slug}/prediction/laws").text)
        for law in data["laws"]:
            for sentence in (law["title"], law["source"], law["measure"], law["published"], law["answer"]):
                assert sentence in text
            if law["layers"]:
                answer = client.get(f"/{slug}/prediction/laws.chart.csv?chart={law['name']}").text
                assert len(list(csv.reader(io.StringIO(answer)))) == 1 + len(law["layers"])


def test_neurons_by_attribution_in_lists(attributed):
    client, atlas = attributed
    data = client.get("/tiny-llama/neurons.json?cols=neuron_id,attribution").json
    known = dict(atlas.rows("SELECT name, attribution_abs_mean FROM neuron_attribution JOIN neuron USING (neuron_id)"))
    for neuron, glance in zip(data["neurons"]["rows"], data["glances"], strict=True):
        assert glance["attribution"] == known[neuron["name"]]
