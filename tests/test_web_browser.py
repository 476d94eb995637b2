"""A real browser: charts are drawn under the content security policy, and hostile tokens stay text."""

from __future__ import annotations

import os
import shutil
import threading
from pathlib import Path

import pytest
from werkzeug.serving import make_server

from web import create_app

CHROMIUM = "/usr/bin/chromium" if Path("/usr/bin/chromium").exists() else shutil.which("chromium")
FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip


@pytest.fixture(scope="module")
def chromium():
    if CHROMIUM is None:
        if os.environ.get("REQUIRE_CHROMIUM") == "1":
            pytest.fail("No chromium in PATH, and REQUIRE_CHROMIUM=1 asks for it: install chromium.")
        pytest.skip("no chromium in PATH")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def site(tiny_llama_atlas):
    app = create_app([tiny_llama_atlas])
    server = make_server("127.0.0.1", 0, app, threaded=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()
    for atlas in app.extensions["atlases"].values():
        atlas.close()


DRAWN = "Array.from(document.querySelectorAll('figure[data-chart]')).every(f => f.dataset.drawn)"


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("path", ["/tiny-llama/L1N7", "/tiny-llama"])
def test_charts_are_drawn_and_nothing_complains(chromium, site, path, scheme):
    context = chromium.new_context(viewport={"width": 360, "height": 20000}, color_scheme=scheme)
    page = context.new_page()
    said, asked = [], []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("dialog", lambda dialog: (said.append(f"dialog: {dialog.message}"), dialog.dismiss()))
    page.on("request", lambda request: asked.append(request.url))
    try:
        page.goto(site + path)
        page.wait_for_function(DRAWN, timeout=60_000)
        figures = page.locator("figure[data-chart]").count()
        assert figures >= 2
        assert page.locator("figure[data-chart][data-drawn=yes] svg").count() == figures, said
        assert page.locator(".drawing svg path").count() > 10
        # Charts take the width of their column a frame after they are drawn: the page must settle within its window.
        page.wait_for_function("document.documentElement.scrollWidth <= innerWidth", timeout=10_000)
        assert [url for url in asked if not url.startswith(site)] == []
        assert said == []
    finally:
        context.close()


def test_a_chart_shows_its_values_and_leads_to_its_layer(chromium, site):
    page = chromium.new_page()
    try:
        page.goto(f"{site}/tiny-llama")
        page.wait_for_function(DRAWN, timeout=60_000)
        point = page.locator("figure[data-chart]").first.locator("svg .mark-symbol path").nth(1)
        point.hover()
        page.locator("#vg-tooltip-element.visible").wait_for(timeout=10_000)
        assert "mean best congruence" in page.locator("#vg-tooltip-element").inner_text()
        point.click()
        page.wait_for_url(f"{site}/tiny-llama/L1", timeout=10_000)
    finally:
        page.close()


def test_the_page_says_everything_without_scripts(chromium, site):
    context = chromium.new_context(java_script_enabled=False)
    page = context.new_page()
    try:
        page.goto(f"{site}/tiny-llama/L1N7")
        table = page.locator("figure[data-chart] details").first
        table.locator("summary").click()
        assert table.locator("tbody tr").first.is_visible()
    finally:
        context.close()


def test_hostile_tokens_are_text(chromium, site):
    page = chromium.new_page()
    said = []
    page.on("dialog", lambda dialog: (said.append(dialog.message), dialog.dismiss()))
    try:
        page.goto(f"{site}/search?q=<script>alert(1)</script>")
        page.wait_for_url("**/token/*", timeout=10_000)
        assert page.locator("h1 .chip").inner_text() == "<script>alert(1)</script>"
        assert said == []
    finally:
        page.close()
