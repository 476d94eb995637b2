"""Pages of studies: their values are the rows', prompts are text, what is not there is said."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import duckdb
import pytest

from atlas import open_atlas
from atlas.topics.study.lens import lens_jumps
from atlas.topics.study.study import find_study, steps_of
from ingest.file.append import extend_atlas
from tests.conftest import Built, new_context
from tests.html_reader import Reader
from tests.invented_study import invent
from tests.test_web_browser import DRAWN
from web import create_app

CHARTS = (
    *("lens", "resid", "attention", "mlp", "recovery", "distribution", "estimate", "graph", "direct", "ablation"),
    "predicted",
)


@pytest.mark.parametrize("path", ["/tiny-llama/studies", "/tiny-llama/study/an", "/tiny-gpt2/study/suite"])
def test_the_pages_are_well_formed(client, path):
    page = client.get(path)
    assert page.status_code == 200
    reader = Reader(page.text)
    assert reader.inline == []
    # One of each shape of address: a page links to every neuron that it lists.
    links = [link for link in reader.links if link.startswith("/tiny") and "/sql" not in link]
    shapes = {re.sub(r"\d+", "0", link): link for link in links}
    for link in shapes.values():
        assert client.get(link).status_code in (200, 301, 302), link


def test_values_are_those_of_the_rows(client, tiny_llama_atlas: Path):
    data = client.get("/tiny-llama/study/an.json").json
    with duckdb.connect(str(tiny_llama_atlas), read_only=True) as connection:
        for kind, steps in data["patches"].items():
            rows = connection.execute(
                "SELECT layer, position, value FROM study_step WHERE study = 'an' AND kind = ? ORDER BY ALL", [kind]
            ).fetchall()
            assert sorted((s["layer"], s["position"], s["value"]) for s in steps) == rows
        best = max((value, layer) for layer, place, value in rows if place == 6)  # the last kind is the MLP's
        row = connection.execute("SELECT p_answer_clean, clean_logit_diff FROM study WHERE name = 'an'").fetchone()
        effect = connection.execute(
            "SELECT value FROM study_step WHERE study = 'an' AND kind = 'ablation' AND variant = 'zero' "
            "AND neuron_id = 103"
        ).fetchone()[0]
    said = data["sayings"]
    assert f"Patching layer {best[1]}’s MLP at the last position recovers {best[0]:.0%} of the" in said["patching"]
    assert "L2N7 alone recovers 40%; the next, L1N3, 20%" in said["neurons"]
    assert said["neurons"].startswith("Of the model’s 144 neurons, 96, all of layer 1, 2 and those of greatest")
    assert "it is furthest off for L2N7, 44% for 40%" in said["agreement"]
    assert said["edges"].startswith("The most goes from L1N3 through L2N7: 19% of the logit difference")
    assert f"has probability 50%; with L2N7 set to zero {row[0] + effect:.0%}" in said["ablation"].replace("−", "-")
    assert data["study"]["clean_logit_diff"] == row[1]
    assert "MLP of layer 1" in said["lens"]
    assert said["finding"].startswith("alone recovers 40% of the logit difference between “")
    assert (
        f"with it set to its mean the probability of “{data['study']['answer_token']['shown']}” goes" in said["finding"]
    )
    page = client.get("/tiny-llama/study/an").text
    lede = re.search(r'id="verdict">(.*?)</p>', page, re.DOTALL)[1]
    assert "L2N7</a> alone recovers 40%" in " ".join(lede.split())
    assert re.fullmatch(r"Study: .+ or .+\?", data["title"])
    prompt = data["prompts"][0]
    changed = [
        prompt[f"{side}_tokens"][4]["shown"].strip("␣") for side in ("clean", "corrupt")
    ]  # invented_study.CHANGED
    assert re.findall(r'class="chip (?:clean|corrupt)">([^<]+)<', page)[:2] == changed
    for part in ("lens", "patching", "neurons", "agreement", "edges"):
        assert said[part] in page.replace("&#39;", "'").replace("&lt;", "<").replace("&gt;", ">")


@pytest.mark.parametrize("name", CHARTS)
@pytest.mark.parametrize("study", ["an", "suite"])
def test_every_chart_is_a_file(client, study, name):
    found = client.get(f"/tiny-llama/study/{study}.chart.csv?chart={name}")
    assert found.status_code == 200
    assert found.text.count("\n") > 1
    if study == "suite" and name in ("lens", "recovery", "ablation"):
        assert found.text.splitlines()[0].endswith("low,high")


@pytest.mark.parametrize("name", ["lens", "mlp", "direct", "graph"])
def test_charts_are_drawn(client, name):
    drawn = client.get(f"/tiny-llama/study/an.chart.svg?chart={name}")
    assert drawn.mimetype == "image/svg+xml"
    assert drawn.text.count("<path") > (10 if name == "graph" else 20)


def test_a_suite_lists_its_pairs_with_means_and_intervals(client):
    page = client.get("/tiny-llama/study/suite").text
    assert "All 60 pairs" in page
    assert "10 more" in page
    assert "(95% interval " in page
    assert "Positions are counted from the end" in page
    data = client.get("/tiny-llama/study/suite.json").json
    assert len(data["prompts"]) == 60
    top = data["neurons"]["top"][0]
    assert top["low"] < top["recovery"] < top["high"]


def test_it_is_pointed_at_from_elsewhere(client, tiny_llama_atlas: Path):
    with open_atlas(tiny_llama_atlas) as atlas:
        study = find_study(atlas, "an")
        jumps = lens_jumps(steps_of(atlas, "an", "logit_lens"))
    assert len(jumps) == 2
    link = 'href="/tiny-llama/study/an"'
    neuron = client.get("/tiny-llama/L2N7")
    assert link in neuron.text
    assert neuron.text.count('href="/tiny-llama/study/') == 2
    assert link not in client.get("/tiny-llama/L0N0").text
    assert link in client.get(f"/tiny-llama/token/{study.answer_token.token_id}").text
    assert link in client.get("/tiny-llama").text
    assert 'href="/tiny-llama/studies"' in client.get("/tiny-llama/L0N0").text
    assert "<loc>http://localhost/tiny-llama/study/an</loc>" in client.get("/sitemap/tiny-llama-0.xml").text
    assert client.get("/tiny-llama/study/an.card.png").mimetype == "image/png"


def test_a_name_that_is_not_there(client):
    found = client.get("/tiny-llama/study/pear.json")
    assert found.status_code == 404
    assert "there is an, suite" in found.json["error"]["message"]
    found = client.get("/api/v1/atlases/tiny-llama/studies/pear/steps")
    assert (found.status_code, found.json["error"]["code"]) == (404, "no_such_study")


def test_an_atlas_without_studies(built_llama: Built):
    app = create_app([built_llama.atlas])
    client = app.test_client()
    page = client.get("/tiny-llama/studies").text
    assert "This atlas records none" in page
    assert "/studies" not in client.get("/tiny-llama/L0N0").text
    missing = client.get("/tiny-llama/study/an")
    assert missing.status_code == 404
    assert "atlas study" in missing.text
    assert "/stud" not in client.get("/sitemap/tiny-llama-0.xml").text
    assert client.get("/api/v1/atlases/tiny-llama/studies").json["data"] == []
    for atlas in app.extensions["atlases"].values():
        atlas.close()


def test_hostile_prompts_are_text_and_a_bare_study_is_a_page(built_llama: Built, tmp_path: Path):
    file = shutil.copy(built_llama.atlas, tmp_path / "hostile.duckdb")
    rows = invent(file, "bad", clean="<script>alert(1)</script>\u202e", n_prompts=2)
    extend_atlas(file, rows)
    # Nothing but predictions, no neuron found.
    bare = invent(file, "bare")
    study = bare["study"].to_pylist()[0] | {"found_neuron_ids": []}
    lists = bare["study"].schema
    extend_atlas(
        file,
        bare
        | {
            "study": type(bare["study"]).from_pylist([study], lists),
            **{table: bare[table].slice(0, 0) for table in ("study_step", "study_edge")},
        },
    )
    app = create_app([file])
    client = app.test_client()
    for path in ("/tiny-llama/studies", "/tiny-llama/study/bad", "/tiny-llama"):
        page = client.get(path).text
        assert "<script>alert(1)" not in page
        assert "\u202e" not in page
        Reader(page)
    assert "&lt;script&gt;alert(1)" in client.get("/tiny-llama/study/bad").text
    page = client.get("/tiny-llama/study/bare")
    assert page.status_code == 200
    for said in ("The logit lens was not measured", "Nothing was patched by layer", "No neuron stood out"):
        assert said in page.text
    assert client.get("/tiny-llama/study/bare.card.png").status_code == 200
    # A neuron's page is little longer for it.
    lengths = [
        len(client.get(f"/tiny-llama/{name}").text.split('id="studies"')[-1].split("</section>")[0])
        for name in ("L2N7", "L1N3")
    ]
    assert max(lengths) < 3000
    for atlas in app.extensions["atlases"].values():
        atlas.close()


def test_charts_in_a_browser(chromium, site):
    context = new_context(chromium, viewport={"width": 390, "height": 20000}, color_scheme="dark")
    page = context.new_page()
    said = []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    try:
        for name in ("an", "suite"):
            page.goto(f"{site}/tiny-llama/study/{name}")
            page.wait_for_function(
                DRAWN,
                timeout=60_000,
            )
            page.wait_for_function("() => document.documentElement.scrollWidth <= innerWidth")
            # A square of the map is wide enough to be told from its neighbours.
            box = page.locator("#mlp .mark-rect path").first.bounding_box()
            assert box["width"] > 8
            assert box["height"] > 8
        assert said == []
    finally:
        context.close()
