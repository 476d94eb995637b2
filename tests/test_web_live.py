"""Live mode with the real processes: what the site says is what the Hugging Face model does, in float64, by itself."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from contextlib import suppress
from html import unescape
from pathlib import Path
from urllib.parse import quote

import duckdb
import numpy as np
import psutil
import pytest
import torch
from axe_playwright_python.sync_playwright import Axe
from transformers import AutoModelForCausalLM, AutoTokenizer

from atlas.cli.main import MissingExtraError
from atlas.core.errors import AtlasError
from atlas.topics.live import ModelWanted
from tests.test_ingest_attribution import Plain as Attributed
from tests.test_web_browser import DRAWN
from web import create_app
from web.site import urls
from web.workers.live.live import Live, check_installed
from web.workers.live.options import LiveModelError, LiveOptions, read_models

TEXT = "I climbed up the pear tree and picked"
HOSTILE = "an apple </td><script>alert(1)</script> \u202e x"
JSON = {"Accept": "application/json"}
SITES = ("tiny-llama", "tiny-gpt2")
PAIR = {"clean": "the apple tree and", "corrupt": "the lemon tree and", "answer": " an", "other": " a"}


@pytest.fixture(scope="module")
def models(built_llama, built_gpt2):
    return {"tiny-llama": built_llama.model, "tiny-gpt2": built_gpt2.model}


@pytest.fixture(scope="module")
def live(models):
    made = Live(LiveOptions(tokens=30, queue=2, most_models=2, load={slug: str(path) for slug, path in models.items()}))
    yield made
    made.close()


@pytest.fixture(scope="module")
def app(tiny_llama_atlas, tiny_gpt2_atlas, live):
    app = create_app([tiny_llama_atlas, tiny_gpt2_atlas], live=live)
    app.testing = True
    yield app
    for atlas in app.extensions["atlases"].values():
        atlas.close()


def get(client, url, **headers):
    """The answer, once the model is loaded."""
    until = time.monotonic() + 100
    while (answer := client.get(url, headers=headers)).status_code == 503 and time.monotonic() < until:
        if "being loaded" not in answer.text:
            break
        assert answer.headers["Retry-After"] == "4"
        assert answer.headers["Cache-Control"] == "no-store"
        assert url.endswith(".json") or ".json?" in url or answer.headers["Refresh"] == "4"
    return answer


class Plain:
    """A text, or tokens with BOS, on a model straight from its folder, in float64."""

    def __init__(self, folder: Path, text: str | list[int]) -> None:
        model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float64).eval()
        self.tokenizer = AutoTokenizer.from_pretrained(folder)
        self.ids = text
        if isinstance(text, str):
            self.ids = [self.tokenizer.bos_token_id, *self.tokenizer(text, add_special_tokens=False)["input_ids"]]
        llama = hasattr(model, "model")
        blocks = model.model.layers if llama else model.transformer.h
        outs = [block.mlp.down_proj if llama else block.mlp.c_proj for block in blocks]
        self.norm = model.model.norm if llama else model.transformer.ln_f
        kept = {}
        for layer, out in enumerate(outs):
            out.register_forward_pre_hook(lambda _, args, layer=layer: kept.__setitem__(layer, args[0][0]))
        self.norm.register_forward_pre_hook(lambda _, args: kept.__setitem__("final", args[0][0, -1]))
        with torch.no_grad():
            self.logits = model(torch.tensor([self.ids])).logits[0, -1].numpy()
        self.activations = np.stack([kept[layer].numpy() for layer in range(len(blocks))])
        weights = [out.weight.detach().numpy() for out in outs]
        self.w_out = np.stack([w.T if llama else w for w in weights])  # [layer, d_mlp, d_model]
        self.unembedding = model.lm_head.weight.detach().numpy()
        x, gain = kept["final"].numpy(), self.norm.weight.detach().numpy()
        centre = np.zeros_like(x) if llama else np.full_like(x, x.mean())
        epsilon = self.norm.variance_epsilon if llama else self.norm.eps
        scale = np.sqrt(((x - centre) ** 2).mean() + epsilon)
        # What a vector added to the residual stream gives behind the norm held at this scale, as a matrix's rows.
        size = len(x)
        centring = np.eye(size) if llama else np.eye(size) - 1 / size
        self.behind = centring * gain / scale

    def token(self, text: str) -> int:
        (found,) = self.tokenizer(text, add_special_tokens=False)["input_ids"]
        return found

    def effects(self, direction: np.ndarray) -> np.ndarray:
        return self.activations[:, -1] * (self.w_out @ self.behind @ direction)


@pytest.mark.parametrize("slug", SITES)
@pytest.mark.parametrize("text", [TEXT, HOSTILE])
def test_activations_are_the_models_own(client, models, slug, text):
    data = get(client, f"/{slug}/L1N7/live.json?text={quote(text)}").json
    plain = Plain(models[slug], text)
    assert [item["token"]["token_id"] for item in data["tokens"]] == plain.ids
    found = [item["activation"] for item in data["tokens"]]
    np.testing.assert_allclose(found, plain.activations[1, :, 7], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("slug", SITES)
def test_a_stored_text_has_the_activation_that_ingest_stored(client, built_llama, built_gpt2, slug):
    built = {"tiny-llama": built_llama, "tiny-gpt2": built_gpt2}[slug]
    texts = [json.loads(line)["text"] for line in built.dataset.read_text().splitlines()]
    with duckdb.connect(str(built.atlas), read_only=True) as connection:
        rows = connection.execute(
            "SELECT n.name, e.position, e.activation, t.source_row, t.token_ids FROM example AS e JOIN text AS t "
            "USING (text_id) JOIN neuron AS n USING (neuron_id) WHERE chunk = 0 AND len(t.token_ids) BETWEEN 8 AND 20 "
            "AND e.kind = 'max' ORDER BY e.activation DESC LIMIT 5"
        ).fetchall()
    assert len(rows) == 5
    for name, position, activation, row, token_ids in rows:
        data = get(client, f"/{slug}/{name}/live.json?text={quote(texts[row])}").json
        assert [item["token"]["token_id"] for item in data["tokens"]] == token_ids
        assert data["tokens"][position]["activation"] == pytest.approx(activation, abs=1e-4)


@pytest.mark.parametrize("slug", SITES)
def test_places_are_those_in_the_stored_histogram(client, built_llama, built_gpt2, slug):
    built = {"tiny-llama": built_llama, "tiny-gpt2": built_gpt2}[slug]
    data = get(client, f"/{slug}/L0N3/live.json?text={quote(TEXT)}").json
    with duckdb.connect(str(built.atlas), read_only=True) as connection:
        bars = connection.execute(
            "SELECT lower, upper, h.n FROM activation_histogram AS h JOIN histogram_bin USING (bin) WHERE neuron_id = 3"
        ).fetchall()
    total = sum(n for *_, n in bars)
    first, *rest = data["tokens"]
    assert first["below"] is None
    assert first["within"] is None
    for item in rest:
        value = item["activation"]
        assert item["below"] == pytest.approx(sum(n for _, upper, n in bars if upper <= value) / total)
        assert item["within"] == pytest.approx(sum(n for low, high, n in bars if low <= value < high) / total)


def test_a_page_shows_the_tokens_the_chart_and_a_table(client):
    page = get(client, f"/tiny-llama/L1N7/live?text={quote(HOSTILE)}").text
    assert "<script>alert" not in page
    assert "\u202e" not in re.sub(r"<form class=.live.*?</form>", "", page, flags=re.S)  # one may go on typing
    assert "&lt;script&gt;alert(1)" in page
    rows = re.findall(r'<tr id="t(\d+)">', page)
    assert re.findall(r'href="#t(\d+)"', page) == rows == [str(place) for place in range(len(rows))]
    assert 'id="place"' in page
    assert client.get(f"/tiny-llama/L1N7/live.chart.svg?text={quote(TEXT)}&chart=place").text.startswith("<svg")
    assert client.get("/tiny-llama/1.7/live?text=a").location == "/tiny-llama/L1N7/live?text=a"
    assert client.get("/tiny-llama/L1N999/live?text=a").status_code == 404
    empty = client.get("/tiny-llama/L1N7/live")
    assert empty.status_code == 200
    assert empty.headers["Cache-Control"] == "no-store"
    assert "<table" not in empty.text


@pytest.fixture(scope="module")
def references(models, tiny_llama_atlas, tiny_gpt2_atlas):
    """By atlas: TEXT in float64, attributions in float64, mean activations."""
    found = {}
    for slug, atlas in zip(SITES, (tiny_llama_atlas, tiny_gpt2_atlas), strict=True):
        with duckdb.connect(str(atlas), read_only=True) as connection:
            rows = connection.execute("SELECT activation_mean FROM neuron ORDER BY neuron_id").fetchall()
        means = np.array([mean for (mean,) in rows])
        found[slug] = Plain(models[slug], TEXT), Attributed(models[slug], means), means
    return found


@pytest.mark.parametrize("slug", SITES)
@pytest.mark.parametrize("pair", [None, (" an", None), (" an", " a")])
def test_neurons_are_ranked_by_attribution_and_ablated_exactly(client, references, slug, pair):
    """Against autograd in float64 over recorded keys and values, and plain runs with a hook."""
    plain, slow, means = references[slug]
    given = [None if text is None else plain.token(text) for text in pair or (None, None)]
    named = {name: quote(text) for name, text in zip(("token", "against"), pair or (), strict=False) if text}
    query = "".join(f"&{name}={text}" for name, text in named.items())
    last = len(plain.ids) - 1
    token, attribution, _ = slow.position(plain.ids, last, *given)
    answer = get(client, f"/{slug}/live.json?text={quote(TEXT)}{query}&neuron=L1N7&limit=12").json["explained"]
    assert answer["token"]["token_id"] == token
    assert (answer["against"] or {}).get("token_id") == given[1]
    less, off = plain.unembedding.mean(0), plain.logits.mean()
    if given[1] is not None:
        less, off = plain.unembedding[given[1]], plain.logits[given[1]]
    assert answer["value"] == pytest.approx(plain.logits[token] - off, rel=1e-4, abs=1e-4)
    ratio = plain.effects(plain.unembedding[token] - less).ravel() / plain.activations[:, -1].ravel()
    direct = (plain.activations[:, -1].ravel() - means) * ratio
    order = {"supports": attribution, "opposes": -attribution, "direct": np.abs(direct)}
    for side, key in order.items():
        expected = [n for n in np.argsort(-key, kind="stable")[: 6 if side == "direct" else 12] if key[n] > 0]
        assert [item["neuron"]["neuron_id"] for item in answer[side]] == expected
        for item in answer[side]:
            n = item["neuron"]["neuron_id"]
            assert item["attribution"] == pytest.approx(attribution[n], rel=2e-3, abs=1e-5)
            assert item["direct"] == pytest.approx(direct[n], rel=2e-3, abs=1e-5)
        for item in answer[side][:2]:
            exact = slow.fall(plain.ids, last, item["neuron"]["neuron_id"], token, held=False, against=given[1])
            assert item["exact"] == pytest.approx(exact, rel=2e-3, abs=2e-5)
    ablated, n = answer["ablated"], means.size // plain.activations.shape[0] + 7
    assert ablated["attribution"] == pytest.approx(attribution[n], rel=2e-3, abs=1e-5)
    for name, held in (("exact", True), ("exact_full", False)):
        exact = slow.fall(plain.ids, last, n, token, held=held, against=given[1])
        assert ablated[name] == pytest.approx(exact, rel=2e-3, abs=2e-5)


@pytest.mark.parametrize("slug", SITES)
def test_predictions_and_the_strongest_neurons_of_each_token(client, references, slug):
    plain, slow, _ = references[slug]
    answer = get(client, f"/{slug}/live.json?text={quote(TEXT)}").json["explained"]
    order = np.argsort(-plain.logits, kind="stable")
    probabilities = np.exp(plain.logits - plain.logits.max()) / np.exp(plain.logits - plain.logits.max()).sum()
    assert [item["token"]["token_id"] for item in answer["predictions"]] == order[:10].tolist()
    for item in answer["predictions"]:
        number = item["token"]["token_id"]
        assert item["logit"] == pytest.approx(plain.logits[number], rel=1e-4, abs=1e-4)
        assert item["probability"] == pytest.approx(probabilities[number], rel=1e-3)
    assert [item["position"] for item in answer["positions"]] == list(range(1, len(plain.ids)))
    for item in answer["positions"][::3]:
        token, attribution, _ = slow.position(plain.ids, item["position"])
        assert item["predicted"]["token_id"] == token
        assert item["token"]["token_id"] == plain.ids[item["position"]]
        found = {each["neuron"]["neuron_id"]: each["attribution"] for each in item["neurons"]}
        assert list(found) == np.argsort(-np.abs(attribution), kind="stable")[:3].tolist()
        assert list(found.values()) == pytest.approx(attribution[list(found)], rel=2e-3, abs=1e-5)
    page = get(client, f"/{slug}/live?text={quote(TEXT)}").text
    *_, last = re.findall(rf'href="(/{slug}/live[?]text=[^"&]*)" aria-label="Why', page)
    asked = client.get(last.replace("/live?", "/live.json?")).json["explained"]
    assert asked["token"] == answer["positions"][-2]["predicted"]


def test_a_listed_neuron_has_its_place_and_its_verdict(client, tiny_llama_atlas):
    answer = get(client, f"/tiny-llama/live.json?text={quote(TEXT)}").json["explained"]
    for item in answer["supports"][:3]:
        name = item["neuron"]["name"]
        assert item["verdict"] == client.get(f"/tiny-llama/{name}.json").json["verdict"]["headline"]
        placed = client.get(f"/tiny-llama/{name}/live.json?text={quote(TEXT)}").json["tokens"][-1]
        assert item["place"] == {part: placed[part] for part in ("below", "within", "beyond")}
        assert item["activation"] == pytest.approx(placed["activation"], rel=1e-4)
    with duckdb.connect(str(tiny_llama_atlas), read_only=True) as connection:
        assert connection.execute("SELECT count(*) FROM neuron_attribution").fetchone() == (0,)
    assert {item["usual"] for item in answer["opposes"]} == {None}


def test_the_page_says_why_and_can_be_shared(client):
    url = f"/tiny-llama/live?text={quote(HOSTILE, safe='')}&token=%20an&against=%20a&neuron=L1N7"
    page = get(client, url).text
    assert "<script>alert" not in page
    for said in ("Support it most", "Oppose it most", "Greatest direct parts", "At each token of the text"):
        assert said in page
    assert re.search(r"Without <a [^>]*>L1N7</a>", page)
    links = [unescape(link) for link in re.findall(r'href="([^"]*#ablated)"', page)]
    assert client.get(links[0].partition("#")[0]).status_code == 200
    assert url in unescape(page)  # its address, to copy
    assert client.get("/tiny-llama/live").status_code == 200
    assert client.get("/tiny-llama/live?text=a&neuron=L9N9").status_code == 404
    for place in ("/", "/tiny-llama"):
        assert 'action="/tiny-llama/live"' in client.get(place).text
    study = client.get("/tiny-llama/study/an").text
    assert "/tiny-llama/live?text=I%20climbed" in study


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("/tiny-llama/L1N7/live{}?text=" + "x%20=%20" * 30, "tokens; expected at most 30 here. Shorten it."),
        ("/tiny-llama/L1N7/live{}?text=" + "a" * 361, "The text has 361 characters; expected at most 30 tokens"),
        ("/tiny-llama/live{}?text=a&token=" + quote(" apple tree"), "The token &#39; apple tree&#39; is "),
        ("/tiny-llama/live{}?text=%20", "The text is empty: type at least one word."),
        ("/tiny-llama/live{}?text=a&limit=201", "The limit &#39;201&#39; is not a whole number from 1 to 200."),
        ("/tiny-llama/live{}?text=a&token=%20a&against=%20a", "are the same: give two"),
    ],
)
def test_what_cannot_be_answered_says_why(client, url, said):
    page = get(client, url.format(""))
    assert page.status_code == 400
    assert said in page.text
    data = client.get(url.format(".json"))
    assert data.status_code == 400
    assert data.json["error"]["code"] == "live_refused"
    assert said.replace("&#39;", "'") in data.json["error"]["message"]


def progress(client, url):
    """The last word of a study's progress."""
    until = time.monotonic() + 60
    while (said := client.get(f"{url}.json").json)["state"] != "done" and time.monotonic() < until:
        time.sleep(0.1)
    return said


def test_a_study_from_the_form_to_its_page(client, models, tiny_gpt2_atlas):
    get(client, "/tiny-gpt2/live?text=a")
    before = tiny_gpt2_atlas.read_bytes()
    form = client.get("/tiny-gpt2/live/study?clean=%3Cb%3E").text
    assert "&lt;b&gt;" in form
    started = client.post("/tiny-gpt2/live/study", data=PAIR)
    assert started.status_code == 303
    waiting = client.get(started.location)
    assert waiting.status_code in (200, 303)
    said = progress(client, started.location)
    assert said["trouble"] is None
    page = client.get(started.location)
    assert (page.status_code, page.location) == (303, said["result"])
    result = client.get(said["result"])
    assert result.status_code == 200
    assert result.headers["Cache-Control"] == "no-store"
    assert "Run by a visitor, not recorded" in result.text
    assert "atlas study" in result.text
    assert "/sql?" not in re.sub(r"<nav.*?</nav>", "", result.text, flags=re.S)  # the file does not hold it
    data = client.get(f"{said['result']}.json").json
    clean, corrupt = (Plain(models["tiny-gpt2"], PAIR[side]) for side in ("clean", "corrupt"))
    an, a = clean.token(" an"), clean.token(" a")
    for plain, side in ((clean, "clean"), (corrupt, "corrupt")):
        assert data["study"][f"{side}_logit_diff"] == pytest.approx(plain.logits[an] - plain.logits[a], abs=1e-3)
    (prompt,) = data["prompts"]
    sides = [[token["token_id"] for token in prompt[f"{side}_tokens"]] for side in ("clean", "corrupt")]
    assert sides == [clean.ids, corrupt.ids]
    lead = [plain.logits[an] - plain.logits[a] for plain in (clean, corrupt)]
    first = {step["position"]: step["value"] for step in data["patches"]["patch_resid_pre"] if step["layer"] == 0}
    for place in range(1, len(clean.ids)):
        # Before the first block a position holds nothing but its token: another token there is the same patch.
        patched = Plain(models["tiny-gpt2"], [*corrupt.ids[:place], clean.ids[place], *corrupt.ids[place + 1 :]])
        recovery = (patched.logits[an] - patched.logits[a] - lead[1]) / (lead[0] - lead[1])
        assert first[place] == pytest.approx(recovery, abs=1e-3)
    assert data["neurons"]["n_estimated"] == data["neurons"]["n"] == clean.activations[:, 0].size  # fewer than 200
    assert -1 <= data["neurons"]["agreement"]["pearson"] <= 1
    assert {edge["exact"] is None for edge in data["edges"][:10]} <= {False}
    direct = clean.effects(clean.unembedding[an] - clean.unembedding[a]).ravel()
    for item in data["neurons"]["top"]:
        assert item["direct_effect_clean"] == pytest.approx(direct[item["neuron"]["neuron_id"]], abs=1e-3)
    assert client.get(f"{said['result']}.chart.svg?chart=recovery").status_code == 200
    assert tiny_gpt2_atlas.read_bytes() == before
    assert "live" not in {item["name"] for item in client.get("/tiny-gpt2/studies.json").json["studies"]}


def test_a_study_that_cannot_be_says_what_to_change(client):
    get(client, "/tiny-gpt2/live?text=a")
    started = client.post("/tiny-gpt2/live/study", data={**PAIR, "corrupt": "a"}, headers=JSON)
    assert started.status_code == 202
    said = progress(client, started.json["url"])
    assert said["trouble"]["code"] == "live_refused"
    page = client.get(started.json["url"])
    assert page.status_code == 400
    assert "The prompts differ in length" in page.text
    form = urls.to("live_study", urls.AtlasRef("tiny-gpt2"), **{**PAIR, "corrupt": "a"})
    assert form.replace("&", "&amp;") in page.text
    assert client.get(f"{started.json['url']}/result").location == started.json["url"]


def test_forms_of_other_sites_and_forms_left_empty(client):
    refused = client.post("/tiny-gpt2/live/study", data=PAIR, headers={"Sec-Fetch-Site": "cross-site"})
    assert refused.status_code == 403
    assert client.post("/tiny-gpt2/live/study", data={**PAIR, "other": ""}).status_code == 400
    gone = client.get("/tiny-gpt2/live/study/never")
    assert gone.status_code == 404
    assert "Run it again" in gone.text


def test_in_a_browser(tab, site, client):
    for slug in SITES:
        get(client, f"/{slug}/live?text=a")
    pages = (f"/tiny-llama/L1N7/live?text={quote(HOSTILE)}", f"/tiny-llama/live?text={quote(HOSTILE)}&token=%20an")
    for path in pages:
        tab.goto(site + path)
        tab.wait_for_function(DRAWN)
        found = Axe().run(tab).response["violations"]
        assert [item["id"] for item in found if item["impact"] != "minor"] == []
    tab.goto(site + pages[0])
    token = tab.locator("p.text.live a").nth(2)
    token.focus()
    tab.keyboard.press("Enter")
    assert tab.locator("tr:target td").nth(0).inner_text() == "2"
    tab.goto(f"{site}/tiny-gpt2/live/study")
    for name, text in PAIR.items():
        tab.locator(f"main [name={name}]").fill(text)
    tab.locator("main form button").click()
    tab.wait_for_url("**/result")
    assert tab.locator("#predictions table").count() == 2
    assert tab.said == []


def model_of(live):
    """The processes that hold models."""
    return psutil.Process(live._started[-1].pid).children()


def test_a_full_queue_turns_away_and_is_answered_later(app, client, live):
    get(client, "/tiny-llama/live?text=a")
    held = model_of(live)
    for process in held:
        process.suspend()
    url = "/tiny-llama/L0N0/live.json?text=tree"
    try:
        with ThreadPoolExecutor(8) as pool:
            asked = [pool.submit(lambda: app.test_client().get(url)) for _ in range(4)]  # one runs, two wait
            (turned_away,), waiting = wait(asked, 20, return_when=FIRST_COMPLETED)
            for process in held:
                process.resume()
            assert [answer.result().status_code for answer in waiting] == [200] * 3
            busy = turned_away.result()
    finally:
        for process in held:
            with suppress(psutil.Error):
                process.resume()
    assert busy.json["error"]["code"] == "live_busy"
    assert busy.headers["Retry-After"] == "10"


def test_a_model_that_dies_is_loaded_again(client, live):
    get(client, "/tiny-llama/live?text=a")
    for process in model_of(live):
        process.kill()
    assert get(client, "/tiny-llama/L0N0/live.json?text=tree").status_code == 200


def test_off_unless_asked_for(tiny_llama_atlas):
    app = create_app([tiny_llama_atlas])
    client = app.test_client()
    page = client.get("/tiny-llama/L1N7")
    for text in (page.text, client.get("/tiny-llama/studies").text):
        assert "--live" not in text  # a note for who runs the site is not for its readers
    for url in ("/tiny-llama/L1N7/live?text=a", "/tiny-llama/live", "/tiny-llama/live/study"):
        answer = client.get(url)
        assert answer.status_code == 404
        assert "Live mode is off on this site" in answer.text
        assert "atlas serve FILE --live" in answer.text
    assert client.post("/tiny-llama/live/study", data=PAIR).status_code == 404
    # A page kept from before live mode was turned on is not taken for the page of now.
    on = create_app([tiny_llama_atlas], live=Live(LiveOptions()))
    again = on.test_client().get("/tiny-llama/L1N7", headers={"If-None-Match": page.headers["ETag"]})
    assert again.status_code == 200
    assert 'action="/tiny-llama/L1N7/live"' in again.text
    on.extensions["live"].close()
    for made in (app, on):
        made.extensions["atlases"]["tiny-llama"].close()


def test_live_pages_are_limited_like_data(tiny_llama_atlas):
    app = create_app([tiny_llama_atlas], rate="2/h")
    client = app.test_client()
    assert [client.get("/tiny-llama/L1N7/live?text=a").status_code for _ in range(3)] == [404, 404, 429]
    assert client.get("/tiny-llama/L1N7").status_code == 200
    app.extensions["atlases"]["tiny-llama"].close()


@pytest.mark.parametrize(
    ("path", "is_live"),
    [
        ("/a/live", True),
        ("/a/live.json", True),
        ("/a@0123456789ab/live/study/x.json", True),
        ("/a/L1N2/live", True),
        ("/a/L1N2/live.chart.svg", True),
        ("/a/L1N2", False),
        ("/alive/L1N2", False),
        ("/a/lively", False),
    ],
)
def test_which_pages_ask_a_model(path, is_live):
    assert urls.is_live(path) is is_live


def test_without_the_libraries_it_says_what_to_install(monkeypatch, tiny_llama_atlas):
    from web.server.serve import serve_files

    monkeypatch.setattr("ingest.live.process.find_spec", lambda name: None)
    said = r"`atlas serve --live` needs libraries .*No module named 'torch'.*pip install 'neuron-atlas\[ingest\]'"
    with pytest.raises(MissingExtraError, match=said):
        check_installed()
    with pytest.raises(MissingExtraError, match=said):
        serve_files([tiny_llama_atlas], "127.0.0.1", 0, 1, 1, live=LiveOptions())


def test_which_model_is_loaded_for_which_atlas():
    assert read_models(["a=/x=1", "gpt2"], ["a", "b"]) == {"a": "/x=1", "": "gpt2"}
    assert read_models(["/models/a=b"], ["a"]) == {"": "/models/a=b"}
    with pytest.raises(LiveModelError, match="'c=x' is for 'c', which is not served; expected one of a, b before"):
        read_models(["c=x"], ["a", "b"])


def test_other_weights_are_refused(models):
    from ingest.live.jobs import load_wanted

    with pytest.raises(AtlasError, match=r"have the fingerprint \w+; the atlas is of 'mine' .*with --live-model"):
        load_wanted(ModelWanted("mine", None, "0" * 32, str(models["tiny-gpt2"])))


def test_a_site_with_live_mode_loads_nothing_itself_and_leaves_nothing(tiny_gpt2_atlas, models, tmp_path):
    code = "from web.server.command import serve; serve()"
    options = ["--live", "--live-model", str(models["tiny-gpt2"]), "--port", "0", "--workers", "1", "--no-sql"]
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(tiny_gpt2_atlas), *options],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "TMPDIR": str(tmp_path)},
    )
    try:
        address = re.search(r"http://\S+", process.stdout.readline())[0]
        with suppress(urllib.error.HTTPError):  # it is still loading
            urllib.request.urlopen(f"{address}tiny-gpt2/L0N1/live.json?text=tree", timeout=60).close()
        (worker,) = psutil.Process(process.pid).children()
        (desk,) = worker.children()
        (model,) = desk.children()
        for one in (worker, desk):
            assert not any("libtorch" in part.path for part in one.memory_maps())
    finally:
        process.send_signal(signal.SIGINT)
        process.stdout.close()
        status = process.wait(timeout=60)
    assert status == 0
    assert psutil.wait_procs([worker, desk, model], timeout=20)[1] == []
    assert list(tmp_path.glob("atlas-live-*")) == []
