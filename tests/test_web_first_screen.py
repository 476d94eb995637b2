"""A neuron's page as a person meets it: the first screen answers, on a laptop and on a phone."""

from __future__ import annotations

import pytest

from tests.conftest import new_context

DRAWN = "() => document.querySelector('#predicts figure[data-drawn], #predicts > p')"
BOXES = """() => Object.fromEntries(["verdict", "writes", "predicts", "texts"].map((id) => {
    const box = document.getElementById(id).getBoundingClientRect();
    return [id, { top: box.top, bottom: box.bottom }];
}))"""
LINES = """() => Array.from(document.querySelectorAll("#texts ol.texts > li")).slice(0, 5).map(
    (line) => line.getBoundingClientRect().bottom)"""
STOPS = """() => Array.from(document.querySelectorAll(
    "a[href], button, input, select, textarea, summary, [tabindex='0']"
)).filter((item) => item.checkVisibility() && item.tabIndex >= 0).length"""
SMALL = """() => Array.from(document.querySelectorAll("a[href], button, input, select, summary")).filter((item) => {
    const box = item.getBoundingClientRect();
    const shows = item.checkVisibility({ opacityProperty: true }) && !item.matches(".skip");
    return shows && (box.height < 24 || box.width < 24);
}).map((item) => item.outerHTML.slice(0, 120))"""
CLIPPED = """() => Array.from(document.querySelectorAll("main td, main th, main dd")).filter(
    (cell) => cell.checkVisibility() && cell.scrollWidth > cell.clientWidth + 1
).map((cell) => cell.textContent)"""


@pytest.fixture(scope="module")
def laptop(chromium, site):
    """A neuron's page on a laptop."""
    context = new_context(chromium, viewport={"width": 1280, "height": 800})
    page = context.new_page()
    page.goto(f"{site}/tiny-llama/L1N7")
    page.wait_for_function(DRAWN)
    yield page
    context.close()


@pytest.fixture(scope="module")
def phone(chromium, site):
    """The same on a phone."""
    context = new_context(chromium, viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True)
    page = context.new_page()
    page.goto(f"{site}/tiny-llama/L1N7")
    page.wait_for_function(DRAWN)
    yield page
    context.close()


def test_the_first_screen_holds_the_verdict_the_tokens_the_curve_and_five_texts(laptop):
    boxes = laptop.evaluate(BOXES)
    assert boxes["verdict"]["top"] < boxes["writes"]["top"] == boxes["predicts"]["top"] < boxes["texts"]["top"] < 800
    lines = laptop.evaluate(LINES)
    assert len(lines) == 5
    assert max(lines) <= 800
    assert laptop.evaluate(STOPS) < 120
    assert laptop.evaluate(CLIPPED) == []


def test_a_phone_has_the_verdict_and_the_curve_within_two_screens(phone):
    boxes = phone.evaluate(BOXES)
    assert boxes["verdict"]["bottom"] < 844
    assert boxes["predicts"]["bottom"] < 2 * 844
    assert phone.evaluate("() => document.documentElement.scrollHeight") < 6000
    assert phone.evaluate("() => document.documentElement.scrollWidth") <= 390
    assert phone.evaluate(SMALL) == []
    assert phone.evaluate(CLIPPED) == []


def test_a_tokens_first_screen_holds_its_verdict_its_neurons_its_curve_and_texts(chromium, site):
    context = new_context(chromium, viewport={"width": 1280, "height": 800})
    page = context.new_page()
    page.goto(f"{site}/tiny-llama/token/40")
    page.wait_for_function(DRAWN)
    boxes = page.evaluate(BOXES)
    assert boxes["verdict"]["bottom"] < boxes["writes"]["top"] == boxes["predicts"]["top"] < 400
    assert boxes["writes"]["bottom"] < boxes["texts"]["top"] > boxes["predicts"]["bottom"]
    lines = page.evaluate(LINES)
    assert len(lines) >= 4
    assert lines[3] <= 800
    assert page.evaluate(CLIPPED) == []
    context.close()


@pytest.mark.parametrize("path", ["token/40", "L1N7"])
def test_a_fold_opens_with_its_parts_in_place(tab, site, path):
    """Nothing moves when a part arrives: it is there when the fold opens."""
    tab.goto(f"{site}/tiny-llama/{path}")
    folds = tab.locator("main details:has(> .lazy):not(.passage):visible")
    assert folds.count() > 1
    for fold in folds.all()[:4]:
        fold.evaluate("(fold) => fold.addEventListener('toggle', () => (fold.dataset.height = fold.offsetHeight))")
        fold.locator("summary").first.click()
        fold.locator("> .lazy.loaded").wait_for()
        for figure in fold.locator("figure.chart:visible").all():
            figure.scroll_into_view_if_needed()
            tab.wait_for_function("(figure) => figure.dataset.drawn", arg=figure.element_handle())
        assert fold.evaluate("(fold) => fold.offsetHeight - fold.dataset.height") == pytest.approx(0, abs=2)
    assert tab.said == []


def test_a_line_opens_its_whole_passage_alone(laptop):
    lines = laptop.locator("#texts > ol.texts > li > details.passage")
    for place in (0, 1):
        lines.nth(place).locator("summary").first.click()
        lines.nth(place).locator("p.text").wait_for()
        assert [lines.nth(other).get_attribute("open") is not None for other in (0, 1)] == [place == 0, place == 1]
    assert "run_with_cache" in lines.nth(1).locator("code").text_content()
    laptop.keyboard.press("n")
    laptop.locator("#numbers table").first.wait_for()
    lines.nth(1).locator("summary").first.click()
