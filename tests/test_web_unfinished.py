"""Pages of an atlas whose run goes on, and links that were made to its earlier builds."""

from __future__ import annotations

import shutil
from dataclasses import asdict
from pathlib import Path

import duckdb
import pytest
from click.testing import CliRunner

from atlas import open_atlas
from atlas.cli.main import main
from atlas.core.info import count_words, share_words, unfinished_build_id, unfinished_words
from atlas.export import card as export_card
from web import create_app
from web.report.weights import what_it_is


def unfinished(atlas: Path, copy: Path, times: int = 5, content: str = "0123456789ab") -> str:
    """Make a copy that says that so many times its texts are planned; its build."""
    shutil.copy(atlas, copy)
    copy.chmod(0o644)
    with open_atlas(copy) as opened:
        build = unfinished_build_id(asdict(opened.info), content)
    with duckdb.connect(str(copy)) as connection:
        connection.execute("UPDATE atlas SET n_texts_planned = ? * n_texts, build_id = ?", [times, build])
        connection.execute("CHECKPOINT")
    return build


@pytest.fixture(scope="module")
def part(tiny_llama_atlas, tmp_path_factory):
    """An atlas of a fifth of its texts, and its build."""
    path = tmp_path_factory.mktemp("unfinished") / "part.duckdb"
    return path, unfinished(tiny_llama_atlas, path)


@pytest.fixture(scope="module")
def whole_info(tiny_llama_atlas):
    with open_atlas(tiny_llama_atlas) as atlas:
        return atlas.info


@pytest.fixture(scope="module")
def going_on(part):
    """A client of the site over it."""
    app = create_app([part[0]])
    app.testing = True
    yield app.test_client()
    for atlas in app.extensions["atlases"].values():
        atlas.close()


@pytest.fixture
def earlier(part, whole_info):
    """A build of the same run, which is not served."""
    return unfinished_build_id(asdict(whole_info), "ffffffffffff")


PAGES = ["", "/L1N2", "/token/5", "/neurons", "/pairs", "/hubs", "/glossary", "/tables", "/compare?n=L1N2", "/sql"]


@pytest.mark.parametrize("path", PAGES)
def test_every_page_says_how_much_is_read(going_on, whole_info, path):
    answer = going_on.get(f"/tiny-llama{path}")
    assert answer.status_code == 200
    assert "20% of the texts are read: counts will grow." in answer.text
    n = whole_info.n_texts
    assert f"{n:,} of about {5 * n:,} texts" in answer.text
    plain, mark, query = path.partition("?")
    if path == "/sql":  # its data are an answer's
        return
    assert going_on.get(f"/tiny-llama{plain}.json{mark}{query}").json["share_read"] == 0.2


@pytest.mark.parametrize("path", PAGES)
def test_pages_of_complete_atlases_say_nothing_of_it(client, path):
    answer = client.get(f"/tiny-llama{path}")
    assert 'class="unfinished"' not in answer.text
    assert "texts are read:" not in answer.text
    plain, mark, query = path.partition("?")
    if path == "/sql":
        return
    assert client.get(f"/tiny-llama{plain}.json{mark}{query}").json["share_read"] is None


def test_everything_made_of_it_says_so(going_on, part, whole_info):
    path, build = part
    n = whole_info.n_texts
    counted = f"{n:,} of about {5 * n:,}"
    assert counted in going_on.get("/").text
    embed = going_on.get("/embed/tiny-llama/L1N2").text
    assert "20% of the texts are read" in embed
    page = going_on.get("/tiny-llama/L1N2").text
    assert f"howpublished = {{Neuron Atlas, unfinished build {build}}}" in page
    assert f"unfinished build {build}, 20% of the texts read ({counted})" in page
    said = going_on.get("/oembed?url=http://localhost/tiny-llama/L1N2").json
    assert said["title"].endswith("(20% of the texts read)")
    assert going_on.get("/api/v1/atlases/tiny-llama").json["data"]["n_texts_planned"] == 5 * n
    runner = CliRunner()
    for command in (["info", str(path)], ["show", str(path), "L1N2"]):
        assert f"20% of the texts are read: counts will grow. ({counted} texts)" in runner.invoke(main, command).output
    with open_atlas(path) as atlas:
        assert "20% of the texts are read" in what_it_is(atlas)
        text = "".join(export_card._introduction(atlas, (), "cc0-1.0"))
        assert f"**20% of the texts are read: counts will grow.** The run had read {counted} texts" in text


def test_cards_say_so(going_on, part, client):
    for site, there in ((going_on, True), (client, False)):
        with site.application.test_request_context("/tiny-llama/L1N2"):
            from flask import g

            from web.site.urls import AtlasRef
            from web.views.neuron import neuron_page

            g.ref = AtlasRef("tiny-llama")
            shown = neuron_page(site.application.extensions["atlases"]["tiny-llama"], 50, None)
            assert ("20% of the texts read" in shown.card().svg) == there


def test_words(whole_info):
    from dataclasses import replace

    info = replace(whole_info, n_texts=1204)
    assert (count_words(info), share_words(info), unfinished_words(info)) == ("1,204", None, None)
    assert count_words(replace(info, n_texts_planned=5300)) == "1,204 of about 5,300"
    assert unfinished_words(replace(info, n_texts_planned=5300)) == "22% of the texts are read: counts will grow."
    assert unfinished_words(replace(info, n_texts_planned=10**6)).startswith("Less than 1% of the texts are read")
    assert share_words(replace(info, n_texts_planned=1200)) == "99% of the texts"
    assert count_words(replace(info, n_texts_planned=1200)) == "1,204 of about 1,204"


def test_a_pinned_page_of_it_is_not_kept(going_on, part, client, whole_info):
    for path in ("/tiny-llama@{}/L1N2", "/api/v1/atlases/tiny-llama@{}/search?q=an", "/tiny-llama@{}/tables/token.csv"):
        assert going_on.get(path.format(part[1])).headers["Cache-Control"] == "no-cache"
        assert "max-age" in client.get(path.format(whole_info.build_id)).headers["Cache-Control"]


@pytest.mark.parametrize(
    ("path", "to"),
    [
        ("/tiny-llama@{}", "/tiny-llama?earlier={}"),
        ("/tiny-llama@{}/L1N2?token=5&side=x", "/tiny-llama/L1N2?token=5&side=x&earlier={}"),
        ("/tiny-llama@{}/study/a%20b%3F", "/tiny-llama/study/a%20b%3F?earlier={}"),
        ("/tiny-llama@{}/L1N2.json?token=5", "/tiny-llama/L1N2.json?token=5"),
        ("/tiny-llama@{}/L1N2.card.png", "/tiny-llama/L1N2.card.png?earlier={}"),
        ("/tiny-llama@{}/neurons.csv", "/tiny-llama/neurons.csv?earlier={}"),
        ("/tiny-llama@{}/tables/token.csv", "/tiny-llama/tables/token.csv?earlier={}"),
        ("/embed/tiny-llama@{}/L1N2/fires", "/embed/tiny-llama/L1N2/fires?earlier={}"),
        ("/api/v1/atlases/tiny-llama@{}/search?q=an", "/api/v1/atlases/tiny-llama/search?q=an"),
    ],
)
def test_a_link_to_an_earlier_build_leads_to_this_one(going_on, client, earlier, path, to):
    for site in (going_on, client):  # a build of the run in progress, and the complete one
        answer = site.get(path.format(earlier))
        assert (answer.status_code, answer.headers["Location"]) == (302, to.format(earlier))
        assert answer.headers["Cache-Control"] == "no-store"


def test_what_is_sent_to_an_earlier_build_is_sent_again(going_on, earlier):
    answer = going_on.post(f"/tiny-llama@{earlier}/sql.json", data={"sql": "SELECT 1"})
    assert answer.status_code == 307
    assert answer.headers["Location"] == "/tiny-llama/sql.json"


def test_the_page_says_which_build_the_link_was_to(going_on, client, earlier, part, whole_info):
    said = f"You followed a link to an earlier build (<code>{earlier}</code>)"
    for site, build, state in (
        (going_on, part[1], "20% of the texts read"),
        (client, whole_info.build_id, "complete"),
    ):
        answer = site.get(f"/tiny-llama@{earlier}/L1N2", follow_redirects=True)
        assert said in answer.text
        assert f"this is build <code>{build}</code> ({state}" in answer.text
        assert "earlier=" not in answer.text  # in no link, no address to cite
        plain = site.get("/tiny-llama/L1N2")
        assert plain.headers["ETag"] != answer.headers["ETag"]
        assert site.get("/tiny-llama/L1N2", headers={"If-None-Match": answer.headers["ETag"]}).status_code == 200
        # Spelt otherwise, the link loses nothing on the way.
        assert said in site.get(f"/tiny-llama@{earlier}/1.2", follow_redirects=True).text
        assert (
            "The link was to an earlier build"
            in site.get(f"/embed/tiny-llama@{earlier}/L1N2", follow_redirects=True).text
        )


def test_the_mark_of_no_earlier_build_says_nothing(client, whole_info, earlier):
    for mark in ("0123456789ab", whole_info.build_id, "x", "", "<b>", earlier[:6]):
        answer = client.get(f"/tiny-llama/neurons?earlier={mark}")
        assert answer.status_code == 200
        assert "You followed" not in answer.text
    assert client.get(f"/api/v1/atlases/tiny-llama/search?earlier={earlier}&q=an").status_code == 200
    pinned = client.get(f"/tiny-llama@{whole_info.build_id}/L1N2?earlier={earlier}")
    assert "You followed" not in pinned.text


def test_a_page_pinned_to_a_build_that_is_gone_shows_the_current_one_and_says_so(client, going_on, part, whole_info):
    for site, build in ((client, whole_info.build_id), (going_on, part[1])):
        answer = site.get("/tiny-llama@0123456789ab/L1N2")
        assert answer.status_code == 200
        banner = answer.text[answer.text.index("The link was to build") :][:300]
        assert "0123456789ab" in banner
        assert build in banner
        assert (answer.headers["X-Robots-Tag"], answer.headers["Cache-Control"]) == ("noindex", "no-cache")
        assert "ETag" not in answer.headers
        assert '<link rel="canonical" href="http://localhost/tiny-llama/L1N2' in answer.text
        assert 'href="/tiny-llama@0123456789ab' not in answer.text
        assert "The link was to build" not in site.get("/tiny-llama/L1N2").text
        # Another spelling leads to the name, and the page there still says it.
        assert site.get("/tiny-llama@0123456789ab/1.2").location == "/tiny-llama@0123456789ab/L1N2"


@pytest.mark.parametrize(
    "path",
    [
        "/tiny-llama@{}/L1N2.json",
        "/tiny-llama@{}/L1N2.card.png",
        "/tiny-llama@{}/L1N2.chart.csv?chart=histogram",
        "/tiny-llama@{}/sql.json?sql=SELECT 1",
        "/api/v1/atlases/tiny-llama@{}/neurons/L1N2",
        "/embed/tiny-llama@{}/L1N2",
    ],
)
def test_programs_and_frames_get_no_other_build_than_they_ask_for(client, path):
    answer = client.get(path.format("0123456789ab"))
    assert answer.status_code == 404
    assert "0123456789ab" in answer.text


def test_oembed_and_the_bridge_lead_on(going_on, client, earlier):
    for link in (f"/tiny-llama@{earlier}/L1N2", f"/tiny-llama/L1N2?earlier={earlier}"):
        said = going_on.get("/oembed", query_string={"url": f"http://localhost{link}"}).json
        assert "/embed/tiny-llama/L1N2" in said["html"]
    answer = client.get(f"/bridge/compare?n=tiny-llama@{earlier}:L1N2&n=tiny-gpt2:L0N1")
    assert answer.status_code == 302
    assert answer.headers["Location"].startswith("/bridge/compare?n=tiny-llama%3AL1N2&n=tiny-gpt2%3AL0N1")
    assert client.get(answer.headers["Location"], follow_redirects=True).status_code == 200
