"""The search box in a real browser: suggestions while one types, by keys and by pointer, and without trouble."""

from __future__ import annotations

import re

import pytest

from tests.conftest import new_context


@pytest.fixture
def page(chromium, site):
    context = new_context(chromium, viewport={"width": 360, "height": 800})
    page = context.new_page()
    page.set_default_timeout(20_000)
    page.said = []
    page.on("console", lambda message: page.said.append(message.text))
    page.on("pageerror", lambda error: page.said.append(str(error)))
    page.goto(f"{site}/tiny-llama")
    yield page
    said = page.said
    context.close()
    assert said == []


BOX = "header.site input[role=combobox]"
OPTION = "header.site [role=option]"


def type_slowly(page, text):
    page.focus(BOX)
    page.keyboard.type(text)
    page.wait_for_selector(OPTION)


def attribute(page, name):
    return page.get_attribute(BOX, name)


def test_keys(page):
    assert attribute(page, "aria-expanded") == "false"
    type_slowly(page, "a")
    assert attribute(page, "aria-expanded") == "true"
    assert page.inner_text(f"{OPTION} >> nth=0").startswith(("a", "␣a"))
    assert attribute(page, "aria-activedescendant") is None
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    option = attribute(page, "aria-activedescendant")
    assert page.get_attribute(f"#{option}", "aria-selected") == "true"
    assert page.locator(f"{OPTION}[aria-selected=true]").count() == 1
    page.keyboard.press("ArrowUp")
    page.keyboard.press("ArrowUp")  # from the first to the last
    last = page.locator(OPTION).last
    assert last.get_attribute("aria-selected") == "true"
    page.keyboard.press("Escape")
    assert attribute(page, "aria-expanded") == "false"
    assert page.is_hidden(f"#{attribute(page, 'aria-controls')}")
    assert page.input_value(BOX) == "a"
    page.keyboard.press("ArrowDown")
    url = page.get_attribute(f"{OPTION} >> nth=0", "data-url")
    page.keyboard.press("Enter")
    page.wait_for_url(f"**{url}")


def test_pointer(page):
    type_slowly(page, "1.7")
    assert "L1N7" in page.inner_text(f"{OPTION} >> nth=0")
    page.click(f"{OPTION} >> nth=0")
    page.wait_for_url("**/tiny-llama/L1N7")


def test_enter_without_a_choice_searches(page):
    type_slowly(page, "le")
    page.keyboard.type("mon tree")
    page.keyboard.press("Enter")
    page.wait_for_url(re.compile("/search"))
    assert "lemon tree" in page.inner_text("main mark >> nth=0")


def test_hostile_tokens_stay_text_and_the_list_stays_in_the_window(page):
    type_slowly(page, "<script>")
    assert "<script>alert(1)</script>" in page.inner_text(OPTION)
    assert page.locator(f"{OPTION} script").count() == 0
    box = page.locator("header.site [role=listbox]").bounding_box()
    assert box["x"] >= 0
    assert box["x"] + box["width"] <= 360
    page.click("h1")
    assert attribute(page, "aria-expanded") == "false"


def test_a_stale_answer_is_not_shown(page):
    waiting = []
    page.route("**/suggest.json?q=a&*", lambda route: waiting.append(route))
    page.focus(BOX)
    with page.expect_request("**/suggest.json?q=a&*"):
        page.keyboard.type("a")
    page.wait_for_timeout(20)
    assert len(waiting) == 1
    page.keyboard.type("n")
    page.wait_for_selector(OPTION)
    waiting[0].fulfill(json={"suggestions": [{"kind": "exact", "label": "stale", "url": "/", "detail": ""}]})
    page.wait_for_timeout(100)
    assert "stale" not in page.inner_text("header.site [role=listbox]")


@pytest.mark.parametrize(
    "path",
    [
        "/search?q=lemon",
        "/tiny-llama/pairs",
        "/tiny-llama/exclusive",
        "/tiny-llama/hubs",
        "/tiny-llama/hubs/centring",
        "/tiny-llama/glossary",
    ],
)
def test_pages_fit_a_narrow_window(page, site, path):
    page.goto(site + path)
    page.wait_for_load_state("networkidle")
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
