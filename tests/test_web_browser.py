"""A real browser: charts are drawn under the content security policy, and hostile tokens stay text."""

from __future__ import annotations

import pytest

from tests.conftest import new_context

# Functions, not expressions: those would have to be evaluated in the page, which its policy forbids.
DRAWN = """() => Array.from(document.querySelectorAll('figure[data-chart]')).every(
    f => !f.checkVisibility() || f.dataset.drawn)"""
"""Every chart is drawn, but those in details that are closed."""
LOADED = """() => Array.from(document.querySelectorAll('.lazy')).every(
    f => !f.checkVisibility() || f.classList.contains('loaded'))"""
"""Every part that comes later is there, but those in details that are closed."""


@pytest.mark.parametrize(
    ("path", "scheme"),
    [
        ("/tiny-llama/L1N7", "light"),
        ("/tiny-llama/L1N7", "dark"),
        ("/tiny-llama", "dark"),
        ("/tiny-llama/token/5", "light"),
        ("/tiny-llama/compare?n=L1N7&n=L2N3", "dark"),
        ("/tiny-llama/hubs", "light"),
    ],
)
def test_charts_are_drawn_and_nothing_complains(chromium, site, path, scheme):
    context = new_context(chromium, viewport={"width": 360, "height": 20000}, color_scheme=scheme)
    page = context.new_page()
    said, asked = [], []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("dialog", lambda dialog: (said.append(f"dialog: {dialog.message}"), dialog.dismiss()))
    page.on("request", lambda request: asked.append(request.url))
    try:
        page.goto(site + path)
        page.evaluate("() => document.querySelectorAll('details:has(> figure)').forEach(f => (f.open = true))")
        page.wait_for_function(LOADED)
        page.wait_for_function(DRAWN)
        figures = page.locator("figure[data-chart]:visible").count()
        assert figures >= 1
        assert page.locator("figure[data-chart][data-drawn=yes] svg").count() == figures, said
        assert page.locator(".drawing svg path").count() > 10
        # Charts take the width of their column a frame after they are drawn: the page must settle within its window.
        page.wait_for_function("() => document.documentElement.scrollWidth <= innerWidth")
        assert [url for url in asked if not url.startswith(site)] == []
        assert said == []
    finally:
        context.close()


BARS = """() => {
  const light = (colour) => {
    const parts = colour.match(/[\\d.]+/g).slice(0, 3).map((part) => part / 255);
    const [r, g, b] = parts.map((part) => (part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b + 0.05;
  };
  const bar = getComputedStyle(document.querySelector(".story .drawn .counts"));
  const card = getComputedStyle(document.querySelector(".story"));
  const values = [light(bar.fill), light(card.backgroundColor)];
  return Number(bar.fillOpacity) * Math.max(...values) / Math.min(...values);
}"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_bars_of_the_homes_chart_are_seen(chromium, site, scheme):
    context = new_context(chromium, color_scheme=scheme)
    page = context.new_page()
    page.goto(f"{site}/tiny-llama")
    assert page.evaluate(BARS) > 1.3
    context.close()


def test_a_chart_shows_its_values_and_leads_to_layers_and_neurons(tab, site):
    greatest = tab.request.get(f"{site}/tiny-llama.json").json()["layers"][1]["best_neuron"]["name"]
    for nth, said, leads in ((0, greatest, greatest), (1, "mean of the layer", "L1")):
        tab.goto(f"{site}/tiny-llama")
        tab.locator("#congruence").scroll_into_view_if_needed()
        tab.wait_for_function(DRAWN)
        point = tab.locator("#congruence svg g.mark-symbol").nth(nth).locator("path").nth(1)
        point.hover()
        tab.locator("#vg-tooltip-element.visible").wait_for(timeout=10_000)
        shown = tab.locator("#vg-tooltip-element").inner_text()
        assert said in shown
        assert "best congruence" in shown
        point.click()
        tab.wait_for_url(f"{site}/tiny-llama/{leads}")


def test_the_page_says_everything_without_scripts(chromium, site):
    context = new_context(chromium, java_script_enabled=False)
    page = context.new_page()
    try:
        page.goto(f"{site}/tiny-llama/L1N7")
        table = page.locator("figure[data-chart] details").first
        table.locator("summary").click()
        assert table.locator("tbody tr").first.is_visible()
        drawing = page.locator("#histogram img")
        drawing.scroll_into_view_if_needed()
        page.wait_for_timeout(1500)
        box = drawing.bounding_box()
        assert box["width"] > 300
        assert box["height"] > 100
        # The threshold is a form, the parts that come later are links.
        before = page.locator("[data-out=n]").inner_text()
        options = page.locator("form.threshold option")
        page.locator("form.threshold select").select_option(index=options.count() - 1)
        page.locator("form.threshold button").click()
        assert "threshold=" in page.url
        assert page.locator("[data-out=n]").inner_text() != before
        page.locator("#writes summary", has_text="every token").click()
        page.locator("#writes .lazy a", has_text="every token").click()
        assert page.url.endswith("/L1N7/tokens")
        assert page.locator("h1").inner_text() == "L1N7 and every token"
    finally:
        context.close()


def test_hostile_tokens_are_text(tab, site):
    tab.goto(f"{site}/search?atlas=tiny-llama&q=<script>alert(1)</script>")
    tab.wait_for_url("**/token/*")
    assert tab.locator("h1 .chip").inner_text() == "<script>alert(1)</script>"
    tab.set_viewport_size({"width": 1280, "height": 12_000})
    tab.wait_for_function(LOADED)
    tab.wait_for_function(DRAWN)
    assert tab.said == []
