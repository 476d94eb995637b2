"""Tables at the widths of a desktop, a laptop and a phone: no cell is cut, and all columns can be reached."""

from __future__ import annotations

import pytest

from tests.conftest import new_context

# Cells whose text lies partly in the visible part of their table and partly beyond it, or below the column that stays.
CUT = """() => [...document.querySelectorAll("main .scroll")].filter((p) => p.checkVisibility()).flatMap((place) => {
  const view = place.getBoundingClientRect();
  const stuck = place.querySelector("th.stick");
  const left = stuck ? stuck.getBoundingClientRect().right : view.left;
  return [...place.querySelectorAll("th, td")].flatMap((cell) => {
    const range = document.createRange();
    range.selectNodeContents(cell);
    const text = range.getBoundingClientRect();
    if (!text.width) return [];
    const out = text.left >= view.right - 1 || text.right <= left + 1;
    const from = cell.classList.contains("stick") || place.scrollLeft === 0 ? view.left : left;
    return out || (text.left >= from - 1 && text.right <= view.right + 1) ? [] : [cell.textContent.trim()];
  });
})"""
WHOLE = f"() => ({CUT})().length === 0"
SCROLL = """(left) => document.querySelectorAll("main .scroll").forEach((place) => (place.scrollLeft = left))"""
PAGES = ("/neurons", "/pairs?all=1", "/predictive?all=1&columns=all", "/hubs", "/token/40")


@pytest.fixture(scope="module")
def window(chromium):
    context = new_context(chromium, viewport={"width": 1440, "height": 900})
    yield context.new_page()
    context.close()


@pytest.mark.parametrize("path", PAGES)
def test_no_cell_is_cut(site, window, path):
    """One load; the width changes as a window's does."""
    window.set_viewport_size({"width": 1440, "height": 900})
    window.goto(f"{site}/tiny-llama{path}", wait_until="load")
    for width in (1440, 1280, 390):
        window.set_viewport_size({"width": width, "height": 900})
        window.wait_for_function(f"innerWidth === {width}")
        window.wait_for_function(WHOLE)
        # As far as one can scroll, and back.
        for left in (10_000, 0):
            window.evaluate(SCROLL, left)
            window.wait_for_function(WHOLE)
        assert window.evaluate("document.documentElement.scrollWidth") <= width
    assert window.locator("main .scroll.fitted").count() > 0


def test_the_button_leads_to_every_column(site, window):
    window.set_viewport_size({"width": 390, "height": 900})
    window.goto(f"{site}/tiny-llama/neurons", wait_until="load")
    button = window.locator("button.more-columns:visible")
    place = window.locator("main .scroll.fitted")
    last = place.locator("th").last
    for _ in range(12):
        if button.inner_text() != "more columns →":
            break
        before = place.evaluate("(node) => node.scrollLeft")
        button.click()
        window.wait_for_function("(before) => document.querySelector('.scroll.fitted').scrollLeft > before", arg=before)
        window.wait_for_function(WHOLE)
        # The neuron's name stays.
        assert place.locator("td.stick").first.bounding_box()["x"] >= place.bounding_box()["x"] - 1
    assert button.inner_text() == "← first columns"
    right = last.bounding_box()
    view = place.bounding_box()
    assert right["x"] + right["width"] <= view["x"] + view["width"] + 1
    button.click()
    window.wait_for_function("document.querySelector('.scroll').scrollLeft === 0")
