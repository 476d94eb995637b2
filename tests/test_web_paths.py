"""The paths that a person takes through the site, in a real browser."""

from __future__ import annotations

import re

import pytest
from axe_playwright_python.sync_playwright import Axe

from atlas.core.display import show_share
from tests.conftest import new_context
from tests.test_web_browser import DRAWN, LOADED

PAGES = (
    "/",
    "/tiny-llama",
    "/tiny-llama/neurons?dead=0",
    "/tiny-llama/L1",
    "/tiny-llama/L1N7",
    "/tiny-llama/token/5",
    "/tiny-llama/token",
    "/tiny-llama/pairs",
    "/tiny-llama/exclusive",
    "/tiny-llama/hubs",
    "/tiny-llama/hubs/centring",
    "/tiny-llama/compare?n=L1N7&n=L2N3",
    "/tiny-llama/list?n=L1N7~note&n=L2N3",
    "/tiny-llama/studies",
    "/tiny-llama/study/an",
    "/search?q=the",
    "/tiny-llama/glossary",
    "/nowhere",
)


IN_THE_DARK = {"/", "/tiny-llama", "/tiny-llama/neurons?dead=0", "/tiny-llama/L1N7", "/tiny-llama/study/an", "/nowhere"}
"""Pages that have every kind of part between them."""


def settle(tab):
    tab.wait_for_function(LOADED)
    tab.wait_for_function(DRAWN)


def test_from_a_search_to_the_top_text(tab, site):
    tab.goto(f"{site}/tiny-llama")
    tab.keyboard.press("/")
    tab.keyboard.type(" an")
    tab.keyboard.press("Enter")
    tab.wait_for_url("**/token/*")
    assert tab.locator("h1 .chip").inner_text() == "␣an"
    best = tab.locator("#writes table a.unit").first
    name = best.inner_text()
    best.click()
    tab.wait_for_url(f"{site}/tiny-llama/{name}")
    top = tab.locator("#texts ol.texts li").first
    assert top.locator(".peak").count() == 1
    value = top.locator(".value").get_attribute("title")
    data = tab.request.get(f"{site}/tiny-llama/{name}.json").json()
    assert data["texts"]["maximum"][0]["activation"] == data["neuron"]["activation_max"]
    assert float(value) == pytest.approx(data["neuron"]["activation_max"], rel=1e-8)
    assert tab.said == []


def test_suggestions_come_while_one_types(tab, site):
    tab.goto(f"{site}/tiny-llama")
    box = tab.locator("header.site input[type=search]")
    box.click()
    box.press_sequentially("L1N7")
    option = tab.locator("[role=option]").first
    option.wait_for()
    assert "L1N7" in option.inner_text()
    assert box.get_attribute("aria-expanded") == "true"
    box.press("ArrowDown")
    box.press("Enter")
    tab.wait_for_url(f"{site}/tiny-llama/L1N7")


def test_the_threshold_is_a_line_that_moves_as_the_axis_does(tab, site):
    tab.goto(f"{site}/tiny-llama/L1N7")
    choices = tab.request.get(f"{site}/tiny-llama/L1N7.json").json()["explorer"]["choices"]
    tab.locator("#predicted").scroll_into_view_if_needed()
    line = tab.get_by_role("slider")
    line.wait_for()

    def place():
        box = line.bounding_box()
        return float(line.get_attribute("aria-valuenow")), box["x"] + box["width"] / 2, box["y"] + box["height"] / 2

    line.press("Home")
    assert place()[0] == choices[0]["edge"]
    places = [place()]
    for _ in range(3):
        line.press("ArrowRight")
        places.append(place())
    assert [value for value, *_ in places] == [choice["edge"] for choice in choices[:4]]
    assert [x for _, x, _ in places] == sorted({x for _, x, _ in places})
    _, x, y = places[-1]
    tab.mouse.move(x, y)
    tab.mouse.down()
    tab.mouse.move(x + 200, y, steps=3)
    tab.mouse.up()
    value, at, _ = place()
    assert value > places[-1][0]
    assert at == pytest.approx(x + 200, abs=40)  # at the nearest edge
    line.press("End")
    last = choices[-1]
    read = {name: tab.locator(f"[data-out={name}]").inner_text() for name in ("n", "precision", "recall")}
    assert read["n"] == f"{last['n']:,}"
    assert float(read["precision"].rstrip("%")) == pytest.approx(100 * last["precision"], abs=0.051)
    assert read["recall"] == show_share(last["recall"])
    assert f"threshold={last['edge']:g}" in tab.url
    address = tab.url
    handed = tab.locator(".handing [data-copy]").get_attribute("data-copy")
    assert handed == address.partition("#")[0]
    tab.goto("about:blank")
    tab.goto(handed)
    assert {name: tab.locator(f"[data-out={name}]").inner_text() for name in read} == read

    # Lines of the chart are switched on and off by its key; one is always drawn.
    keys = tab.locator("#predicted .series button")
    assert [key.get_attribute("aria-pressed") for key in keys.all()] == ["true", *["false"] * (keys.count() - 1)]
    keys.nth(0).click()
    assert keys.nth(0).get_attribute("aria-pressed") == "true"
    lines = tab.locator("#predicted svg g.mark-line path")
    before = lines.count()
    keys.nth(1).click()
    tab.locator("#predicted [data-more]").check()
    tab.wait_for_function(f"() => document.querySelectorAll('#predicted svg g.mark-line path').length === {4 * before}")
    assert tab.locator("#predicted .drawing").get_attribute("aria-label").startswith("Tokens predicted by activation")
    assert tab.said == []


def test_compare_starts_from_a_neuron(tab, site):
    tab.goto(f"{site}/tiny-llama/L1N7")
    tab.locator("nav.steps a", has_text="compare").click()
    tab.locator("main form input[name=n]:not([type=hidden])").fill("2.3")
    tab.locator("main form button").click()
    tab.wait_for_url(f"{site}/tiny-llama/compare?n=L1N7&n=L2N3")
    settle(tab)
    assert tab.locator(".columns > li > p a.unit").all_inner_texts() == ["L1N7", "L2N3"]
    assert tab.locator("#histograms svg").count() == 1
    tab.locator("a.remove").first.click()
    tab.wait_for_url(f"{site}/tiny-llama/compare?n=L2N3")
    assert tab.said == []


def test_keys(tab, site):
    tab.goto(f"{site}/tiny-llama/L1N7")
    for key, name in (("j", "L1N8"), ("k", "L1N7")):
        tab.keyboard.press(key)
        tab.wait_for_url(f"{site}/tiny-llama/{name}")
    rank = tab.locator("#place p").first.inner_text().split()[1]
    tab.keyboard.press("l")
    tab.wait_for_url(re.compile(r"/L2N\d+$"))
    assert tab.locator("#place p").first.inner_text().split()[1] == rank
    tab.keyboard.press("h")
    tab.wait_for_url(f"{site}/tiny-llama/L1N7")
    tab.keyboard.press("?")
    assert tab.locator("dialog.help").is_visible()
    tab.keyboard.press("j")  # the list of keys is open: nothing else happens
    tab.keyboard.press("Escape")
    assert tab.locator("dialog.help").is_hidden()
    assert tab.url == f"{site}/tiny-llama/L1N7"
    tab.keyboard.press("/")
    tab.keyboard.type("j")  # typed, not followed
    assert tab.locator("header.site input[type=search]").input_value() == "j"
    tab.locator("h1").click()
    tab.keyboard.press("r")
    tab.wait_for_url(re.compile(r"/L\d+N\d+$"))
    assert tab.said == []


def test_dark_by_the_switch_and_it_stays(tab, site):
    tab.goto(f"{site}/tiny-llama/L1N7")
    tab.locator("#histogram svg").wait_for()

    def paper():
        return tab.evaluate("getComputedStyle(document.body).backgroundColor")

    def axis():
        return tab.evaluate("getComputedStyle(document.querySelector('#histogram svg .role-axis-title text')).fill")

    light, light_axis = paper(), axis()
    tab.locator("[data-theme-switch]").click()
    dark = paper()
    assert dark != light
    tab.wait_for_function(
        f"() => getComputedStyle(document.querySelector('#histogram svg .role-axis-title text')).fill != '{light_axis}'"
    )
    tab.goto(f"{site}/tiny-llama/L1")
    assert paper() == dark
    tab.locator("[data-theme-switch]").click()
    assert paper() == light
    assert tab.said == []


@pytest.mark.parametrize("path", PAGES)
def test_every_page_fits_a_phone_and_axe_finds_nothing_serious(chromium, site, path):
    context = new_context(chromium, viewport={"width": 360, "height": 900}, color_scheme="light")
    page = context.new_page()
    try:
        page.goto(site + path)
        page.evaluate("document.querySelectorAll('details').forEach((d) => d.open = true)")
        page.set_viewport_size({"width": 360, "height": 40_000})
        settle(page)
        page.wait_for_function("() => document.documentElement.scrollWidth <= innerWidth")
        assert serious(page, {}) == []
        if path in IN_THE_DARK:
            page.emulate_media(color_scheme="dark")  # where only colours differ
            assert serious(page, {"runOnly": ["color-contrast"]}) == []
    finally:
        context.close()


def serious(page, options):
    """What axe calls serious or critical: rules, and the first elements that break them."""
    # Of long lists and tables the first rows speak for all, and a drawing is one image: axe looks at everything often.
    alike = [["tbody > tr:nth-child(n+5)"], ["ol.texts > li:nth-child(n+4)"], [".drawing svg"]]
    options = {"resultTypes": ["violations"], **options}
    found = Axe().run(page, context={"exclude": alike}, options=options).response["violations"]
    return [
        (item["id"], [node["html"][:120] for node in item["nodes"][:3]])
        for item in found
        if item["impact"] in ("serious", "critical")
    ]


def test_nothing_of_a_tokens_page_comes_later_unasked(tab, site):
    tab.goto(f"{site}/tiny-llama/token/5")
    tab.set_viewport_size({"width": 1280, "height": 12_000})
    assert tab.locator(".lazy[data-src]").count() >= 2
    assert tab.locator(".lazy[data-src]:visible").count() == 0
