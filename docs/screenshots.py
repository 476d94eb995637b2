"""`make screenshots`: every page of the demo in both themes and two widths, into the ignored folder screenshots/; and
the picture of the README."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Browser, sync_playwright
from werkzeug.serving import make_server

from atlas import open_atlas
from atlas.topics.story import best_neurons
from docs.outputs import DEMO, ROOT
from web import create_app
from web.site import urls

FOLDER = ROOT / "screenshots"
PICTURE = ROOT / "docs" / "neuron-page.png"
SHOWN = "L24N917"
"""The neuron of the picture."""

WIDTHS = (1280, 360)
THEMES = ("light", "dark")
SIGHT = 40_000
"""Height of the window, pixels: everything is in sight, so everything is drawn."""

TALLEST = 15_000
"""Pixels of a page that are kept; the rest of a longer one is cut."""

_READY = """() => ['.lazy', 'figure[data-chart]'].every((what) => Array.from(document.querySelectorAll(what))
    .every((part) => part.closest('details:not([open])') || part.getBoundingClientRect().top > 15000
        || part.dataset.drawn || part.classList.contains('loaded') || part.classList.contains('failed')))"""


def pages() -> dict[str, str]:
    """Addresses by name: one of each kind of page, of what the atlas itself points at."""
    with open_atlas(DEMO) as atlas:
        ref, d_mlp = urls.AtlasRef(atlas.info.slug), atlas.info.d_mlp
        best = best_neurons(atlas, 1)[0]
    neuron, token = best.neuron, best.verdict.token
    names = [neuron.name, f"L{neuron.layer}N{(neuron.index + 1) % d_mlp}", f"L{neuron.layer - 1}N{neuron.index}"]
    return {
        "home": urls.to("home"),
        "overview": urls.to("overview", ref),
        "neurons": urls.to("neurons", ref),
        "neurons-filtered": urls.to("neurons", ref, layer_min=neuron.layer, exclusive="any", sort="token_gap"),
        "layer": urls.to("layer", ref, neuron.layer),
        "neuron": urls.to("neuron", ref, neuron.name),
        "neuron-ordinary-texts": urls.to("neuron_part", ref, neuron.name, "guard"),
        "neuron-tokens": urls.to("neuron_tokens", ref, neuron.name),
        "similar": urls.to("similar", ref, neuron.name),
        "token": urls.to("token", ref, token.token_id),
        "token-neurons": urls.to("token_neurons", ref, token.token_id),
        "find-token": urls.to("find_token", ref),
        "pairs": urls.to("pairs", ref),
        "exclusive": urls.to("exclusive", ref),
        "hubs": urls.to("hubs", ref),
        "centring": urls.to("centring", ref),
        "compare": urls.to("compare", ref, n=names),
        "list": urls.to("collection", ref, n=[f"{names[0]}~A note on it.", *names[1:]], title="Neurons to look at"),
        "search": urls.to("search", atlas=ref.slug, q="the value"),
        "glossary": urls.to("atlas_glossary", ref),
        "tables": urls.to("tables", ref),
        "not-found": urls.to("overview", ref) + "/L999N0",
    }


@contextmanager
def served() -> Iterator[str]:
    """The demo atlas, served; yields the site's address."""
    app = create_app([DEMO])
    server = make_server("127.0.0.1", 0, app, threaded=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()


def shoot(browser: Browser, url: str, path: Path, width: int, theme: str) -> None:
    """One page, whole, its charts and later parts drawn."""
    context = browser.new_context(viewport={"width": width, "height": 1000}, color_scheme=theme)
    page = context.new_page()
    page.goto(url)
    page.set_viewport_size({"width": width, "height": SIGHT})
    page.wait_for_function(_READY, timeout=60_000)
    page.wait_for_timeout(200)
    height = min(TALLEST, int(page.evaluate("document.body.getBoundingClientRect().bottom")))
    page.screenshot(path=path, clip={"x": 0, "y": 0, "width": width, "height": height})
    context.close()


def picture(browser: Browser, site: str) -> None:
    """The top of a neuron's page, as wide as a README shows it."""
    context = browser.new_context(viewport={"width": 1200, "height": 905}, color_scheme="light")
    page = context.new_page()
    page.goto(f"{site}/smollm2-135m/{SHOWN}")
    page.wait_for_load_state("networkidle")
    page.screenshot(path=PICTURE)
    context.close()


def main() -> None:
    """Shoot every page."""
    browser_path = shutil.which("chromium")
    if browser_path is None:
        raise SystemExit("There is no chromium in PATH; install it (Debian: apt install chromium) and run this again.")
    if not DEMO.exists():
        raise SystemExit(f"{DEMO.name} is not there; `make demo` builds it.")
    FOLDER.mkdir(exist_ok=True)
    with served() as site, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=browser_path, args=["--no-sandbox", "--disable-gpu"])
        picture(browser, site)
        for name, url in pages().items():
            for width in WIDTHS:
                for theme in THEMES:
                    shoot(browser, site + url, FOLDER / f"{name}-{width}-{theme}.png", width, theme)
            print(f"{name}: {url}")
        browser.close()


if __name__ == "__main__":
    main()
