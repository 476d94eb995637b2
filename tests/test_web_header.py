"""The header of every page: navigation of its atlas, the current page marked, targets that fingers can hit."""

from __future__ import annotations

import re

import pytest

from tests.conftest import new_context

ABOUT_AN_ATLAS = ("/search?q=a&atlas=tiny-llama", "/tiny-llama/tables", "/tiny-llama/L9", "/tiny-llama/x")
ON_A_PHONE = ("/", "/tiny-llama", "/search?q=a&atlas=tiny-llama", "/search?q=lemon&atlas=tiny-llama", "/tiny-llama/L9")
PAGES = {
    "/tiny-llama": "model",
    "/tiny-llama/L1": "neurons",
    "/tiny-llama/L1N7": "neurons",
    "/tiny-llama/neurons": "neurons",
    "/tiny-llama/predictive": "predictive pairs",
    "/tiny-llama/pairs": "exclusive pairs",
    "/tiny-llama/exclusive": "exclusive tokens",
    "/tiny-llama/hubs/centring": "hubs",
    "/tiny-llama/prediction": "does congruence predict?",
    "/tiny-llama/study/an": "studies",
    "/tiny-llama/sql": "SQL",
    "/tiny-llama/tables": "tables",
    "/tiny-llama/glossary": "glossary",
}


@pytest.mark.parametrize("path", PAGES)
def test_the_current_page_is_marked(client, path):
    header = re.search('<header class="site">.*?</header>', client.get(path).text, re.DOTALL)[0]
    assert re.findall(r'aria-current="(?:page|true)"\s*>([^<]*)<', header) == [PAGES[path]]


@pytest.mark.parametrize(
    "path", ["/search?q=a&atlas=tiny-llama", "/tiny-llama/tables", "/tiny-llama/L9", "/tiny-llama/x"]
)
def test_pages_about_an_atlas_have_its_navigation(client, path):
    page = client.get(path).text
    assert '<nav aria-label="Atlas">' in page
    assert 'href="/tiny-llama/predictive"' in page


def test_pages_about_several_atlases_have_none(client):
    for path in ("/", "/api", "/search?q=zzz", "/nowhere"):
        assert '<nav aria-label="Atlas">' not in client.get(path).text


def test_the_only_atlas_has_its_navigation_everywhere(tiny_llama_atlas):
    from web import create_app

    app = create_app([tiny_llama_atlas])
    for path in ("/", "/api", "/search", "/glossary", "/nowhere"):
        assert 'href="/tiny-llama/neurons"' in app.test_client().get(path).text
    app.extensions["atlases"]["tiny-llama"].close()


SMALL = """() => Array.from(document.querySelectorAll('a, button, input, select, summary'))
    .filter((one) => one.checkVisibility({visibilityProperty: true}) && one.getBoundingClientRect().width > 0)
    .filter((one) => !one.classList.contains('skip') && !(one.matches('a') && one.closest('p, figcaption')))
    .filter((one) => Math.min(one.getBoundingClientRect().width, one.getBoundingClientRect().height) < 23.9)
    .map((one) => one.outerHTML.slice(0, 100))"""


def test_on_a_phone_targets_are_large_and_the_header_is_small(chromium, site):
    context = new_context(chromium, viewport={"width": 390, "height": 844}, has_touch=True)
    page = context.new_page()
    for path in (
        "/",
        "/tiny-llama",
        "/search?q=a&atlas=tiny-llama",
        "/search?q=lemon&atlas=tiny-llama",
        "/tiny-llama/L9",
    ):
        page.goto(site + path)
        assert page.evaluate(SMALL) == [], path
        assert page.evaluate("document.querySelector('header.site').offsetHeight") < 844 / 5
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
    context.close()
