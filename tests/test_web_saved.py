"""Saved queries: one link for one query, kept in a file of their own by several processes, and shown as text."""

from __future__ import annotations

import json
import multiprocessing
import os
import re
import shutil
import sqlite3
import struct
import subprocess
import sys
import tempfile
from base64 import b32encode
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from hashlib import sha256
from pathlib import Path
from urllib.parse import quote
from xml.etree import ElementTree

import duckdb
import pytest
from click.testing import CliRunner

from tests.html_reader import Reader
from web import create_app
from web.cards.saved import saved_card
from web.saved import file, query
from web.saved.errors import SavedFileError, SavedFull, SavedRefused, SavedUnavailable
from web.saved.query import LONGEST_DESCRIPTION, LONGEST_TITLE, Drawing, check_note, check_query, normal
from web.saved.store import MOST_SAVED, open_saved
from web.server import serve as server
from web.server.command import serve

SQL = "SELECT layer, count(*) AS n FROM neuron WHERE name <> :name GROUP BY layer ORDER BY layer"
FORM = {"sql": SQL, "p.name": "L0N0", "title": "Neurons by layer", "description": "All but one.\r\nBy layer."}
JSON = {"Accept": "application/json"}


@pytest.fixture
def kept(tmp_path):
    """An empty file of saved queries."""
    with closing(open_saved(tmp_path / "saved.sqlite")) as kept:
        yield kept


@pytest.fixture
def client(app, kept):
    """A client of the site, which keeps short links."""
    app.extensions["saved"] = kept
    yield app.test_client()
    app.extensions["saved"] = None


@pytest.fixture
def asking(app, client):
    """The same, if visitors' SQL can be confined here."""
    reason = app.extensions["console"].start()
    if reason is not None:
        pytest.skip(reason)
    return client


@pytest.fixture(scope="module", autouse=True)
def ended(app):
    """No process is left behind."""
    yield
    app.extensions["console"].close()


def save(client, form=None, url="/tiny-llama/q", **headers):
    response = client.post(url, data=form or FORM, headers=headers)
    assert response.status_code == 303, response.text
    return response.headers["Location"]


# --- names


def test_a_name_is_the_hash_of_what_is_asked(client):
    content = '["SELECT layer, count(*) AS n FROM neuron WHERE name <> :name GROUP BY layer ORDER BY layer",'
    content += '{"name":"L0N0"},null]'
    expected = b32encode(sha256(content.encode()).digest()).decode().lower()[:12]
    assert save(client) == f"/tiny-llama/q/{expected}"


@pytest.mark.parametrize(
    "change",
    [
        {"sql": f"\r\n  {SQL} ;;\n ; "},
        {"title": "Another", "description": ""},
        {"p.other": "not in the statement"},
        {"draw": "none", "x": "layer"},
    ],
)
def test_the_same_query_has_the_same_link(client, change):
    assert save(client, FORM | change) == save(client)


def test_the_ends_of_lines_do_not_part_links(client):
    lines = "SELECT 1\nFROM neuron\nLIMIT 1"
    assert save(client, {"sql": lines}) == save(client, {"sql": lines.replace("\n", "\r\n")})


def test_another_query_has_another_link(client):
    changes = (
        {},
        {"sql": SQL.replace("n FROM", "N FROM")},
        {"sql": SQL.replace("count(*)", "count( *)")},
        {"p.name": "L0N1"},
        {"p.name": "L0N0 "},
        {"draw": "line", "x": "layer", "y": "n"},
        {"draw": "line", "x": "n", "y": "layer"},
        {"draw": "bar", "x": "layer", "y": "n"},
    )
    assert len({save(client, FORM | change) for change in changes}) == len(changes)


def test_hashes_that_begin_alike(kept, monkeypatch):
    hashes = {"SELECT 1": "a" * 52, "SELECT 2": "a" * 20 + "b" * 32, "SELECT 3": "a" * 12 + "c" * 40}
    monkeypatch.setattr(query, "digest", lambda asked: hashes[asked.sql])
    queries = [normal(sql, {}) for sql in hashes]
    found = [kept.save("x", one)[0].name for one in queries]
    assert found == ["a" * 12, "a" * 20, "a" * 12 + "c" * 8]
    with closing(sqlite3.connect(kept.path)) as connection:
        connection.execute("DELETE FROM saved_query WHERE name = ?", ["a" * 12])
        connection.commit()
    assert kept.find("x", queries[0]) is None
    assert [kept.find("x", one).name for one in queries[1:]] == found[1:]
    assert [kept.save("x", one)[1] for one in queries] == [True, False, False]


# --- the file


def test_the_first_to_save_names_it(kept):
    asked = normal(SQL, {"name": "x"}, Drawing("line", "layer", "n"))
    first, new = kept.save("tiny-llama", asked, "First", "said")
    assert new
    assert kept.save("tiny-llama", asked, "Second", None) == (first, False)
    assert kept.save("tiny-gpt2", asked, "Elsewhere")[0].title == "Elsewhere"
    assert kept.named("tiny-llama", first.name) == first == kept.find("tiny-llama", asked)
    assert (first.title, first.description, first.query) == ("First", "said", asked)
    assert kept.named("other", first.name) is None
    kept.close()
    with closing(open_saved(kept.path)) as again:
        assert again.named("tiny-llama", first.name) == first


def _save_many(path, start, who):
    kept = open_saved(path)
    start.wait()
    with ThreadPoolExecutor(4) as threads:
        # Every second query is the other process's too.
        queries = [normal(f"SELECT {number if number % 2 else (who, number)}", {}) for number in range(60)]
        new = sum(new for _, new in threads.map(lambda one: kept.save("x", one, who), queries))
    kept.close()
    with path.with_name(who).open("w") as said:
        json.dump(new, said)


def test_two_processes_save_at_once(tmp_path):
    path, spawn = tmp_path / "saved.sqlite", multiprocessing.get_context("spawn")
    start = spawn.Barrier(2)
    processes = [spawn.Process(target=_save_many, args=(path, start, who)) for who in ("a", "b")]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
        assert process.exitcode == 0
    new = [json.loads((tmp_path / who).read_text()) for who in ("a", "b")]
    with closing(sqlite3.connect(path)) as connection:
        rows = connection.execute("SELECT statement, title FROM saved_query").fetchall()
    assert len(rows) == len({statement for statement, _ in rows}) == sum(new) == 30 + 2 * 30


def test_bad_files_are_refused(tmp_path, tiny_llama_atlas, tiny_gpt2_atlas):
    before = tiny_llama_atlas.read_bytes()
    (tmp_path / "link").symlink_to(tiny_llama_atlas)
    (tmp_path / "notes.txt").write_text("dear diary")
    with closing(sqlite3.connect(tmp_path / "other.sqlite")) as other:
        other.execute("CREATE TABLE bookmark (url)")
        other.commit()
    shutil.copy(tmp_path / "other.sqlite", tmp_path / "before.sqlite")
    open_saved(tmp_path / "newer.sqlite").close()
    with closing(sqlite3.connect(tmp_path / "newer.sqlite")) as newer:
        newer.execute("PRAGMA user_version = 2")
        newer.execute("PRAGMA wal_checkpoint")
    for path, said in (
        (tiny_llama_atlas, "is an atlas that is served: nothing is ever written into one"),
        (tmp_path / "link", "is an atlas that is served"),
        (tiny_gpt2_atlas, "is a DuckDB file, an atlas perhaps"),
        (tmp_path, "is a folder"),
        (Path("/dev/null"), "is not a plain file"),
        (tmp_path / "notes.txt", "is not a file of saved queries but another program's"),
        (tmp_path / "other.sqlite", "is not a file of saved queries but another program's"),
        (tmp_path / "newer.sqlite", "written by a newer version of this program: version 2, expected 1"),
        (tmp_path / "no" / "such.sqlite", "cannot be kept in .*a folder that exists"),
    ):
        with pytest.raises(SavedFileError, match=said):
            open_saved(path, [tiny_llama_atlas])
    assert tiny_llama_atlas.read_bytes() == before
    assert (tmp_path / "other.sqlite").read_bytes() == (tmp_path / "before.sqlite").read_bytes()
    assert (tmp_path / "notes.txt").read_text() == "dear diary"
    assert not (tmp_path / "no").exists()


def test_an_empty_file_will_do(tmp_path):
    (tmp_path / "empty").touch()
    with closing(open_saved(tmp_path / "empty")) as kept:
        assert kept.save("x", normal("SELECT 1", {}))[1]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_a_file_that_may_not_be_written():
    folder = Path(tempfile.mkdtemp())
    try:
        path = folder / "saved.sqlite"
        open_saved(path).close()
        folder.chmod(0o755)
        code = (
            "import os, sys; from pathlib import Path\n"
            "from web.saved.errors import SavedFileError; from web.saved.store import open_saved\n"
            "os.setuid(65534)\n"
            "for path in sys.argv[1:]:\n  try: open_saved(Path(path))\n  except SavedFileError as error: print(error)"
        )
        arguments = [sys.executable, "-c", code, str(path), str(folder / "new")]
        said = subprocess.run(arguments, capture_output=True, text=True, check=True).stdout.splitlines()
        assert len(said) == 2
        for name, line in zip(("saved.sqlite", "new"), said, strict=True):
            assert line.startswith(f"Saved queries cannot be kept in {folder / name}: ")
            assert line.endswith("choose another with --saved.")
    finally:
        shutil.rmtree(folder)


def test_serving_with_a_bad_file_says_so(tmp_path, tiny_llama_atlas):
    result = CliRunner().invoke(serve, [str(tiny_llama_atlas), "--saved", str(tiny_llama_atlas), "--port", "0"])
    assert isinstance(result.exception, SavedFileError)


def test_the_options(monkeypatch):
    given = {}
    monkeypatch.setattr(server, "serve_files", lambda *_, **named: given.update(named))
    for options, expected in (("", (None, MOST_SAVED)), ("--saved s.sqlite --saved-most 7", (Path("s.sqlite"), 7))):
        assert CliRunner().invoke(serve, ["x.duckdb", *options.split()]).exit_code == 0
        assert (given["saved"], given["most_saved"]) == expected


# --- limits


def test_what_may_be_saved():
    with pytest.raises(SavedRefused, match="no statement to save"):
        check_query(" ;; \r\n", {}, None, 100)
    with pytest.raises(SavedRefused, match="parameter 'name' has no value; send it as the form field"):
        check_query(SQL, {"name": ""}, None, 1000)
    with pytest.raises(SavedRefused, match="has 101 bytes with its parameters; expected at most 100"):
        check_query("SELECT :a, '" + "é" * 43 + "'", {"a": "12"}, None, 100)
    assert check_query("SELECT :a, '" + "é" * 43 + "'", {"a": "1"}, None, 100)
    with pytest.raises(SavedRefused, match="NUL"):
        check_query("SELECT '\0'", {}, None, 100)
    with pytest.raises(SavedRefused, match="column to draw is too long"):
        check_query("SELECT 1", {}, Drawing("line", "x" * 201, "y"), 100)
    assert check_note("  a\n b ", " \r\n") == ("a b", None)
    with pytest.raises(SavedRefused, match=f"title has {LONGEST_TITLE + 1} characters; expected at most"):
        check_note("x" * (LONGEST_TITLE + 1), "")
    with pytest.raises(SavedRefused, match=r"description has 1,001 characters; expected at most 1,000"):
        check_note("", "x" * (LONGEST_DESCRIPTION + 1))


def test_what_is_just_not_too_long_is_saved():
    assert (LONGEST_TITLE, LONGEST_DESCRIPTION) == (120, 1000)
    assert check_note("x" * 120, "y" * 1000) == ("x" * 120, "y" * 1000)
    assert check_query("SELECT 'é'", {}, Drawing("bar", "x" * 200, "y"), 11).sql == "SELECT 'é'"
    with pytest.raises(SavedRefused, match="has 11 bytes with its parameters; expected at most 10"):
        check_query("SELECT 'é'", {}, None, 10)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"sql": " ; "}, "no statement to save"),
        ({"sql": "SELECT '" + "x" * 100_000 + "'"}, "expected at most 100,000"),
        ({"title": "x" * 200}, "expected at most 120"),
        ({"draw": "pie"}, "draw='pie' is invalid"),
        ({"p.name": ""}, "has no value"),
    ],
)
def test_what_may_not_be_saved_is_a_400(client, change, said):
    response = client.post("/tiny-llama/q", data=FORM | change, headers=JSON)
    assert response.status_code == 400
    assert response.json["error"]["code"] == "bad_request"
    assert said in response.json["error"]["message"]
    assert client.post("/tiny-llama/q", data={"sql": "x" * 2_000_000}).status_code == 413


def test_a_full_file_says_so(kept, client, monkeypatch):
    kept.most = 2
    found = [save(client, {"sql": f"SELECT {number}"}) for number in range(2)]
    response = client.post("/tiny-llama/q", data={"sql": "SELECT 2"}, headers=JSON)
    assert (response.status_code, response.json["error"]["code"]) == (507, "saved_full")
    assert "2 queries and lists are saved here" in response.json["error"]["message"]
    assert "Insufficient storage" in client.post("/tiny-llama/q", data={"sql": "SELECT 2"}).text
    assert save(client, {"sql": "SELECT 1"}) == found[1]  # a link that is there is found again
    monkeypatch.setattr(file, "MOST_BYTES", 40 * 4096)
    with closing(open_saved(kept.path)) as small:
        long = [normal(f"SELECT '{'x' * 50_000}', {number}", {}) for number in range(10)]
        with pytest.raises(SavedFull, match="is full: it, or its disk, has no room"):
            [small.save("x", one) for one in long]
        assert small.named("tiny-llama", found[0].rpartition("/")[2]).query.sql == "SELECT 0"


def test_a_file_that_is_gone(kept, client):
    kept.close()
    kept.path.unlink()
    with pytest.raises(SavedUnavailable, match="cannot be read or written here now"):
        kept.find("x", normal("SELECT 1", {}))
    response = client.get("/tiny-llama/q/aaaaaaaaaaaa.json")
    assert (response.status_code, response.json["error"]["code"]) == (503, "saved_unavailable")
    assert response.headers["Retry-After"] == "5"
    assert client.get("/tiny-llama/sql").status_code == 200
    assert not kept.path.exists()


def test_saving_counts_against_the_rate_limit(tiny_llama_atlas, kept):
    app = create_app([tiny_llama_atlas], "2/min", saved_queries=kept)
    client = app.test_client()
    assert [client.post("/tiny-llama/q", data=FORM).status_code for _ in range(3)] == [303, 303, 429]
    app.extensions["atlases"]["tiny-llama"].close()


# --- who may save


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 303),
        ({"Sec-Fetch-Site": "same-origin", "Origin": "http://localhost"}, 303),
        ({"Origin": "https://localhost"}, 303),
        ({"Sec-Fetch-Site": "none"}, 303),
        ({"Sec-Fetch-Site": "same-origin", "Origin": "https://what-a-proxy-hides.example"}, 303),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Sec-Fetch-Site": "same-site", "Origin": "http://other.localhost"}, 403),
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "http://localhost:8001"}, 403),
        ({"Origin": "null"}, 403),
    ],
)
def test_forms_of_other_sites_are_refused(kept, client, headers, status):
    response = client.post("/tiny-llama/q", data=FORM, headers=headers)
    assert response.status_code == status
    assert (kept.find("tiny-llama", normal(SQL, {"name": "L0N0"})) is None) == (status == 403)
    if status == 403:
        refused = client.post("/tiny-llama/q", data=FORM, headers={**headers, **JSON})
        assert refused.json["error"]["code"] == "cross_site"
        assert "Access-Control-Allow-Origin" not in refused.headers


def test_an_answer_for_programs(client):
    first = client.post("/tiny-llama/q", data=FORM, headers=JSON)
    assert first.status_code == 201
    name = first.json["name"]
    said = {
        "name": name,
        "url": f"/tiny-llama/q/{name}",
        "title": "Neurons by layer",
        "description": "All but one.\nBy layer.",
    }
    assert first.json == said | {"new": True}
    again = client.post("/tiny-llama/q", data=FORM | {"title": "Mine"}, headers=JSON)
    assert (again.status_code, again.json) == (200, said | {"new": False})
    assert "Set-Cookie" not in first.headers


# --- without a file


def test_a_site_that_keeps_none_says_how_to_share(app):
    client = app.test_client()
    response = client.post("/tiny-llama/q", data=FORM, headers=JSON)
    assert response.status_code == 404
    assert "Share the console's address instead" in response.json["error"]["message"]
    assert "Short links are not kept on this site" in client.get("/tiny-llama/q/aaaaaaaaaaaa").text
    reason = app.extensions["console"].start()
    if reason is not None:
        pytest.skip(reason)
    page = client.get(f"/tiny-llama/sql?sql={quote('SELECT 1 AS one')}")
    assert page.status_code == 200
    assert 'method="post"' not in page.text
    assert "http://localhost/tiny-llama/sql?sql=SELECT%201%20AS%20one</code>" in page.text
    assert "Short links are not kept on this site." in page.text


# --- the page


def test_a_saved_query_answers(asking):
    url = save(asking, FORM | {"draw": "line", "x": "layer", "y": "n"})
    response = asking.get(url)
    assert response.status_code == 200
    page = Reader(response.text)
    assert page.inline == []
    text = response.text
    assert "<h1>Neurons by layer</h1>" in text
    assert "All but one.\nBy layer.</p>" in text
    assert '<meta name="robots" content="noindex">' in text
    assert response.headers["X-Robots-Tag"] == "noindex"
    assert "ETag" not in response.headers  # it may be removed while the atlas stays
    assert f"http://localhost{url}</code>" in text
    assert text.count("data-chart") == 1
    assert "<h2>3 rows" in text
    plain = asking.get(f"{url}.json").json
    direct = asking.get("/tiny-llama/sql.json", query_string={"sql": SQL, "p.name": "L0N0"}).json
    assert {name: plain[name] for name in direct} == direct
    assert direct["rows"] == [[0, 47], [1, 48], [2, 48]]
    assert plain["saved"]["sql"] == SQL
    assert plain["saved"]["parameters"] == {"name": "L0N0"}
    assert plain["saved"]["drawing"] == {"kind": "line", "x": "layer", "y": "n"}
    table = asking.get(f"{url}.chart.csv?chart=result").text.split()
    assert table == ["layer,n", "0,47", "1,48", "2,48"]
    editing = next(link for link in page.links if link.startswith("/tiny-llama/sql?") and "draw=line" in link)
    console = asking.get(editing).text
    assert f"http://localhost{url}</code>" in console
    assert "saved already as" in console


def test_the_console_saves(asking):
    address = f"/tiny-llama/sql?sql={quote(SQL + ';')}&p.name=L0N0"
    text = asking.get(address).text
    assert 'action="/tiny-llama/q"' in text
    assert "saved already" not in text
    url = save(asking, {"sql": SQL, "p.name": "L0N0"})
    text = asking.get(address).text
    assert 'action="/tiny-llama/q"' not in text
    assert f"http://localhost{url}</code>" in text
    assert f"<h1>Query {url[-12:]}</h1>" in asking.get(url).text
    assert asking.get("/tiny-llama/q").headers["Location"] == "/tiny-llama/sql"


def test_a_pinned_build(asking, app):
    build = app.extensions["atlases"]["tiny-llama"].info.build_id
    url = save(asking, url=f"/tiny-llama@{build}/q")
    assert url.startswith(f"/tiny-llama@{build}/q/")
    response = asking.get(url)
    assert response.status_code == 200
    assert f"http://localhost/tiny-llama/q/{url[-12:]}</code>" in response.text
    assert asking.get(f"{url}.json").json["saved"]["build_id"] == build
    gone = asking.get(url.replace(build, "0" * 12))
    assert (gone.status_code, gone.headers["X-Robots-Tag"]) == (200, "noindex")
    assert "The link was to build" in gone.text


def test_a_name_that_is_not_there(client):
    save(client)
    for url in ("/tiny-llama/q/aaaaaaaaaaaa", "/tiny-gpt2/q/" + save(client)[-12:], "/tiny-llama/q/%3Cb%3E%27"):
        response = client.get(url)
        assert response.status_code == 404
        assert "the link is not whole, or the query was removed. Ask it again in the console" in response.text
        assert "<b>" not in response.text.split("<main")[1].split("No query")[1]
        assert client.get(f"{url}.json").json["error"]["code"] == "not_found"
        assert client.get(f"{url}.card.png").status_code == 404


def test_a_statement_that_fails_is_saved_all_the_same(asking):
    url = save(asking, {"sql": "SELECT nothing_such FROM neuron"})
    response = asking.get(url)
    assert response.status_code == 400
    assert 'role="alert"' in response.text
    assert asking.get(f"{url}.json").json["error"]["code"] == "sql_failed"
    assert asking.get(save(asking, {"sql": "DROP TABLE neuron"})).status_code == 400


HOSTILE = "</code></pre><script>alert(1)</script>\"'><img src=x onerror=alert(2)> {{ 7*7 }} \u202e"


def test_strangers_text_is_text(asking):
    value = HOSTILE.replace("'", "")
    form = {"sql": f"SELECT '{value}' AS c, :p AS d", "p.p": HOSTILE, "title": HOSTILE[:100], "description": HOSTILE}
    url = save(asking, form)
    for address in (url, "/tiny-llama/sql?sql=" + quote(form["sql"]) + "&p.p=" + quote(HOSTILE)):
        text = asking.get(address).text
        page = Reader(text)
        assert page.inline == []
        assert "<script>alert" not in text
        assert "<img" not in text
        assert "\u202e" not in text.split('name="sql"')[0]
        assert "{{ 7*7 }}" in text
        assert "49 " not in text
    assert asking.get(f"{url}.card.png").status_code == 200


def test_a_card_says_the_query_and_asks_nothing(client, app, monkeypatch):
    url = save(client)
    monkeypatch.setattr(type(app.extensions["console"]), "ask", None)  # calling it would fail
    for address in (f"{url}.card.png", f"/tiny-llama/sql.card.png?sql={quote(SQL)}&p.name=x"):
        picture = client.get(address)
        assert (picture.status_code, picture.mimetype) == (200, "image/png")
        assert struct.unpack(">II", picture.data[16:24]) == (1200, 630)
    card = saved_card("Title <b>", "It says.", "SELECT '<b>'\n" + "x" * 100 + "\nFROM t" * 40, "foot")
    lines = [item.text for item in ElementTree.fromstring(card.svg).iter("{http://www.w3.org/2000/svg}text")]
    assert lines[:2] == ["Neuron Atlas", "foot"]
    assert lines[2:7] == ["Title <b>", "It says.", "SELECT '<b>'", "x" * 72, "x" * 28]
    assert lines[-1] == "…"
    places = [
        float(item.get("y")) for item in ElementTree.fromstring(card.svg).iter("{http://www.w3.org/2000/svg}text")
    ]
    assert max(places[2:]) <= 540


def test_what_is_cited_asks_the_file(asking, app, tiny_llama_atlas, tmp_path, monkeypatch):
    sql = 'SELECT name, :a AS a FROM "neuron" WHERE layer = :layer::INTEGER ORDER BY neuron_id LIMIT 2 -- \\ "'
    form = {"sql": sql, "p.a": "it's", "p.layer": "1"}
    text = asking.get(save(asking, form)).text
    blocks = dict(re.findall(r"<h3>([^<]*)</h3><pre tabindex=\"0\"><code>(.*?)</code>", text, re.DOTALL))
    for mark, character in (("&#39;", "'"), ("&#34;", '"'), ("&gt;", ">"), ("&lt;", "<"), ("&amp;", "&")):
        blocks = {name: block.replace(mark, character) for name, block in blocks.items()}
    expected = [("L1N0", "it's"), ("L1N1", "it's")]
    shutil.copy(tiny_llama_atlas, tmp_path / "tiny-llama.duckdb")
    monkeypatch.chdir(tmp_path)
    with duckdb.connect("tiny-llama.duckdb", read_only=True) as connection:
        assert connection.execute(blocks["SQL, over the file"]).fetchall() == expected
    scope = {}
    exec(blocks["Python, over the file"], scope)
    scope["file"].close()
    assert scope["rows"] == expected


def test_saved_queries_are_not_in_the_site_map(client):
    save(client)
    assert "/q/" not in client.get("/sitemap/tiny-llama-0.xml").text


def test_saving_in_a_browser(asking, tab, site):
    tab.goto(f"{site}/tiny-llama/sql?sql=SELECT+1+AS+a")
    tab.locator(".editor textarea").fill("SELECT 2 AS a")
    tab.locator(".saving summary").click()
    tab.locator("form.save input[name=title]").fill("<b>Two</b>")
    tab.locator("form.save button").click()
    tab.wait_for_url("**/q/*")
    assert tab.locator("h1").inner_text() == "<b>Two</b>"
    assert tab.locator("pre.sql").inner_text() == "SELECT 2 AS a"
    assert tab.locator("#answer tbody td").inner_text() == "2"
    tab.set_viewport_size({"width": 360, "height": 900})
    assert tab.evaluate("document.documentElement.scrollWidth") <= 360
    assert tab.said == []
