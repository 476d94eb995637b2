"""The index of neurons by its URLs: filters, facets, chips, pages, whole selections, and what is refused."""

from __future__ import annotations

import csv
import html
import io
import re
from collections import Counter
from urllib.parse import quote

import pytest
from werkzeug.datastructures import MultiDict

from atlas.topics.example import firing_token, neuron_examples
from atlas.topics.neuron import find_neuron
from atlas.topics.neuron_columns import LIST_COLUMNS, USUAL_COLUMNS
from atlas.topics.neuron_list import INDEX_SORTS, RANGE_COLUMNS
from atlas.topics.verdict import verdict_of
from tests.html_reader import Reader, squeezed
from web.views.neurons_state import read_state

BASE = "/tiny-llama/neurons"
QUERIES = [
    "",
    "?layer_min=1&layer_max=1",
    "?layer_min=1&exclusive=any&sort=token_gap&order=asc",
    "?exclusive=none&token_gap.gte=0.01&token_gap.lte=2.5",
    "?dead=0&hub_count.gte=1&sort=worst_token_id",
    "?activation_min.lte=-0.5&activation_max.gte=0.125&sort=activation_min&order=asc",
]


def data(client, url):
    response = client.get(url)
    assert response.status_code == 200, response.text
    return response.json


def as_json(url):
    path, mark, query = url.partition("?")
    return f"{path}.json{mark}{query}"


@pytest.fixture
def rows(app):
    """Every neuron as a dict, and the ids of those in a pair of each direction, by plain SQL."""
    atlas = app.extensions["atlases"]["tiny-llama"]
    found = atlas.query("SELECT * FROM neuron")
    neurons = [dict(zip(found.columns, row, strict=True)) for row in found.rows]
    pairs = {way: set() for way in ("top", "bottom")}
    for way, neuron_id in atlas.rows("SELECT direction, neuron_id FROM exclusive_pair"):
        pairs[way].add(neuron_id)
    return neurons, pairs


def total(client, query):
    return data(client, f"{BASE}.json{query}")["neurons"]["total"]


def test_filters_select(client, rows):
    neurons, pairs = rows
    one = neurons[7]
    either = pairs["top"] | pairs["bottom"]
    for query, chosen in (
        ("", lambda n: True),
        ("?layer_min=1", lambda n: n["layer"] >= 1),
        ("?layer_max=1", lambda n: n["layer"] <= 1),
        ("?layer_min=2&layer_max=1", lambda n: False),
        (f"?best_token_id={one['best_token_id']}", lambda n: n["best_token_id"] == one["best_token_id"]),
        (f"?worst_token_id={one['worst_token_id']}", lambda n: n["worst_token_id"] == one["worst_token_id"]),
        ("?dead=1", lambda n: n["dead"]),
        ("?dead=0", lambda n: not n["dead"]),
        ("?exclusive=top", lambda n: n["neuron_id"] in pairs["top"]),
        ("?exclusive=bottom", lambda n: n["neuron_id"] in pairs["bottom"]),
        ("?exclusive=any", lambda n: n["neuron_id"] in either),
        ("?exclusive=none", lambda n: n["neuron_id"] not in either),
        ("?token_gap.gte=0.5", lambda n: n["token_gap"] >= 0.5),
        ("?token_gap.gte=.1&token_gap.lte=5e-1", lambda n: 0.1 <= n["token_gap"] <= 0.5),
        ("?activation_min.gte=-1.5", lambda n: n["activation_min"] >= -1.5),
        ("?hub_count.lte=0", lambda n: n["hub_count"] == 0),
        (f"?best_congruence.gte={one['best_congruence']!r}", lambda n: n["best_congruence"] >= one["best_congruence"]),
    ):
        assert total(client, query) == sum(map(chosen, neurons)), query


def test_a_token_by_its_text(client):
    atlas = client.application.extensions["atlases"]["tiny-llama"]
    (an,) = (token for token in (atlas.tokens[n] for n in range(len(atlas.tokens))) if token.text == " an")
    expected = data(client, f"{BASE}.json?best_token_id={an.token_id}")
    for text in ("␣an", " an"):
        assert data(client, f"{BASE}.json?best_token={quote(text)}") == expected
        response = client.get(f"{BASE}?worst_token={quote(text)}&sort=token_gap")
        assert (response.status_code, response.location) == (
            302,
            f"{BASE}?worst_token_id={an.token_id}&sort=token_gap",
        )
    assert expected["filters"][0]["token"]["text"] == " an"
    assert expected["selection"]["best_token_id"] == an.token_id


def test_what_a_form_sends_leads_to_the_canonical_address(client):
    form = "layer_min=&layer_max=1&best_token=&dead=&exclusive=&token_gap.gte=0.50&token_gap.lte=&order=desc"
    assert client.get(f"{BASE}?{form}").location == f"{BASE}?layer_max=1&token_gap.gte=0.5"
    form = re.search(r'<details class="filtering"><summary>Filter.*?</form>', client.get(BASE).text, re.DOTALL)[0]
    fields = set(re.findall(r'<(?:input|select) (?:type="hidden" )?name="([^"]+)"', form))
    assert len(fields) == 7 + 2 * len(RANGE_COLUMNS)
    empty = "&".join(f"{name}=" for name in fields)
    assert client.get(f"{BASE}?{empty}").location == BASE
    assert data(client, f"{BASE}.json?{empty}")["url"] == BASE
    text = squeezed(client.get(f"{BASE}?token_gap.gte=0.5&sort=token_gap&order=asc&best_token_id=5").text)
    for name, value in (("token_gap.gte", "0.5"), ("sort", "token_gap"), ("order", "asc"), ("best_token_id", "5")):
        assert re.search(rf'name="{name}" value="{value}"', text)


def test_columns_are_chosen_in_the_address(client):
    """A form sends one parameter for each; the canonical address has them in the table's order, after the neuron's."""
    answer = client.get(f"{BASE}?layer_min=1&cols=token_gap&cols=auroc&sort=token_gap")
    canonical = f"{BASE}?layer_min=1&cols=neuron_id%2Cauroc%2Ctoken_gap&sort=token_gap"
    assert answer.location == canonical
    text = squeezed(client.get(canonical).text)
    heads = re.findall(r'<th scope="col"[^>]*><(?:a|span)[^>]*>([^<]+)', text)
    assert [html.unescape(head).rstrip("\xa0↓ ") for head in heads] == ["neuron", "AUROC", "token gap"]
    boxes = dict(re.findall(r'<input type="checkbox" name="cols" value="([^"]+)"( checked)?', text))
    assert {name for name, checked in boxes.items() if checked} == {"auroc", "token_gap"}
    assert set(boxes) == {column.name for column in LIST_COLUMNS} - {"neuron_id"}
    for link in re.findall(r'href="([^"]+)"', text):
        if link.startswith(BASE + "?") and "layer_min=1&amp;" in link:
            assert "cols=neuron_id%2Cauroc%2Ctoken_gap" in link
    usual = ",".join(column.name for column in USUAL_COLUMNS)
    assert data(client, f"{BASE}.json?cols={usual}")["url"] == BASE


def test_what_a_list_says_besides_numbers(client, app):
    """The verdict is the neuron's own; a firing token is that of at least three top texts, the most frequent one."""
    atlas = app.extensions["atlases"]["tiny-llama"]
    page = data(client, f"{BASE}.json?sort=neuron_id&order=asc")
    seen = set()
    for row, glance in zip(page["neurons"]["rows"], page["glances"], strict=True):
        verdict = verdict_of(atlas, find_neuron(atlas, row["neuron_id"]))
        assert glance["verdict"]["headline"] == verdict.headline
        if verdict.token is None:
            assert glance["auroc"] is None
        kind = "min" if verdict.side == "negative" else "max"
        texts = [] if verdict.side is None else neuron_examples(atlas, row["neuron_id"], kind)
        counts = Counter(firing_token(example).token_id for example in texts)
        token = glance["fires_on"] and glance["fires_on"]["token_id"]
        assert glance["n_fires_on"] == (counts[token] if token else 0)
        most = [counts[item["token_id"]] for item in glance["firing_tokens"]]
        assert most == sorted(counts.values(), reverse=True)[:3]
        assert token is None or counts[token] == max(counts.values()) >= 3
        assert token is not None or max(counts.values(), default=0) < 3
        seen.add(token is None)
    assert seen == {True, False}


def test_facets_that_say_nothing_are_not_shown(client):
    """All layers have as many neurons, and none is dead: neither divides."""
    text = client.get(BASE).text
    assert "<dt>exclusive pair</dt>" in text
    assert "<dt>layer</dt>" not in text
    assert "<dt>layer</dt>" in client.get(f"{BASE}?exclusive=any").text


@pytest.mark.parametrize("query", QUERIES)
def test_the_canonical_address_says_the_same(client, query):
    page = data(client, f"{BASE}.json{query}")
    assert data(client, as_json(page["url"])) == page
    response = client.get(BASE + query)
    assert page["url"] == f"{BASE}{query}"
    reader = Reader(response.text)
    assert reader.inline == []
    assert response.text.count("<h1>") == 1


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("colour=red", "There is no parameter 'colour' here; expected one of layer_min, layer_max"),
        ("token_gap.gt=1", "There is no parameter 'token_gap.gt' here"),
        ("layer_min=x", "layer_min='x' is invalid: expected a layer, 0 to 2"),
        ("layer_max=3", "layer_max='3' is invalid: expected a layer, 0 to 2"),
        ("layer_min=-1", "layer_min='-1' is invalid"),
        ("layer_min=٣", "layer_min='٣' is invalid"),
        ("best_token_id=99999", "best_token_id='99999' is invalid: expected the id of a token, 0 to 308"),
        ("best_token=zqzq", "best_token='zqzq' is invalid: expected exactly a token's text"),
        ("best_token=%EF%BF%BD", "have it ("),
        ("best_token=e&best_token_id=5", "best_token='e' and best_token_id=5: expected one of the two"),
        ("dead=yes", "dead='yes' is invalid: expected one of 0, 1"),
        ("exclusive=both", "exclusive='both' is invalid: expected one of top, bottom, any, none"),
        ("token_gap.gte=big", "token_gap.gte='big' is invalid: expected a number"),
        ("token_gap.gte=nan", "token_gap.gte='nan' is invalid: expected a number"),
        ("token_gap.gte=1e999", "token_gap.gte='1e999' is invalid: expected a number"),
        ("hub_count.lte=1.5", "hub_count.lte='1.5' is invalid: expected a whole number"),
        ("sort=name", "sort='name' is invalid: expected one of neuron_id, best_token_id, best_congruence"),
        (
            "cols=token_gap,colour",
            "cols='colour' is invalid: expected columns with commas between, of neuron_id,",
        ),
        ("order=down", "order='down' is invalid: expected one of desc, asc"),
        ("sort=token_gap&sort=hub_count", "sort is given 2 times; expected it once"),
        ("after=12", "after='12' is invalid: expected a value of best_congruence (or null), ~ and a neuron_id"),
        ("after=x~1", "after='x~1' is invalid"),
        ("before=1.5~2&sort=hub_count", "before='1.5~2' is invalid: expected a value of hub_count"),
        ("after=1~9999999999", "after='1~9999999999' is invalid"),
        ("after=1~2&before=1~2", "after='1~2' and before='1~2': expected one of the two"),
        ("all=1", "all=1 is the whole selection as data: expected '.json' behind the path"),
        ("all=2", "all='2' is invalid: expected 1, once"),
    ],
)
def test_what_is_refused(client, query, message):
    response = client.get(f"{BASE}?{query}")
    assert response.status_code == 400
    assert message in html.unescape(response.text)
    if not query.startswith("all=1"):
        answer = client.get(f"{BASE}.json?{query}")
        assert answer.status_code == 400
        assert message in answer.json["error"]["message"]
        assert client.get(f"{BASE}.csv?{query}").status_code == 400


def test_whole_selections_have_no_pages(client):
    for url in (f"{BASE}.csv?after=1~2", f"{BASE}.json?all=1&before=1~2"):
        response = client.get(url)
        assert response.status_code == 400
        assert "expected neither" in response.text


@pytest.mark.parametrize("query", [*QUERIES, "?layer_min=2&layer_max=0"])
def test_csv_equals_json_and_has_the_pages_neurons_in_order(client, query):
    page = data(client, f"{BASE}.json{query}")
    answer = client.get(page["csv"])
    assert answer.mimetype == "text/csv"
    assert 'filename="tiny-llama-neurons.csv"' in answer.headers["Content-Disposition"]
    head, *lines = csv.reader(io.StringIO(answer.get_data(as_text=True), newline=""))
    whole = data(client, page["all"])
    assert (whole["slug"], whole["build_id"], whole["total"]) == ("tiny-llama", page["build_id"], len(lines))
    assert head == whole["columns"]
    written = {None: "", True: "True", False: "False"}
    assert lines == [[written[v] if v is None or isinstance(v, bool) else str(v) for v in row] for row in whole["rows"]]
    shown = [neuron["name"] for neuron in page["neurons"]["rows"]]
    assert [row[head.index("name")] for row in whole["rows"]][: len(shown)] == shown
    assert page["neurons"]["total"] == len(lines)


@pytest.mark.parametrize("query", QUERIES)
def test_links_of_facets_lead_to_as_many_neurons_as_they_say(client, query):
    page = data(client, f"{BASE}.json{query}")
    here = page["neurons"]["total"]
    for facet in page["facets"]:
        for value in facet["values"]:
            there = data(client, value["url"])
            if value["active"]:
                assert there["neurons"]["total"] >= here == value["n"]
                assert len(there["filters"]) == len(page["filters"]) - 1
            else:
                assert there["neurons"]["total"] == value["n"]
                again = [v for f in there["facets"] for v in f["values"] if f["name"] == facet["name"] and v["active"]]
                assert [v["label"] for v in again] == [value["label"]]
    exclusive = {"top", "bottom", "any", "none"} & set(query.replace("&", "=").split("="))
    names = {
        value["label"] for facet in page["facets"] if facet["name"] == "exclusive pair" for value in facet["values"]
    }
    assert ("in no pair" in names) == ("any" not in exclusive)


@pytest.mark.parametrize("query", QUERIES)
def test_every_active_filter_has_a_chip_that_removes_it(client, query):
    page = data(client, f"{BASE}.json{query}")
    text = client.get(BASE + query).text
    assert text.count('class="filter"') == len(page["filters"])
    for chip in page["filters"]:
        there = data(client, chip["url"])
        assert chip not in there["filters"]
        assert len(there["filters"]) == len(page["filters"]) - 1
        assert there["sort"] == page["sort"]
    if query.startswith("?exclusive=none"):
        assert [chip["text"] for chip in page["filters"]] == ["in no pair", "token gap ≥ 0.01", "token gap ≤ 2.5"]


@pytest.mark.parametrize("query", ["", "?sort=in_out_cosine&order=asc", "?layer_min=1&sort=hub_count"])
def test_links_walk_every_page_and_back(client, query):
    whole = data(client, data(client, f"{BASE}.json{query}")["all"])
    expected = [row[whole["columns"].index("name")] for row in whole["rows"]]
    assert len(expected) < 200 or query == ""
    for suffix in ("", ".json"):
        url, urls, found = f"{BASE}{suffix}{query}", [], []
        while url:
            page = data(client, url if suffix else as_json(url))
            urls.append(url)
            found += [neuron["name"] for neuron in page["neurons"]["rows"]]
            if suffix:
                url = page["next"]
            else:
                links = re.findall(r'rel="next" href="([^"]+)"', client.get(url).text)
                url = html.unescape(links[0]) if links else None
        assert found == expected
        assert len(urls) == -(-len(expected) // 100)
    last = page
    assert last["next"] is None
    if len(urls) > 1:
        back = data(client, last["previous"])
        assert [neuron["name"] for neuron in back["neurons"]["rows"]] == expected[:100]
        assert back["previous"] is None
        assert data(client, last["first"])["neurons"]["offset"] == 0


def test_a_page_past_the_end_says_so(client):
    text = client.get(f"{BASE}?after=null~2147483647").text
    assert "nothing here of 144" in text
    assert f'<a href="{BASE}">the first page</a>' in text
    assert "no neuron is like that" in client.get(f"{BASE}?layer_min=2&layer_max=1").text


def test_heads_of_columns_sort_and_are_defined(client):
    text = squeezed(client.get(f"{BASE}?layer_min=1&sort=token_gap").text)
    heads = re.findall(r"<th scope=\"col\"([^>]*)><a href=\"([^\"]+)\" title=\"([^\"]+)\">", text)
    assert len(heads) == len([column for column in USUAL_COLUMNS if column.name in INDEX_SORTS])
    assert [attributes for attributes, _, _ in heads if "aria-sort" in attributes] == [
        ' class="n" aria-sort="descending"'
    ]
    for _, url, definition in heads:
        assert "layer_min=1" in url
        assert definition.endswith((".", ")"))
        assert client.get(html.unescape(url)).status_code == 200
    assert f"{BASE}?layer_min=1&amp;sort=token_gap&amp;order=asc" in text
    assert f"{BASE}?layer_min=1&amp;sort=neuron_id&amp;order=asc" in text


def test_pinned_pages_stay_pinned_and_are_held(client):
    build = data(client, f"{BASE}.json")["build_id"]
    pin = f"/tiny-llama@{build}/neurons"
    links = [link for link in Reader(client.get(f"{pin}?layer_min=1").text).links if link.startswith("/tiny-llama")]
    assert [link for link in links if not link.startswith(f"/tiny-llama@{build}")] == []
    answer = client.get(f"{pin}.csv", buffered=True)
    assert client.get(f"{pin}.csv", headers={"If-None-Match": answer.headers["ETag"]}).status_code == 304


def test_a_state_reads_back_what_it_writes(app):
    atlas = app.extensions["atlases"]["tiny-llama"]
    for value in ("0.1", "1e-07", "1e+22", "-7.152557373046875e-07", "12", "null"):
        query = {"token_gap.gte": "0.30000001192092896", "sort": "token_gap", "after": f"{value}~17"}
        state = read_state(atlas, MultiDict(query))
        assert state.query() == query
        assert read_state(atlas, MultiDict(state.query().items())) == state
