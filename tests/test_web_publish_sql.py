"""SQL in a published copy: DuckDB in the browser answers what the server answers, and the page shows it the same."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path
from urllib.parse import urlencode

import duckdb
import pytest

from atlas.core.ranges import PAGE, copy_for_ranges, metadata_pages
from tests.conftest import new_context
from tests.static_host import static_host
from web.publish import plan
from web.publish.engine import DIGESTS, EngineError, engine_from, find_engine
from web.publish.folder import STATE
from web.publish.plan import Chosen
from web.publish.write import publish_site
from web.saved.query import Query, SharedList, names
from web.saved.store import open_saved

SLUG = "tiny-llama"
PREFIX = "/atlas"
QUERY = Query("FROM neuron WHERE name = :name", (("name", "L1N7"),), None)
LIST = SharedList("Some neurons", (("L0N3", "a note"), ("L1N7", "")))


@pytest.fixture(scope="module")
def copy(tiny_llama_atlas: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A published copy of few pages, with DuckDB from npm."""
    folder = tmp_path_factory.mktemp("publish") / "copy"
    engine, lacking = find_engine(None, folder)
    if engine is None:
        pytest.skip(f"SQL in a browser cannot be tried: {lacking}")
    saved = open_saved(folder.with_name("saved.sqlite"))
    saved.save(SLUG, QUERY, "Called so")
    saved.save_list(SLUG, LIST)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plan, "fixed", lambda ref, atlas: [f"/{SLUG}"])
        publish_site(
            [tiny_llama_atlas],
            folder,
            base_url=f"https://someone.example{PREFIX}/",
            choose=lambda *_: Chosen([], [f"/{SLUG}/token/{number}" for number in range(3)]),
            data=False,
            engine=engine,
            saved=saved.path,
        )
    saved.close()
    return folder


@pytest.fixture
def opened(chromium, copy):
    """The copy's console, and its host."""
    context = new_context(chromium, viewport={"width": 1280, "height": 900})
    with static_host(copy, PREFIX) as host:
        page = context.new_page()
        page.said = []
        page.on("pageerror", lambda error: page.said.append(str(error)))
        page.goto(f"{host.url}/{SLUG}/sql")
        page.wait_for_function("() => document.documentElement.dataset.worker === 'ready'")
        host.requests.clear()
        yield page, host
        context.close()


def run(page, sql: str) -> None:
    """Run a statement as a reader does."""
    page.fill("form.query textarea", sql)
    page.click("form.query button")
    page.wait_for_function("() => document.querySelector('form.query button').textContent === 'Run'")


def downloaded(page, name: str) -> str:
    """The answer as a file."""
    with page.expect_download() as download:
        page.click(f"#asked a:text-is('{name}')")
    return Path(download.value.path()).read_text()


CELLS = """table => table.querySelectorAll('button').forEach(one => one.remove())
    || Array.from(table.rows, row => Array.from(row.cells, cell => [cell.textContent,
    Math.fround(Number(cell.title)) || cell.title, cell.className, cell.querySelectorAll('.space').length,
    cell.querySelector('a')?.className || '',
    decodeURIComponent((cell.querySelector('a')?.getAttribute('href') || '').replace('/atlas/', '/'))]))"""
"""What a table shows. DuckDB writes a FLOAT with fewer digits than the server, which makes it a DOUBLE."""

KINDS = """SELECT name AS neuron, best_token_id, "text" AS token, n.neuron_id, activation_max, dead,
    NULL::INTEGER AS nothing,
    activation_mean * 1e-6 AS small, activation_max * 1e7 AS large, -1234567::BIGINT AS whole, ' ends ' AS words,
    sum(n.neuron_id) OVER () AS huge, chr(8238) || chr(9) || chr(10) || chr(769) AS hidden, '' AS empty,
    1.50::DECIMAL(4, 2) AS decimal, 'say "x", y' AS quotes, true AS flag
FROM neuron AS n JOIN token AS t ON t.token_id = n.best_token_id ORDER BY n.neuron_id LIMIT 30"""
MACRO = """SELECT neuron, congruence FROM congruence_with(' an')
WHERE neuron IN (SELECT neuron FROM congruence) ORDER BY neuron LIMIT 7"""
ERROR = "SELECT \"name\", 'é', foo FROM neuron"


def test_a_browser_answers_what_the_server_answers(opened, copy, client, tab, site):
    page, host = opened
    run(page, "SELECT * FROM neuron WHERE name = 'L1N7'")
    read = [size for path, size in host.requests if path.endswith((".duckdb", "catalog.bin"))]
    print(f"\na row of neuron: {len(read)} requests, {sum(read)} bytes; {page.inner_text('.choices [role=status]')}")
    assert sum(read) < 500_000
    assert page.said == []

    tab.goto(f"{site}/{SLUG}/sql?{urlencode({'sql': KINDS})}")
    run(page, KINDS)
    here, there = (one.eval_on_selector("[aria-label=Answer] table", CELLS) for one in (page, tab))
    assert [
        pair for rows in zip(here, there, strict=True) for pair in zip(*rows, strict=True) if pair[0] != pair[1]
    ] == []
    assert page.inner_text("#asked h2") == tab.inner_text("#answer h2") == "30 rows"

    run(page, MACRO)
    query = {"sql": MACRO}
    served = client.get(f"/{SLUG}/sql.json", query_string=query).json
    assert page.locator("#asked .notice").all_inner_texts() == [note["text"] for note in served["notes"]]
    lines = list(csv.reader(downloaded(page, "CSV").splitlines()))
    own = json.loads(downloaded(page, "JSON"))
    assert [own["columns"], own["types"], own["truncated"]] == [served["columns"], served["types"], False]
    assert [name for name, _ in own["rows"]] == [name for name, _ in served["rows"]] == [name for name, _ in lines[1:]]
    expected = pytest.approx([value for _, value in served["rows"]], rel=1e-5)
    assert [value for _, value in own["rows"]] == expected
    assert [float(value) for _, value in lines[1:]] == expected

    page.select_option("[name=draw]", "bar")
    page.click(".drawing-form button")
    page.locator("figure[data-drawn=yes] svg").wait_for()
    text = client.get(f"/{SLUG}/sql", query_string=query | {"draw": "bar"}).text
    spec = json.loads(page.eval_on_selector("figure script", "one => one.textContent"))
    drawn = json.loads(re.search(r'<figure.*?<script type="application/json">(.*?)</script>', text, re.DOTALL)[1])
    rows, served_rows = (one.pop("columns") for one in (spec, drawn))
    assert spec == drawn
    assert rows["x"] == served_rows["x"]
    assert rows["y"] == pytest.approx(served_rows["y"], rel=1e-5)
    assert "draw=bar" in page.url
    address = page.url

    run(page, ERROR)
    tab.goto(f"{site}/{SLUG}/sql?{urlencode({'sql': ERROR})}")
    for place in ("h2", "p >> nth=0", "pre", "mark"):
        assert page.inner_text(f"#asked .problem {place}") == tab.inner_text(f".problem {place}")

    build = json.loads((copy / STATE).read_text())["atlases"][SLUG]["build"]
    page.goto(address.replace(f"/{SLUG}/", f"/{SLUG}@{build}/"))  # a link with a query; the engine is here already
    page.locator("figure[data-drawn=yes] svg").wait_for()
    assert page.locator("#asked tbody tr").count() == 7
    page.locator("aside a", has_text="Texts that fire a neuron").click()
    page.wait_for_url(re.compile("max_activating_example"))
    page.locator("#asked > section").wait_for()
    assert page.input_value("[name^='p.']") != ""
    page.set_viewport_size({"width": 390, "height": 800})
    page.wait_for_function("() => document.documentElement.scrollWidth <= innerWidth")
    assert page.said == []


def test_short_links_have_pages_that_lead_to_the_console(opened):
    page, host = opened
    page.goto(f"{host.url}/{SLUG}/q/{next(iter(names(QUERY)))}")
    assert page.inner_text("h1") == "Called so"
    address = page.get_by_text("Run it in the console").get_attribute("href")
    assert address == f"{PREFIX}/{SLUG}/sql?sql=FROM%20neuron%20WHERE%20name%20%3D%20%3Aname&p.name=L1N7"
    page.goto(f"{host.url}/{SLUG}/list/{next(iter(names(LIST)))}")
    assert page.inner_text("h1") == "Some neurons"
    assert page.locator(".listed li").count() == 2
    assert page.inner_text(".listed .said >> nth=0") == "a note"
    assert page.said == []


def test_a_host_without_ranges_is_named_and_nothing_else_is_fetched(chromium, copy):
    context = new_context(chromium)
    page = context.new_page()
    with static_host(copy, PREFIX, ranges=False) as host:
        page.goto(f"{host.url}/{SLUG}/sql")
        run(page, "FROM neuron")
        assert "sends no parts of files" in page.inner_text("#asked")
        assert all(size < 40_000_000 for _, size in host.requests)
    context.close()


def test_the_copy_of_a_file_has_its_rows_and_names_its_metadata(tiny_llama_atlas, tmp_path):
    out = tmp_path / "out.duckdb"
    copy_for_ranges(tiny_llama_atlas, out)
    pages = metadata_pages(out)
    assert 0 in pages
    assert max(map(len, pages.values())) == PAGE
    content = out.read_bytes()
    assert all(content[number * PAGE :].startswith(page) for number, page in pages.items())
    names = "SELECT table_name FROM duckdb_tables() WHERE database_name = 'old' ORDER BY ALL"
    with duckdb.connect() as connection:
        connection.execute(f"ATTACH '{tiny_llama_atlas}' AS old (READ_ONLY); ATTACH '{out}' AS new (READ_ONLY)")
        tables = [name for (name,) in connection.execute(names).fetchall()]
        assert tables == [name for (name,) in connection.execute(names.replace("'old'", "'new'")).fetchall()]
        for table in tables:
            old, new = (connection.execute(f'FROM {side}."{table}"').fetchall() for side in ("old", "new"))
            assert repr(old) == repr(new), table
        groups = "SELECT max(count) FROM pragma_storage_info('new.neuron')"
        assert connection.execute(groups).fetchall()[0][0] <= 2048


def test_another_engine_is_refused(tmp_path):
    with pytest.raises(EngineError, match="cannot be read"):
        engine_from(tmp_path)
    for name in DIGESTS:
        (tmp_path / name).write_bytes(b"another")
    with pytest.raises(EngineError, match="is not that of"):
        engine_from(tmp_path)
