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
    assert all(example.title in text for example in EXAMPLE_QUERIES)


def test_an_answer_links_neurons_and_tokens(asking):
    sql = "SELECT neuron, token, score, token_id FROM pair ORDER BY direction DESC, rank LIMIT 3"
    response = asking.get(address(sql))
    assert response.status_code == 200
    found = asking.get(address(sql).replace("/sql?", "/sql.json?")).json
    for neuron, _, _, token_id in found["rows"]:
        assert f'href="/tiny-llama/{neuron}">{neuron}</a>' in response.text
        assert f'href="/tiny-llama/token/{token_id}">{token_id}</a>' in response.text
    assert "<h2>3 rows" in response.text


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
    assert tab.said == []
