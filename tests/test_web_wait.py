"""`atlas serve --wait`: a site without any atlas, and files that come while it answers."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

import duckdb
import pytest
from click.testing import CliRunner

from atlas import open_atlas
from atlas.cli.main import main
from atlas.core.errors import NotAnAtlasError
from atlas.core.info import RunProgress, unfinished_build_id
from tests.conftest import new_context
from tests.test_web_swap import SQL, Server, Visitors, put
from web import create_app
from web.server.memory import LEAST_DEFAULT, divide
from web.server.plan import Plan
from web.server.serve import serve_files
from web.server.swap import Site
from web.server.watched import Watched
from web.workers.live.options import read_models
from web.workers.sql.console import ConsoleOptions
from web.workers.sql.limits import Limits


@contextmanager
def waiting(folder: Path, *arguments: str) -> Iterator[Server]:
    """`atlas serve --wait` with these arguments; `path` is the folder."""
    code, said = "from web.server.command import serve; serve()", folder / "stderr"
    with said.open("w") as errors:
        process = subprocess.Popen(
            [sys.executable, "-c", code, "--wait", "--port", "0", *arguments],
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        )
    try:
        yield Server(folder, process, said)
    finally:
        process.send_signal(signal.SIGINT)
        process.stdout.close()
        status = process.wait(timeout=60)
    assert status == 0


@pytest.fixture(scope="module")
def empty():
    """A client of a site without any atlas."""
    app = create_app([])
    app.testing = True
    return app.test_client()


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/search",
        "/search?q=L1N2",
        "/search?q=an",
        "/glossary",
        "/api",
        "/bridge",
        "/bridge/token?text=an",
        "/bridge/compare",
        "/search/suggest.json?q=an",
        "/robots.txt",
        "/sitemap.xml",
        "/llms.txt",
        "/api/v1/atlases",
        "/api/v1/glossary",
        "/api/v1/openapi.json",
        "/healthz/runs",
    ],
)
def test_a_site_without_any_atlas_answers(empty, path):
    answer = empty.get(path)
    assert answer.status_code == 200, answer.text


def test_a_site_without_any_atlas_says_so(empty):
    said = empty.get("/healthz").json
    assert (said["status"], said["atlases"], said["awaited"]) == ("ok", {}, {})
    answer = empty.get("/demo/L1N2")
    assert answer.status_code == 404
    assert "There is no atlas &#39;demo&#39; here yet." in answer.text
    assert empty.get("/api/v1/atlases/demo").json["error"]["message"] == "There is no atlas 'demo' here yet."


def test_memory_of_a_site_without_any_atlas():
    budget = divide(LEAST_DEFAULT, [], limits=Limits())
    assert budget.workers >= 1
    assert budget.limits is not None


def test_models_of_atlases_that_are_awaited():
    assert read_models(["demo=x"], None) == {"demo": "x"}


def test_without_wait_a_missing_file_is_an_error(tmp_path):
    with pytest.raises(NotAnAtlasError, match="does not exist"):
        serve_files([tmp_path / "no.duckdb"], "127.0.0.1", 0, 1, 1)


def test_files_are_served_as_they_come(tiny_llama_atlas, tiny_gpt2_atlas, tmp_path):
    first, second = tmp_path / "first.duckdb", tmp_path / "second.duckdb"
    with waiting(tmp_path, str(first), str(second), "--workers", "1", "--saved", str(tmp_path / "saved")) as server:
        said = server.health()
        assert (said["status"], said["atlases"]) == ("ok", {})
        assert said["awaited"] == {"first.duckdb": None, "second.duckdb": None}
        assert b"Waiting for" in server.get("/")[1]
        with Visitors(server.address, "/", 2) as visitors:
            put(second, tiny_gpt2_atlas.read_bytes())
            server.until(lambda said: list(said["atlases"]) == ["tiny-gpt2"])
            # No atlas: said once, and awaited on.
            put(first, b"no atlas")
            refused = server.until(lambda said: said["awaited"].get("first.duckdb"))["awaited"]["first.duckdb"]
            assert "first.duckdb is not a DuckDB file" in refused
            assert str(tmp_path) not in refused
            put(first, b"no atlas either")
            time.sleep(3)
            assert server.said.read_text().count("is still awaited") == 1
            put(first, tiny_llama_atlas.read_bytes())
            # In the order of the command line, whichever came first.
            said = server.until(lambda said: len(said["atlases"]) == 2)
            assert list(said["atlases"]) == ["tiny-llama", "tiny-gpt2"]
            assert said["awaited"] == {}
        assert visitors.lost == []
        assert visitors.statuses == {200}
        assert server.get("/tiny-llama/L1N2")[0] == server.get("/tiny-gpt2/L1N2")[0] == 200
        assert server.get(SQL)[0] == 200


def test_an_atlas_for_which_there_is_no_room_is_awaited_on(tiny_llama_atlas, tiny_gpt2_atlas, tmp_path, capsys):
    first, second = (Path(shutil.copy(tiny_llama_atlas, tmp_path / "a.duckdb")), tmp_path / "b.duckdb")
    room, off = LEAST_DEFAULT, ConsoleOptions(enabled=False)

    def plan(atlases):
        return Plan(divide(room, list(atlases.values()), limits=None), off, 8)

    now = plan({})
    site = Site([first], ["tiny-llama"], off, awaited=[second], order=[second, first], plan=plan, laid_out=now)
    try:
        shutil.copy(tiny_gpt2_atlas, second)
        room = 1 << 20
        assert [site.look() for _ in range(4)] == [None] * 4
        said = json.loads(site.status.read_text())["awaited"]["b.duckdb"]
        assert "--memory 1MiB is not enough to serve tiny-gpt2, tiny-llama" in said
        assert capsys.readouterr().err.count("b.duckdb is still awaited: --memory") == 1
        room = LEAST_DEFAULT
        os.utime(second)  # another state of it is looked at again
        assert site.look() is None  # once it is the same at two looks
        assert site.look() is not None
        assert (site.slugs, site.paths, site.awaited) == (["tiny-gpt2", "tiny-llama"], [second, first], [])
        assert site.plan is not now
        assert json.loads(site.status.read_text()) == {"replaced": None, "awaited": {}}
        assert site.look() is None
    finally:
        site.close()


def in_place(atlas: Path, path: Path, planned: int | None) -> str:
    """Publish a copy by rename: of a fifth of its texts if any are planned, else the whole; its build."""
    copy = Path(shutil.copy(atlas, path.with_name("copy")))
    copy.chmod(0o644)
    with open_atlas(copy) as opened:
        build = opened.info.build_id if planned is None else unfinished_build_id(asdict(opened.info), "0123456789ab")
    with duckdb.connect(str(copy)) as connection:
        connection.execute("UPDATE atlas SET n_texts_planned = ? * n_texts, build_id = ?", [planned, build])
        connection.execute("CHECKPOINT")
    os.replace(copy, path)
    return build


def say(path: Path, share: float | None = 0.42, ago: float = 0.0) -> None:
    """What a run says beside its file."""
    done = {"Loading model": 1.3, "Congruence": 12.0}
    RunProgress("Activations", share, "2,310 tokens/s", 95.0, 3 << 29, time.time() - ago, done).write(path)


def test_progress_of_runs(tiny_llama_atlas, tmp_path):
    path, other = tmp_path / "a.duckdb", tmp_path / "b.duckdb"
    shutil.copy(tiny_llama_atlas, path)
    app = create_app([path], watched=Watched({"tiny-llama": path}, (other,)))
    client = app.test_client()
    try:
        assert [run["file"] for run in client.get("/healthz/runs").json["runs"]] == ["b.duckdb"]
        assert "Waiting for b.duckdb" in client.get("/").text
        say(path)
        say(other, share=None, ago=180)
        answer = client.get("/healthz/runs")
        assert answer.headers["Cache-Control"] == "no-store"
        with open_atlas(path) as atlas:
            assert answer.json["builds"] == {"tiny-llama": atlas.info.build_id}
        first, second = answer.json["runs"]
        assert (first["slug"], first["heading"], first["share"], first["running"]) == (
            "tiny-llama",
            "Reading texts",
            0.42,
            True,
        )
        assert (second["slug"], second["share"], second["running"]) == (None, None, False)
        page = client.get("/")
        assert 'http-equiv="refresh"' in page.text
        assert "Reading texts" in page.text
        assert "42% · 2,310 tokens/s · 1 min 35 s left · 1.6 GB" in page.text
        assert "Done: loading the model 1 s, congruence of every neuron with every token 12 s." in page.text
        assert "This run has reported nothing for 3 min" in page.text
        assert str(tmp_path) not in page.text + answer.text
    finally:
        for atlas in app.extensions["atlases"].values():
            atlas.close()


def test_a_site_without_runs_shows_none(client):
    page = client.get("/").text
    assert "refresh" not in page
    assert "runs.js" not in page
    assert client.get("/healthz/runs").json["runs"] == []


def test_the_home_page_follows_a_run(tiny_llama_atlas, tmp_path, chromium):
    path = tmp_path / "demo.duckdb"
    with waiting(tmp_path, str(path), "--workers", "1", "--no-sql") as server:
        context = new_context(chromium)
        try:
            tab = context.new_page()
            said = []
            tab.on("console", lambda message: said.append(message.text))
            tab.on("pageerror", lambda error: said.append(str(error)))
            tab.goto(f"http://{server.address}/")
            tab.get_by_text("Waiting for demo.duckdb").wait_for()
            say(path)
            tab.get_by_text("2,310 tokens/s").wait_for()
            tab.get_by_text("42%").first.wait_for()
            assert tab.locator("progress").evaluate("bar => bar.value") == 0.42
            say(path, share=0.57)
            tab.get_by_text("57%").first.wait_for()
            in_place(tiny_llama_atlas, path, 5)
            tab.get_by_text("20% of the texts are read").wait_for()
            tab.locator('td a[href="/tiny-llama"]').wait_for()
            build = in_place(tiny_llama_atlas, path, None)
            RunProgress.forget(path)
            tab.get_by_text("20% of the texts are read").wait_for(state="detached")
            tab.wait_for_function("document.querySelector('progress') === null")
            server.until(lambda said: said["atlases"] == {"tiny-llama": build})
            assert not [line for line in said if "404" not in line]
        finally:
            context.close()


def test_a_pattern_is_not_waited_for(tmp_path):
    """A shell hands on a pattern that matches nothing."""
    result = CliRunner().invoke(main, ["serve", "--wait", str(tmp_path / "*.duckdb")])
    assert result.exit_code == 2
    assert "is a pattern that no file matches; --wait needs the names" in " ".join(result.output.split())
