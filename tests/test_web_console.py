"""The SQL console's page: it asks, shows, draws, saves and says what is wrong; and what the shelf holds runs."""

from __future__ import annotations

import csv
import html
import io
import re
from datetime import UTC, date, datetime
from decimal import Decimal
from urllib.parse import quote

import pyarrow.parquet as pq
import pytest

from atlas import open_atlas
from atlas.topics.example_queries import EXAMPLE_QUERIES
from tests.html_reader import Reader
from web.charts.result import result_chart, sensible_axes


@pytest.fixture(scope="module")
def asking(app):
    """A client, if visitors' SQL can be confined here."""
    console = app.extensions["console"]
    reason = console.start()
    if reason is not None:
        pytest.skip(reason)
    yield app.test_client()
    console.close()


def address(sql, **parameters):
    more = "".join(f"&{name.replace('_', '.', 1)}={quote(value)}" for name, value in parameters.items())
    return f"/tiny-llama/sql?sql={quote(sql)}{more}"


def test_the_empty_console_has_the_schema_and_examples(client):
    text = client.get("/tiny-llama/sql").text
    page = Reader(text)
    assert page.inline == []
    for table in ("neuron_page", "prediction_curve", "token_weight", "example"):
        assert f"<code>{table}</code>" in text
    assert "What this file is: one row." in text
    assert all(example.title in html.unescape(text) for example in EXAMPLE_QUERIES)
    assert "<code>congruence_with(token)</code>" in text


def test_an_answer_links_neurons_and_tokens(asking):
    sql = "SELECT neuron, token, score, token_id FROM pair ORDER BY direction DESC, rank LIMIT 3"
    response = asking.get(address(sql))
    assert response.status_code == 200
    found = asking.get(address(sql).replace("/sql?", "/sql.json?")).json
    for neuron, _, _, token_id in found["rows"]:
        assert f'href="/tiny-llama/{neuron}">{neuron}</a>' in response.text
        assert f'href="/tiny-llama/token/{token_id}">{token_id}</a>' in response.text
    assert "<h2>3 rows" in response.text


def test_notes_of_an_answer_become_notes_of_its_list(asking):
    sql = "SELECT name AS neuron, 'of layer ' || layer AS note FROM neuron WHERE neuron_id % 48 = 7 ORDER BY neuron_id"
    text = asking.get(address(sql)).text
    assert "3 neurons as a list, with notes" in text
    (link,) = [link for link in Reader(text).links if link.startswith("/tiny-llama/list?n=")]
    listed = asking.get(link.replace("/list?", "/list.json?")).json["neurons"]
    assert [(item["neuron"]["name"], item["note"]) for item in listed] == [
        (f"L{layer}N7", f"of layer {layer}") for layer in range(3)
    ]
    text = asking.get(address("SELECT name AS neuron, repeat('x', 300) AS note FROM neuron LIMIT 60")).text
    assert "60 neurons as a list without the notes, which are too long for an address" in text
    (link,) = [link for link in Reader(text).links if link.startswith("/tiny-llama/list?n=")]
    assert "~" not in link


def test_parameters_become_fields(asking):
    sql = 'SELECT count(*) AS n FROM token WHERE "text" = :token'
    empty = asking.get(address(sql))
    assert empty.status_code == 400
    assert 'name="p.token"' in empty.text
    assert "parameter &#39;token&#39; has no value" in empty.text
    filled = asking.get(address(sql, p_token=" an"))
    assert filled.status_code == 200
    assert re.search(r"<td class=\"n\" title=\"1\">1</td>", filled.text)


def test_what_is_wrong_is_said_with_its_place(asking):
    response = asking.get(address("SELECT nothing_such FROM neuron"))
    assert response.status_code == 400
    assert 'role="alert"' in response.text
    assert "nothing_such" in response.text
    assert asking.get(address("DROP TABLE neuron")).status_code == 400
    assert asking.get(address("<script>alert(1)</script>")).text.count("<script>alert") == 0
    assert "ETag" not in response.headers


def test_answers_as_files(asking):
    sql = "SELECT neuron_id, name, dead, best_congruence FROM neuron WHERE neuron_id < 5 ORDER BY 1"
    rows = asking.get(address(sql).replace("/sql?", "/sql.json?")).json["rows"]
    table = list(csv.reader(io.StringIO(asking.get(address(sql).replace("/sql?", "/sql.csv?")).text)))
    assert table[0] == ["neuron_id", "name", "dead", "best_congruence"]
    assert [[str(cell).replace("False", "false") for cell in row] for row in rows] == table[1:]
    response = asking.get(address(sql).replace("/sql?", "/sql.parquet?"))
    assert "attachment" in response.headers["Content-Disposition"]
    assert [list(row.values()) for row in pq.read_table(io.BytesIO(response.data)).to_pylist()] == rows
    twice = asking.get(address("SELECT 1 AS a, 'x' AS a, NULL AS b").replace("/sql?", "/sql.parquet?"))
    assert pq.read_table(io.BytesIO(twice.data)).to_pylist() == [{"a": 1, "a_1": "x", "b": None}]


def test_files_have_the_answers_own_types(asking):
    sql = (
        "SELECT 18446744073709551615::UBIGINT AS a, '-170141183460469231731687303715884105728'::HUGEINT AS b, "
        "1.50::DECIMAL(4, 2) AS c, DATE '2020-02-29' AS d, TIMESTAMPTZ '2020-01-02 03:04:05+01' AS e, "
        "INTERVAL 1 MONTH AS f, DATE 'infinity' AS g, MAP {1: 'x'} AS h, {'i': [1, NULL]} AS i, NULL AS j, '' AS k"
    )
    response = asking.get(address(sql).replace("/sql?", "/sql.csv?"))
    assert response.text == (
        "a,b,c,d,e,f,g,h,i,j,k\n"
        "18446744073709551615,-170141183460469231731687303715884105728,1.50,2020-02-29,2020-01-02T02:04:05+00:00,"
        '1 month,infinity,"{""1"": ""x""}","{""i"": [1, null]}",,""\n'
    )
    table = pq.read_table(io.BytesIO(asking.get(address(sql).replace("/sql?", "/sql.parquet?")).data))
    assert table.to_pylist() == [
        {
            "a": 2**64 - 1,
            "b": Decimal(-(2**127)),
            "c": Decimal("1.50"),
            "d": date(2020, 2, 29),
            "e": datetime(2020, 1, 2, 2, 4, 5, tzinfo=UTC),
            "f": "1 month",
            "g": "infinity",
            "h": [(1, "x")],
            "i": {"i": [1, None]},
            "j": None,
            "k": "",
        }
    ]
    page = html.unescape(asking.get(address(sql)).text)
    for said in ("18446744073709551615", "1 month", "infinity", "2020-01-02T02:04:05+00:00", '{"i": [1, null]}'):
        assert said in page


def test_only_the_wrong_word_is_marked(asking):
    text = asking.get(address("SELECT 1, nope\nFROM neuron")).text
    assert re.findall("<mark>(.*?)</mark>", text) == ["nope"]
    assert "<h2>Query failed</h2>" in text
    assert 'href="/sql.md"' in text
    guide = asking.get("/sql.md")
    assert guide.mimetype == "text/plain"
    assert "congruence_with_direction" in guide.text


def test_an_empty_statement_says_what_to_do(asking):
    response = asking.get("/tiny-llama/sql?sql=%20")
    assert response.status_code == 200
    assert "Nothing to run" in response.text
    assert "Nothing to run" not in asking.get("/tiny-llama/sql").text


def test_an_answer_from_a_cut_list_says_so_and_offers_the_macro(asking):
    join = "SELECT count(*) FROM congruence AS x JOIN congruence AS y USING (neuron)"
    text = asking.get(address(f"{join} WHERE x.token = :plus AND y.token = ' a'", p_plus=" an")).text
    assert "20 highest and 20 lowest tokens; pairs outside are absent, not zero." in text
    offer = next(href for href in Reader(text).links if "congruence_with_direction" in href and "p.plus" in href)
    assert asking.get(offer).status_code == 200
    assert "absent, not zero" not in asking.get(offer).text
    (note,) = asking.get(address("FROM congruence").replace("/sql?", "/sql.json?")).json["notes"]
    assert note["sql"] is None


@pytest.mark.parametrize(
    ("columns", "numbers", "axes"),
    [
        (("neuron", "layer", "index", "congruence"), (False, True, True, True), ("neuron", "congruence")),
        (("layer", "c", "n"), (True, True, True), ("layer", "c")),
        (("lower", "upper", "n"), (True, True, True), ("lower", "n")),
        (("rank", "token", "token_id"), (True, False, True), ("token", "rank")),
        (("a",), (True,), ("a", "a")),
        ((), (), ("", "")),
    ],
)
def test_sensible_axes(columns, numbers, axes):
    assert sensible_axes(columns, numbers) == axes


def test_integers_are_drawn_as_integers():
    rows = [(layer, 2.5 * layer) for layer in range(4)]
    bars = result_chart("bar", ("layer", "c"), rows, "layer", "c", "t").spec["encoding"]
    assert (bars["x"]["type"], bars["y"]["type"]) == ("ordinal", "quantitative")
    line = result_chart("line", ("layer", "c"), rows, "layer", "c", "t").spec["encoding"]
    assert (line["x"]["type"], line["x"]["axis"]["tickMinStep"]) == ("quantitative", 1)
    twice = result_chart("bar", ("layer", "c"), rows + rows, "layer", "c", "t").spec["encoding"]
    assert twice["x"]["type"] == "quantitative"


def test_an_answer_is_drawn(asking):
    sql = "SELECT layer, avg(best_congruence) AS c FROM neuron GROUP BY layer ORDER BY layer"
    page = asking.get(address(sql) + "&draw=line")
    assert page.text.count("data-chart") == 1
    table = asking.get(address(sql).replace("/sql?", "/sql.chart.csv?") + "&draw=line&chart=result").text
    assert table.splitlines()[0] == "layer,c"
    assert len(table.splitlines()) == 4
    assert asking.get(address(sql) + "&draw=pie").status_code == 400
    sql = "SELECT * FROM (VALUES (1.50::DECIMAL(4, 2), 2.5), (2, 'nan'::DOUBLE)) AS t(x, y)"
    table = asking.get(address(sql).replace("/sql?", "/sql.chart.csv?") + "&draw=point&chart=result&x=x&y=y").text
    assert table.splitlines() == ["x,y", "1.5,2.5", "2.0,"]  # numbers, and nothing where there is none to draw


@pytest.mark.parametrize("example", EXAMPLE_QUERIES, ids=lambda example: example.title)
def test_examples_run(example, asking, tiny_gpt2_atlas):
    values = {f"p_{name}": value for name, value in example.parameters}
    assert asking.get(address(example.sql, **values)).status_code == 200
    with open_atlas(tiny_gpt2_atlas) as atlas:
        sql = example.sql
        for name, value in example.parameters:
            sql = sql.replace(f":{name}", "'" + value + "'")
        assert atlas.query(sql).columns


def test_the_editor_in_a_browser(asking, tab, site):
    tab.goto(f"{site}/tiny-llama/sql")
    tab.locator("textarea").fill("SELECT neuron, score FROM pair -- the best\nORDER BY rank LIMIT 2")
    assert tab.locator(".editor .sql-word").first.inner_text() == "SELECT"
    assert tab.locator(".editor .sql-comment").inner_text() == "-- the best"
    tab.locator("textarea").press("Control+Enter")
    tab.locator("#answer tbody tr").nth(1).wait_for()
    assert tab.locator("#answer tbody a.unit").count() == 2
    tab.goto(f"{site}/tiny-llama/sql")
    assert tab.locator(".history a").first.inner_text().startswith("SELECT neuron, score FROM pair")
    tab.set_viewport_size({"width": 360, "height": 900})
    assert tab.evaluate("document.documentElement.scrollWidth") <= 360
    # A space at an end of a text is seen, and copied as what it is.
    spaces = "SELECT ' an' AS token, ' a n ' AS other, 'a n' AS plain"
    tab.goto(f"{site}/tiny-llama/sql?sql={quote(spaces)}")
    cells = tab.locator("#answer tbody td")
    drawn = "cell => Array.from(cell.querySelectorAll('.space'), (s) => getComputedStyle(s, '::before').content)"
    assert [len(cells.nth(place).evaluate(drawn)) for place in range(3)] == [1, 2, 0]
    assert cells.first.evaluate(drawn) == ['"␣"']
    copied = "cell => { getSelection().selectAllChildren(cell); return getSelection().toString(); }"
    assert [cells.nth(place).evaluate(copied) for place in range(3)] == [" an", " a n ", "a n"]
    assert tab.said == []


def test_completion_and_fields_in_a_browser(asking, tab, site):
    tab.goto(f"{site}/tiny-llama/sql")
    area, options = tab.locator(".editor textarea"), tab.locator("#completions [role=option]")
    area.press_sequentially("FROM congruence_w")
    assert options.first.inner_text().startswith("congruence_with")
    area.press("ArrowDown")
    assert area.get_attribute("aria-activedescendant") == "completion-0"
    area.press("Enter")
    area.press_sequentially("' a")
    options.first.wait_for()
    area.press("ArrowDown")
    area.press("Tab")
    assert re.fullmatch(r"FROM congruence_with\('.+'", area.input_value())
    area.press_sequentially(") AS c WHERE c.lay")
    assert options.all_inner_texts()[0].startswith("layer")
    area.press("Escape")
    assert options.count() == 0
    area.press_sequentially("er = :layer AND ':no' <> '' AND 1::INTEGER > 0 -- :nor\n")
    assert tab.locator(".parameters input").evaluate_all("all => all.map(one => one.name)") == ["p.layer"]
    tab.locator(".parameters input").fill("1")
    area.press("Control+Enter")
    tab.locator("#answer").wait_for()
    assert tab.said == []
