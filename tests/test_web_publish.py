"""A published copy on a plain file server: the server's numbers, the server's addresses, offline, build after build."""

from __future__ import annotations

import errno
import gzip
import json
import random
import re
import shutil
import signal
import subprocess
import sys
from collections import Counter
from html import unescape
from pathlib import Path
from unittest.mock import Mock
from urllib.parse import parse_qs, urlsplit
from xml.etree import ElementTree

import duckdb
import pytest
from click.testing import CliRunner

from atlas import open_atlas
from atlas.core.errors import AtlasError
from tests.conftest import new_context
from tests.html_reader import Reader
from tests.static_host import static_host
from web.publish import engine, plan, render
from web.publish import folder as folder_module
from web.publish.command import publish
from web.publish.dictionaries import Dictionaries
from web.publish.engine import EngineError
from web.publish.folder import STATE, path_of
from web.publish.hosts import PAGES_SITE, SPACE, Hosting
from web.publish.links import settled
from web.publish.plan import LAZY, Chosen, Job
from web.publish.write import PublishError, publish_site
from web.sections.neuron import PARTS
from web.site.published import Published
from web.views.crawlers import fixed

SLUG = "tiny-llama"
PREFIX = "/atlas"
DRAWN = random.Random(17).sample([f"/{SLUG}/L{layer}N{index}" for layer in range(3) for index in range(48)], 5)
TOKENS = [f"/{SLUG}/token/{token}" for token in (5, 40, 41)]
PLAIN = f"/{SLUG}/L1N7"


def choose(atlas, pages):
    """A neuron that is a file, some that are packed, some tokens."""
    return Chosen([PLAIN], [url for url in DRAWN if url != PLAIN] + TOKENS)


@pytest.fixture(scope="module")
def few():
    """Of the fixed pages some: each costs time."""
    with pytest.MonkeyPatch.context() as patch:
        some = re.compile(rf"/{SLUG}(?:/neurons|/study/an)?$")
        patch.setattr(plan, "fixed", lambda ref, atlas: [url for url in fixed(ref, atlas) if some.match(url)])
        yield


@pytest.fixture(scope="module")
def copy(few, tiny_llama_atlas: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A published copy, as `atlas publish` writes it; what runs SQL is tried elsewhere."""
    folder = tmp_path_factory.mktemp("publish") / "copy"
    hosting = Hosting((PAGES_SITE, SPACE), "mit")
    sizes = publish_site(
        [tiny_llama_atlas],
        folder,
        base_url=f"https://someone.example{PREFIX}/",
        choose=choose,
        data=True,
        engine={"duckdb-eh.wasm": b""},
        report=True,
        hosting=hosting,
        workers=2,
    )
    assert "times the atlas files" in sizes
    assert {"README.md", "sitemap.xml"} <= {path.name for path in folder.iterdir()}
    return folder


@pytest.fixture(scope="module")
def packed(copy: Path) -> dict[str, str]:
    """Every packed page by its address, as a reader of the archives finds it."""
    atlas = json.loads((copy / STATE).read_text())["atlases"][SLUG]
    folder = copy / "static" / "atlases" / SLUG / atlas["builds"][atlas["build"]]["folder"]
    index, pages = (folder / "index.bin").read_bytes(), {}
    start = json.loads(gzip.decompress((folder / "start.bin").read_bytes()))
    dictionaries = Dictionaries(dict(enumerate(start["dictionaries"])))
    for first, offset, length in start["blocks"]:
        lines = gzip.decompress(index[offset : offset + length]).decode().split("\n")
        assert lines[0].startswith(f"{first} ")
        for address, number, start, size in (line.split(" ") for line in lines):
            content = (folder / f"pages-{int(number):03}.bin").read_bytes()
            pages[address] = dictionaries.unpacked(content[int(start) : int(start) + int(size)])
    return pages


def numbers(html: str) -> Counter[str]:
    """The numbers that a page's main part shows."""
    main = re.search(r"<main.*?</main>", html, re.DOTALL)[0]
    text = re.sub(r"<script.*?</script>|<[^>]*>", " ", main, flags=re.DOTALL)
    return Counter(re.findall(r"[−-]?\d[\d.,]*", unescape(text)))


def parts(html: str, address: str) -> set[str]:
    """The parts of a neuron's page that are fetched when their fold is opened."""
    return set(LAZY.findall(html)) & {f"{address}/part/{name}" for name in PARTS}


def cells(html: str) -> Counter[str]:
    """The texts of a page's cells."""
    return Counter(re.findall(r"<td[^>]*>([^<]*\S[^<]*)<", html))


@pytest.mark.parametrize("address", [*DRAWN, *TOKENS, PLAIN, f"/{SLUG}", f"/{SLUG}/study/an"])
def test_every_number_is_the_servers(client, packed, address):
    served = client.get(address)
    assert json.loads(packed[f"{address}.json"]) == client.get(f"{address}.json").json
    here, there = numbers(packed[address]), numbers(served.text)
    for part in parts(served.text, address):
        page = client.get(part).text
        there += numbers(page)
        assert cells(page) - cells(packed[address]) == Counter()
    assert here - there == Counter()
    assert here.total() > 20


def test_parts_stand_in_their_page_and_further_pages_are_packed_too(client, packed):
    assert all(parts(client.get(address).text, address) for address in DRAWN)
    assert not any("/part/" in name or "/part/" in text for name, text in packed.items())
    further = unescape(re.search(r'rel="next" href="([^"]+)"', packed[f"/{SLUG}/neurons"])[1]).removeprefix(PREFIX)
    assert f'rel="prev" href="{PREFIX}/{SLUG}/neurons"' in packed[further]
    assert json.loads(packed[further.replace("?", ".json?")]) == client.get(further.replace("?", ".json?")).json


def test_a_long_list_ends_and_says_so(few, tiny_llama_atlas, client, monkeypatch):
    address = f"/{SLUG}/neurons"
    monkeypatch.setattr(render, "LIST_PAGES", 1)
    made = plan.make_plan(
        client.application, (tiny_llama_atlas,), None, lambda *_: Chosen([], []), file=True, engine="x"
    )
    ((there, kind, content),) = render.Pages(made).of(Job("one", "list", (address,)))
    pager = re.search(r'<nav class="pager".*?</nav>', content.decode(), re.DOTALL)[0]
    assert (there, kind) == (address, "html")
    assert "of 144" in " ".join(pager.split())
    assert "This copy lists no more." in pager
    assert 'rel="next"' not in pager
    following = unescape(re.search(r'rel="next" href="([^"]+)"', client.get(address).text)[1])
    (query,) = parse_qs(urlsplit(unescape(re.search(r'href="([^"]+/sql[^"]+)"', pager)[1])).query)["sql"]
    with open_atlas(tiny_llama_atlas) as atlas:
        names = [row[0] for row in atlas.query(query).rows]
    assert names == [row["name"] for row in client.get(following.replace("?", ".json?")).json["neurons"]["rows"]]


def test_no_link_leads_nowhere(copy, packed):
    there = {*packed, f"/{SLUG}/random", "/search", "/"}
    texts = {**packed, **{str(path): path.read_text() for path in copy.rglob("*.html")}}
    texts = {name: text for name, text in texts.items() if "json" not in name}
    assert len(texts) > 20
    for name, text in texts.items():
        text = re.sub(r"<template.*?</template>", "", text, flags=re.DOTALL)  # a script fills it in
        for link in Reader(text).links:
            if not link.startswith("/"):
                continue
            assert link.startswith(f"{PREFIX}/"), (name, link)
            link = re.sub(r"@[0-9a-f]{12}", "", link.partition("#")[0]).removeprefix(PREFIX)
            if link in there:
                continue
            path = link.partition("?")[0]
            assert path in there or (copy / path.lstrip("/")).is_file() or (copy / path_of(path, "html")).is_file(), (
                name,
                link,
            )
        for word in ("/api", "oembed", "/live"):
            assert f'"{PREFIX}/{SLUG}{word}' not in text, (name, word)


def test_what_leads_nowhere_is_text_if_it_names_something_and_left_out_if_it_offers_something():
    page = """<p class="choices"><span><a href="/a/x" rel="nofollow">one</a> · <b>two</b> ·
<a href="/a/y" rel="nofollow">three</a> · <a href="/a/z" rel="nofollow">four</a></span></p><p class="choices"><span>
<a href="/a/list" rel="nofollow">as a list</a></span></p><a href="/a/L1N2" rel="nofollow">here</a>
<a href="/a/L9N9">L9N9</a> <a class="s1" href="/a/L9N9" rel="nofollow">curve of L9N9</a>
<a rel="next" data-key="j" href="/a?page=2">next</a> <p>Here · <a href="/a/u" rel="nofollow">five</a> ·
<a href="/a/v" rel="nofollow">six</a> · there</p>"""
    text = settled(page, Published(frozenset({"/a/L1N2"})))
    assert " ".join(text.split()) == (
        '<p class="choices"><span><b>two</b></span></p><a href="/a/L1N2" rel="nofollow">here</a> <span>L9N9</span> '
        '<span class="s1">curve of L9N9</span> <p>Here · there</p>'
    )


def test_the_site_map_is_of_pages_that_are_files_and_name_themselves(copy, packed):
    places = [item.text for item in ElementTree.parse(copy / "sitemap.xml").iter() if item.tag.endswith("loc")]
    for address in (place.removeprefix(f"https://someone.example{PREFIX}") for place in places):
        text = (copy / path_of(address, "html")).read_text()
        canonical = f'<link rel="canonical" href="https://someone.example{PREFIX}{address}">'
        assert canonical in text or address == f"/{SLUG}/report"
    assert {f"https://someone.example{PREFIX}/{SLUG}/report", f"https://someone.example{PREFIX}{PLAIN}"} <= {*places}
    assert len(places) == len([*copy.rglob("index.html")]) - 1  # the search
    assert f'<link rel="canonical" href="https://someone.example{PREFIX}{DRAWN[0]}">' in packed[DRAWN[0]]


def test_the_report_leads_to_pages_of_the_copy(copy, packed):
    text = packed[f"/{SLUG}/report"]
    assert text == (copy / SLUG / "report" / "index.html").read_text()
    assert f'href="{PREFIX}/{SLUG}"' in text
    assert f'href="{PREFIX}/{SLUG}/report"' in packed[f"/{SLUG}"]
    assert "<h2 id=" in text


def test_files_have_tags_and_cards_for_previews(copy):
    text = (copy / path_of(PLAIN, "html")).read_text()
    assert f'<meta property="og:image" content="https://someone.example{PREFIX}{PLAIN}.card.png">' in text
    assert (copy / f"{PLAIN[1:]}.card.png").read_bytes()[:4] == b"\x89PNG"
    assert "cite-bibtex" in text
    assert "cite-embed" not in text


@pytest.fixture
def opened(chromium, copy):
    """A tab of its own, and the host of the copy."""
    context = new_context(chromium, viewport={"width": 1280, "height": 900})
    with static_host(copy, PREFIX) as host:
        yield context.new_page(), host
        context.close()


READY = "() => document.documentElement.dataset.worker === 'ready'"


def test_a_first_visit_to_a_packed_page_and_what_follows(opened, packed):
    page, host = opened
    first, second, *_ = [url for url in DRAWN if url != PLAIN]
    page.goto(host.url + first)
    page.wait_for_function(READY)
    assert page.locator("h1").inner_text() == first.rpartition("/")[2]
    page.locator("figure[data-drawn=yes]").first.wait_for()
    (vega,) = (size for path, size in host.requests if "vega" in path)
    n, size = len(host.requests) - 1, sum(size for _, size in host.requests) - vega
    print(f"\nfirst visit: {n} requests, {size} bytes; when a chart is near Vega, {vega} bytes")
    assert n <= 8
    assert size < 300_000
    host.requests.clear()
    page.goto(host.url + second)
    page.wait_for_function(READY)
    size = sum(size for _, size in host.requests)
    print(f"the next neuron: {len(host.requests)} requests, {size} bytes")
    assert len(host.requests) <= 8
    assert size < 300_000
    page.locator("#writes summary").first.click()
    page.locator("#writes [data-part] td").first.wait_for()
    data = page.evaluate("url => fetch(url).then((answer) => answer.text())", f"{host.url}{second}.json")
    assert data == packed[f"{second}.json"]
    host.requests.clear()
    page.goto(host.url + TOKENS[0])
    page.wait_for_function(READY)
    assert page.locator("h1").inner_text().startswith("Token")
    assert len(host.requests) <= 8
    assert sum(size for _, size in host.requests) < 300_000


def test_what_stands_behind_the_question_mark_counts_on_a_first_visit(opened, packed):
    page, host = opened
    further = next(name for name in packed if name.startswith(f"/{SLUG}/neurons?"))
    page.goto(host.url + further)
    page.get_by_text("101–144 of 144").wait_for()
    page.goto(f"{host.url}/{SLUG}/neurons?layer=1")
    assert "no page for “?layer=1”" in page.get_by_role("status").first.inner_text()
    page.goto(f"{host.url}/gpt2/L1N2")
    assert page.locator("h1").inner_text() == "Page not found"
    page.goto(host.url + PLAIN)
    form = page.locator("form.threshold")
    values = form.locator("select option").evaluate_all("options => options.map((option) => option.value)")
    token = form.locator("[name=token]").input_value()
    asked = next(value for value in values if value != form.locator("select").input_value())
    page.goto(f"{host.url}{PLAIN}?token={token}&threshold={asked}")
    page.locator(".threshold-line").first.wait_for(state="attached")
    assert form.locator("select").input_value() == asked


def test_a_page_seen_before_opens_offline_and_another_says_why_not(opened):
    page, host = opened
    first, second, *_ = [url for url in DRAWN if url != PLAIN]
    page.goto(f"{host.url}/{SLUG}")  # a file: the worker starts beside it
    page.wait_for_function(READY)
    assert page.url == f"{host.url}/{SLUG}"
    page.goto(host.url + first)
    page.wait_for_function(READY)
    page.context.set_offline(True)
    for path, heading in ((f"/{SLUG}", None), (first, first.rpartition("/")[2])):
        page.goto(host.url + path)
        assert heading is None or page.locator("h1").inner_text() == heading
        page.wait_for_function("() => document.styleSheets.length > 0 && document.styleSheets[0].cssRules.length > 10")
    page.goto(host.url + second)
    assert "offline" in page.locator("main").inner_text()


def test_spellings_pins_random_and_absent_pages(opened, copy):
    page, host = opened
    build = json.loads((copy / STATE).read_text())["atlases"][SLUG]["build"]
    name = DRAWN[0].rpartition("/")[2]
    layer, index = re.findall(r"\d+", name)
    page.goto(f"{host.url}/{SLUG}/{layer}.{index}")
    page.wait_for_url(host.url + DRAWN[0])
    page.wait_for_function(READY)
    page.goto(f"{host.url}/{SLUG}@{build}/{name}")
    assert page.locator("header.site nav a").first.get_attribute("href") == f"{PREFIX}/{SLUG}@{build}/neurons"
    page.goto(f"{host.url}/{SLUG}/random")
    assert page.url.replace(host.url, "") in {*DRAWN, PLAIN}
    page.goto(f"{host.url}/{SLUG}/L2N99")
    page.get_by_text("Nothing is published at").wait_for()
    page.goto(f"{host.url}/{SLUG}@{'0' * 12}/{name}")
    assert page.locator("h1").inner_text() == "Build not published"


def test_search_finds_names_and_tokens(opened, client):
    page, host = opened
    page.goto(f"{host.url}/{SLUG}")
    page.wait_for_function(READY)
    pages = "url => fetch(url).then((answer) => answer.json())"
    kept = {url.rpartition("/")[2] for url in TOKENS}
    for query in ("L1", "layer 2 neuron 5", "1.7", '"a"', "an", " an"):
        served = client.get("/search/suggest.json", query_string={"q": query, "atlas": SLUG}).json["suggestions"]
        here = page.evaluate(pages, f"{PREFIX}/search/suggest.json?atlas={SLUG}&q={query}".replace('"', "%22"))[
            "suggestions"
        ]
        names = [item["url"].removeprefix(PREFIX) for item in here]
        assert names == [
            item["url"] for item in served if "/token/" not in item["url"] or item["url"].rpartition("/")[2] in kept
        ]
    page.goto(f"{host.url}/search?q=layer 2 neuron 5&atlas={SLUG}")
    assert page.locator("main ul a").first.inner_text() == "L2N5"


def test_a_packed_page_is_dark_and_fits_a_phone(chromium, copy):
    context = new_context(chromium, viewport={"width": 390, "height": 800}, color_scheme="dark")
    page, said = context.new_page(), []
    page.on("pageerror", lambda error: said.append(str(error)))
    with static_host(copy, PREFIX) as host:
        page.goto(host.url + DRAWN[0])
        page.wait_for_function(READY)
        page.locator("figure[data-chart][data-drawn=yes] svg").first.wait_for()
        dark = page.evaluate("() => getComputedStyle(document.body).backgroundColor")
        assert sum(map(int, re.findall(r"\d+", dark)[:3])) < 300
        page.wait_for_function("() => document.documentElement.scrollWidth <= innerWidth")
        assert said == []
    context.close()


def test_a_host_without_ranges_is_named(chromium, copy):
    context = new_context(chromium)
    page = context.new_page()
    with static_host(copy, PREFIX, ranges=False) as host:
        page.goto(host.url + DRAWN[0])
        page.get_by_text("ignores range requests").wait_for()
        assert host.url.removeprefix("http://").partition("/")[0] in page.locator("main").inner_text()
    context.close()


def away():
    raise EngineError("npm is away.")


def state_of(folder: Path) -> dict[str, tuple[int, int]]:
    """What would change if a file were written."""
    return {str(path): (path.stat().st_mtime_ns, path.stat().st_ino) for path in folder.rglob("*")}


def test_a_new_build_stands_beside_the_old_and_a_kill_leaves_the_old_whole(
    copy, tiny_llama_atlas, tmp_path, chromium, monkeypatch
):
    folder, later = tmp_path / "copy", tmp_path / "later.duckdb"
    shutil.copytree(copy, folder, copy_function=shutil.copy2)
    shutil.copy(tiny_llama_atlas, later)
    later.chmod(0o644)
    old = json.loads((folder / STATE).read_text())["atlases"][SLUG]["build"]
    with duckdb.connect(str(later)) as connection:
        connection.execute("UPDATE atlas SET build_id = 'abcdefabcdef'")
    before, told = state_of(folder), []
    chosen = choose(None, None)
    arguments = [sys.executable, "-m", "tests.killed_publish", str(later), str(folder), *chosen.plain, *chosen.packed]
    killed = subprocess.run(arguments, cwd=Path(__file__).parents[1], capture_output=True, text=True, check=True)
    assert killed.stdout.split() == [str(-signal.SIGKILL)] * 4, killed.stderr
    assert state_of(folder) == before
    orphan = int((tmp_path / "copy.orphan").read_text())
    few = {"choose": choose, "paged": False, "data": False}
    with monkeypatch.context() as full:
        full.setattr(folder_module, "search_index", Mock(side_effect=OSError(errno.ENOSPC, "No space left on device")))
        with pytest.raises(PublishError, match=r"No space left.*goes on with the pages"):
            publish_site([later], folder, **few)
    assert state_of(folder) == before
    sizes = publish_site([later], folder, **few, progress=lambda done, total: told.append(done))
    assert re.search(r"[1-9][.\d]* MB new, (?!0\.0 )[.\d]+ MB of the earlier copy", sizes)
    assert told == [told[-1]]  # what was made before is not made again
    assert not Path(f"/proc/{orphan}").exists()
    assert {path.name for path in tmp_path.iterdir()} == {"copy", "copy.orphan", "later.duckdb"}
    written = state_of(folder)
    monkeypatch.setattr(plan, "notable", choose)
    monkeypatch.setattr(engine, "engine_from_npm", away)
    arguments = [str(later), "--out", str(folder), "--pages", "notable", "--no-data", "--workers", "1"]
    output = CliRunner().invoke(publish, arguments, catch_exceptions=False).output
    assert "nothing is written" in output
    assert " 0.0 MB new," in output
    assert "The copy has no SQL. npm is away." in output
    assert state_of(folder) == written
    assert "SQL does not run in this copy" in (folder / path_of(f"/{SLUG}/sql", "html")).read_text()
    for name, build in ((SLUG, "abcdefabcdef"), (f"{SLUG}@{old}", old)):
        with duckdb.connect(str(folder / name / "atlas.duckdb"), read_only=True) as connection:
            assert connection.execute("SELECT build_id FROM atlas").fetchall() == [(build,)]
    text = (folder / path_of(PLAIN, "html")).read_text()
    assert "og:image" not in text  # no address was given
    assert "as JSON" not in text
    assert [str(path) for path in (folder / SLUG).rglob("*.json")] == []
    context = new_context(chromium)
    page = context.new_page()
    with static_host(folder) as host:
        for build in (old, "abcdefabcdef"):
            page.goto(f"{host.url}/{SLUG}@{build}{DRAWN[0].removeprefix('/' + SLUG)}")
            page.wait_for_function(READY)
            assert build in page.locator("footer.site").inner_text()
    context.close()


def test_what_nobody_published_is_not_replaced(tiny_llama_atlas, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").write_text("dear")
    with pytest.raises(PublishError, match="no `atlas publish` wrote it"):
        publish_site([tiny_llama_atlas], tmp_path / "mine")
    with pytest.raises(PublishError, match="does not exist"):
        publish_site([tiny_llama_atlas], tmp_path / "no" / "place")
    with pytest.raises(AtlasError, match="is not the address"):
        publish_site([tiny_llama_atlas], tmp_path / "copy", base_url="example.org/copy")
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]
