"""The pages on whether congruence predicts, and the ranking by metric, against the tables."""

from __future__ import annotations

import csv
import io
import re
from html import unescape

import duckdb
import pytest

from atlas.core.display import show_points
from tests.invented_effects import with_effects
from web import create_app

CHOICES = (
    "",
    "?by=score&metric=lift&outcome=actual",
    "?pairs=exclusive&metric=mutual_information",
    "?pairs=congruent",
)


@pytest.fixture(scope="module", params=["tiny_llama_atlas", "tiny_gpt2_atlas"])
def served(request, app):
    """A client, the slug of an atlas, and a plain connection to it."""
    path = request.getfixturevalue(request.param)
    with duckdb.connect(str(path), read_only=True) as connection:
        yield app.test_client(), connection.execute("SELECT slug FROM atlas").fetchone()[0], connection


@pytest.mark.parametrize("query", CHOICES)
def test_every_part_is_what_its_sql_answers(served, query):
    client, slug, connection = served
    data = client.get(f"/{slug}/prediction.json{query}").json
    rows = {name: connection.execute(sql).fetchall() for name, sql in data["panels"].items()}
    assert rows["support"] == [tuple(data["support"].values())]
    assert rows["density"] == [tuple(cell.values()) for cell in data["density"]]
    for name in ("denied", "kept"):
        assert [row[3:] for row in rows["contradictions"] if row[0] == name] == [
            (
                p["criterion"],
                p["metric"],
                p["criterion_place"],
                p["metric_place"],
                p["n_outcome"],
                p["n_active"],
                p["neuron"]["neuron_id"],
                p["token"]["token_id"],
            )
            for p in data[name]
        ]
    assert rows["effects"] == []
    found = client.get(f"/{slug}/prediction/correlations.json{query}").json
    pairs = connection.execute(found["panels"]["pairs"]).fetchall()
    assert len(pairs) == found["correlations"]["n_pairs"] == data["support"]["n_supported"] or query
    assert sum(layer["n_pairs"] for layer in found["correlations"]["layers"]) == len(pairs)


@pytest.mark.parametrize("query", CHOICES)
def test_sentences_say_what_the_numbers_say(served, query):
    client, slug, _ = served
    data = client.get(f"/{slug}/prediction.json{query}").json
    support = data["support"]
    said = [int(number.replace(",", "")) for number in re.findall(r"(?<![.\d])[\d,]*\d(?![\d%])", data["support_said"])]
    assert said == [support[name] for name in ("n_pairs", "n_supported", "n_congruent", "n_exclusive")]
    found = client.get(f"/{slug}/prediction/correlations.json{query}").json
    page = unescape(re.sub(r"<[^>]+>", "", client.get(f"/{slug}/prediction/correlations{query}").text))
    for sentence in found["said"]:
        assert sentence in page
    known = [item for item in found["correlations"]["criteria"] if item["value"] is not None]
    if known:
        chosen = next(i for i in known if i["by"] == data["choice"]["by"])
        # A correlation whose interval holds 0 is not called one.
        useless = chosen["low"] is None or chosen["low"] <= 0 <= chosen["high"]
        assert ("cannot be told from useless" in found["said"][0]) == useless
        assert f"{found['correlations']['n_pairs']:,} pairs" in found["said"][0]


def test_the_page_links_its_parts_and_neurons(served):
    client, slug, _ = served
    text = client.get(f"/{slug}/prediction?metric=lift").text
    assert f'data-src="/{slug}/prediction/correlations?metric=lift"' in text
    data = client.get(f"/{slug}/prediction.json?metric=lift").json
    for pair in data["denied"] + data["kept"]:
        assert f'href="/{slug}/{pair["neuron"]["name"]}?token={pair["token"]["token_id"]}"' in text
    assert "candidates because they are congruent" in text
    assert "atlas effects FILE" in text
    for chart in ("svg", "csv"):
        assert client.get(f"/{slug}/prediction.chart.{chart}?chart=density").status_code == 200
        assert client.get(f"/{slug}/prediction/correlations.chart.{chart}?chart=criteria").status_code == 200
    assert f'href="/{slug}/prediction"' in client.get(f"/{slug}").text
    assert f"/{slug}/predictive" in client.get(f"/sitemap/{slug}-0.xml").text


@pytest.mark.parametrize("query", ["by=rank", "metric=f1", "outcome=x", "pairs=some", "side=both"])
def test_what_is_no_choice_is_refused(served, query):
    client, slug, _ = served
    for page in ("prediction", "prediction/correlations"):
        response = client.get(f"/{slug}/{page}.json?{query}")
        assert response.status_code == 400
        assert "expected one of" in response.json["error"]["message"]


def test_the_ranking_by_metric(served):
    client, slug, connection = served
    for query, where, sort in (
        ("", "NOT t.special AND t.n_actual > 0", "average_precision_predicted DESC"),
        (
            "side=positive&all=1&min_active=20&sort=lift_predicted&order=asc",
            "m.side = 'positive' AND n_active >= 20",
            "lift_predicted ASC",
        ),
        (
            "outcome=actual&all=1&exclusive=top&layer_min=1",
            "m.neuron_id >= (SELECT d_mlp FROM atlas) AND EXISTS (FROM exclusive_pair AS e WHERE e.direction = 'top' "
            "AND e.neuron_id = m.neuron_id AND e.token_id = m.token_id)",
            "average_precision_actual DESC",
        ),
    ):
        expected = connection.execute(
            "SELECT m.neuron_id, m.token_id, m.side, m.auroc_actual "
            "FROM pair_metric AS m JOIN token AS t USING (token_id) "
            f"WHERE {where} ORDER BY {sort} NULLS LAST, m.neuron_id, m.token_id, m.side"
        ).fetchall()
        data = client.get(f"/{slug}/predictive.json?{query}").json
        assert data["pairs"]["total"] == len(expected)
        shown = [
            (p["neuron"]["neuron_id"], p["token"]["token_id"], p["side"], p["auroc_actual"])
            for p in data["pairs"]["rows"]
        ]
        assert shown == expected[:100]
        answer = connection.execute(data["panels"]["pairs"]).fetchall()
        assert [(*row[-2:], row[2]) for row in answer] == [row[:3] for row in shown]
        rows = list(csv.DictReader(io.StringIO(client.get(f"/{slug}/predictive.csv?{query}").text)))
        assert [(int(r["neuron_id"]), int(r["token_id"]), r["side"]) for r in rows] == [row[:3] for row in expected]
        assert client.get(f"/{slug}/predictive?{query}").status_code == 200


def test_exclusive_pairs_and_pages_of_units_show_metrics(served):
    client, slug, connection = served
    data = client.get(f"/{slug}/pairs.json?all=1").json
    rows = connection.execute(data["panels"]["pairs"]).fetchall()
    assert [row[-3:] for row in rows] == [
        (f["auroc_predicted"], f["average_precision_predicted"], f["probability_change"]) for f in data["figures"]
    ]
    assert any(f["auroc_predicted"] is not None for f in data["figures"])
    for path in ("L1N7/candidates", "token/40"):
        data = client.get(f"/{slug}/{path}.json").json
        rows = connection.execute(data["panels"]["candidates"]).fetchall()
        assert [row[-3:] for row in rows] == [
            (f["auroc_predicted"], f["average_precision_predicted"], f["probability_change"]) for f in data["figures"]
        ]
        assert ">AUROC</th>" in client.get(f"/{slug}/{path}").text


def test_effects_where_they_were_measured(tiny_llama_atlas, tmp_path):
    path = with_effects(tiny_llama_atlas, tmp_path / "effects.duckdb")
    client = create_app([path]).test_client()
    data = client.get("/tiny-llama/prediction.json").json
    with duckdb.connect(str(path), read_only=True) as connection:
        rows = connection.execute(data["panels"]["effects"]).fetchall()
        (surely,) = connection.execute("SELECT count(*) FROM pair_effect WHERE probability_change_high < 0").fetchone()
    shown = data["effects"]["rows"]
    assert [(row[0], row[7]) for row in rows] == [(e["neuron"]["name"], e["probability_change"]) for e in shown]
    assert data["effects_said"].startswith(
        f"12 pairs were measured; of the 12 that lose most, {surely} lose probability significantly"
    )
    text = client.get("/tiny-llama/prediction").text
    assert "atlas effects FILE" not in text
    first = shown[0]
    assert show_points(first["probability_change"]) in text
    neuron = client.get(f"/tiny-llama/{first['neuron']['name']}/candidates").text
    assert ">ablated, points</th>" in neuron
    answer = client.get("/api/v1/atlases/tiny-llama/pair-effects?limit=3").json
    assert [row["probability_change"] for row in answer["data"]] == [e["probability_change"] for e in shown[:3]]
