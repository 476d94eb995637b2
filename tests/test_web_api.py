"""The API: every route is documented and answers as documented; pages, validators, errors, other sites, limits."""

from __future__ import annotations

import duckdb
import pytest
from jsonschema import Draft202012Validator

from atlas.api.calls import CALLS
from atlas.core.schema import schema_sql
from tests.html_reader import Reader
from web import create_app
from web.api.openapi import address, routes, template
from web.site.rate_limit import RateLimitError, read_rate
from web.views.api_page import Subject, subject_of, type_of

ROOT = "/api/v1/atlases/tiny-llama"


@pytest.fixture(scope="module")
def document(app):
    return app.test_client().get("/api/v1/openapi.json").json


@pytest.fixture(scope="module")
def subject(app):
    return subject_of(app.extensions["atlases"])


def test_every_route_is_in_the_document_and_the_other_way_round(app, document):
    rules = [rule for rule in app.url_map.iter_rules() if rule.rule.startswith("/api/")]
    assert {template(rule) for rule in rules} | {"/{atlas}/sql.json"} == set(document["paths"])
    assert all(rule.endpoint.startswith("api.") for rule in rules)
    named = [path["get"]["operationId"] for path in document["paths"].values()]
    assert sorted(named) == sorted([*CALLS, "openapi", "sql"])
    assert {call.name for _, call in routes(app) if call} == set(CALLS)


def check_shape(document, path, answer):
    """The answer is what the document says."""
    schema = document["paths"][path]["get"]["responses"][str(answer.status_code)]["content"]["application/json"][
        "schema"
    ]
    validator = Draft202012Validator({**schema, "components": document["components"]})
    assert [error.message for error in validator.iter_errors(answer.json)] == []


def test_sql_is_answered_as_documented(client, document):
    good = client.get("/tiny-llama/sql.json?sql=SELECT slug, n_texts FROM atlas WHERE slug = :slug&p.slug=tiny-llama")
    assert good.json["columns"] == ["slug", "n_texts"]
    check_shape(document, "/{atlas}/sql.json", good)
    check_shape(document, "/{atlas}/sql.json", client.get("/tiny-llama/sql.json?sql=SELEC"))
    assert good.headers["Access-Control-Allow-Origin"] == "*"


def test_the_document_is_made_from_the_records_and_the_schema(document):
    neuron = document["components"]["schemas"]["Neuron"]
    assert neuron["required"] == list(neuron["properties"])
    assert neuron["properties"]["token_gap"]["type"] == ["number", "null"]
    with duckdb.connect() as connection:
        connection.execute(schema_sql(8))
        comment = "SELECT comment FROM duckdb_columns() WHERE table_name = 'neuron' AND column_name = 'token_gap'"
        assert neuron["properties"]["token_gap"]["description"] == connection.execute(comment).fetchone()[0]
    assert neuron["properties"]["best_token"]["$ref"] == "#/components/schemas/Token"
    assert "bytes" not in document["components"]["schemas"]["Token"]["required"]
    described = document["paths"]["/api/v1/atlases/{atlas}/neurons"]["get"]
    parameters = {item["name"]: item for item in described["parameters"]}
    assert parameters["limit"]["schema"] == {"type": "integer", "minimum": 1, "maximum": 1000, "default": 100}
    assert parameters["token_gap.gte"]["schema"]["type"] == "number"
    assert parameters["atlas"]["in"] == "path"
    for path in document["paths"].values():
        assert path["get"]["summary"].endswith(".")
        assert all(item["description"].endswith((".", "`next` has.")) for item in path["get"]["parameters"])


def test_the_document_is_a_valid_schema(document):
    for schema in document["components"]["schemas"].values():
        Draft202012Validator.check_schema(schema)


@pytest.mark.parametrize("slug", ["tiny-llama", "tiny-gpt2"])
@pytest.mark.parametrize("name", CALLS)
def test_answers_are_as_documented(app, client, document, name, slug):
    subject = subject_of({slug: app.extensions["atlases"][slug]})
    call = CALLS[name]
    answer = client.get(address(call, slug, subject.neuron, subject.token))
    assert answer.status_code == 200, answer.text
    assert answer.mimetype == "application/json"
    check_shape(document, f"/api/v1/{call.path}", answer)


@pytest.mark.parametrize(
    ("path", "key"),
    [
        ("neurons?limit=7", "neuron_id"),
        ("neurons?limit=7&sort=hub_count&order=asc", "neuron_id"),
        ("neurons?limit=7&sort=activation_kurtosis", "neuron_id"),
        ("tokens?limit=50", "token_id"),
    ],
)
def test_following_next_gives_every_row_once(client, path, key):
    url, found = f"{ROOT}/{path}", []
    while url:
        answer = client.get(url).json
        found += [row[key] for row in answer["data"]]
        assert answer["total"] >= len(answer["data"])
        url = answer["next"]
    assert len(found) == len(set(found)) == answer["total"]


def test_pages_of_pairs_are_one_ranking(client):
    whole = client.get(f"{ROOT}/pairs?every=1&limit=1000").json
    parts, url = [], f"{ROOT}/pairs?every=1&limit=3"
    while url:
        answer = client.get(url).json
        parts += answer["data"]
        url = answer["next"]
    assert parts == whole["data"]
    assert whole["next"] is None
    assert len(parts) == whole["total"] > 3


def test_filters_are_those_of_the_page(client):
    page = client.get("/tiny-llama/neurons.json?layer_min=1&sort=token_gap&token_gap.gte=0.1").json["neurons"]
    answer = client.get(f"{ROOT}/neurons?layer_min=1&sort=token_gap&token_gap.gte=0.1").json
    assert answer["total"] == page["total"] > 0
    assert answer["data"] == page["rows"][:100]


@pytest.mark.parametrize(
    ("path", "status", "code", "said"),
    [
        (f"{ROOT}/neurons?limit=0", 400, "bad_request", "limit='0' is invalid: expected a whole number from 1 to"),
        (f"{ROOT}/neurons?colour=red", 400, "bad_request", "There is no parameter 'colour' here; expected layer_min"),
        (f"{ROOT}/neurons?limit=1&limit=2", 400, "bad_request", "limit is given 2 times; expected it once."),
        (f"{ROOT}/neurons?after=x", 400, "bad_request", "after='x' is invalid: expected a cursor, as `next`"),
        (f"{ROOT}/neurons?best_token=zebra", 404, "no_such_token", "best_token='zebra': expected exactly the text"),
        (f"{ROOT}/neurons/L9N9", 404, "no_such_neuron", "There is no layer 9: this model has layers 0 to 2."),
        (f"{ROOT}/neurons/L1N7?neuron=L0N0", 400, "bad_request", "neuron is in the path already"),
        (f"{ROOT}/neurons/L1N7/similar?side=up", 400, "bad_request", "expected one of out, in, gate."),
        (f"{ROOT}/tokens/99999", 404, "no_such_token", "There is no token 99999"),
        (f"{ROOT}/tokens/an", 400, "bad_request", "token='an' is invalid: expected a whole number from 0."),
        (f"{ROOT}/search", 400, "bad_request", "q is missing; expected text of 1 to 200 characters."),
        ("/api/v1/atlases/tiny-gpt2/neurons/L0N0/similar?side=gate", 404, "no_weights", "cannot be compared by 'gate'"),
        ("/api/v1/atlases/nowhere", 404, "not_found", "There is no atlas 'nowhere' here"),
        ("/api/v1/atlases/tiny-llama@000000000000", 404, "not_found", "is not served here; build"),
        ("/api/v1/nothing", 404, "not_found", "There is no such page."),
    ],
)
def test_errors_have_one_shape_and_say_what_would_be_right(client, path, status, code, said):
    answer = client.get(path, headers={"Accept": "text/html"})
    assert answer.status_code == status
    assert set(answer.json) == {"error"}
    assert set(answer.json["error"]) == {"code", "message"}
    assert answer.json["error"]["code"] == code
    assert said in answer.json["error"]["message"]


def test_a_pair_that_was_not_counted(client, app):
    atlas = app.extensions["atlases"]["tiny-llama"]
    counted = {token for (token,) in atlas.rows("SELECT token_id FROM candidate_pair WHERE neuron_id = 0")}
    other = next(token for token in range(atlas.info.d_vocab) if token not in counted)
    answer = client.get(f"{ROOT}/neurons/L0N0/curves/{other}")
    assert answer.status_code == 404
    assert answer.json["error"]["code"] == "not_counted"


def test_only_reading(client):
    for method in (client.post, client.put, client.delete):
        answer = method(f"{ROOT}/neurons")
        assert answer.status_code == 405
        assert answer.json["error"]["code"] == "method_not_allowed"
        assert "GET" in answer.headers["Allow"]


def test_answers_have_validators(client):
    first = client.get(f"{ROOT}/neurons/L1N7")
    tag = first.headers["ETag"]
    assert first.headers["Cache-Control"] == "no-cache"
    for url in (f"{ROOT}/neurons/L1N7", "/api/v1/openapi.json", "/api/v1/atlases", "/api/v1/glossary"):
        tag = client.get(url).headers["ETag"]
        again = client.get(url, headers={"If-None-Match": tag})
        assert (again.status_code, again.data) == (304, b"")
    assert client.get(f"{ROOT}/neurons/L1N8", headers={"If-None-Match": tag}).status_code == 200


def test_a_pinned_answer_may_be_kept(client, app):
    build = app.extensions["atlases"]["tiny-llama"].info.build_id
    answer = client.get(f"/api/v1/atlases/tiny-llama@{build}/neurons?limit=2")
    assert answer.headers["Cache-Control"] == "public, max-age=3600"
    assert answer.json["next"].startswith(f"/api/v1/atlases/tiny-llama@{build}/neurons?limit=2&after=")


@pytest.mark.parametrize(
    "url", [f"{ROOT}/neurons", "/api/v1/nothing", "/tiny-llama/L1N7.json", "/tiny-llama/L9N9.json"]
)
def test_data_may_be_read_by_scripts_of_any_site(client, url):
    assert client.get(url).headers["Access-Control-Allow-Origin"] == "*"
    asked = client.options(url)
    assert asked.headers["Access-Control-Allow-Origin"] == "*"
    assert asked.headers["Access-Control-Allow-Methods"] == "GET, HEAD, OPTIONS"
    assert "ETag" in client.get(url).headers["Access-Control-Expose-Headers"]


def test_pages_are_not_for_other_sites(client):
    assert "Access-Control-Allow-Origin" not in client.get("/tiny-llama/L1N7").headers


@pytest.fixture
def limited(tiny_llama_atlas):
    app = create_app([tiny_llama_atlas], "3/min")
    yield app.test_client()
    app.extensions["atlases"]["tiny-llama"].close()


def test_an_operator_can_limit_requests_for_data(limited):
    for left in (2, 1, 0):
        answer = limited.get("/api/v1/atlases")
        assert (answer.status_code, answer.headers["X-RateLimit-Remaining"]) == (200, str(left))
    refused = limited.get("/tiny-llama/L1N7.json")
    assert refused.status_code == 429
    assert refused.json["error"]["code"] == "too_many_requests"
    assert refused.json["error"]["message"] == "This site allows 3/min from an address."
    assert 0 < int(refused.headers["Retry-After"]) <= 60
    assert limited.get("/tiny-llama/L1N7").status_code == 200
    assert limited.options("/api/v1/atlases").status_code == 200
    elsewhere = limited.get("/api/v1/atlases", environ_base={"REMOTE_ADDR": "192.0.2.7"})
    assert elsewhere.status_code == 200


def test_without_a_limit_there_is_none(client):
    answers = [client.get("/api/v1/atlases") for _ in range(50)]
    assert {answer.status_code for answer in answers} == {200}
    assert "X-RateLimit-Limit" not in answers[0].headers


@pytest.mark.parametrize(
    ("text", "rate"), [("60/min", "60 per minute"), ("5/s", "5 per second"), ("100/hour", "100 per hour")]
)
def test_rates(text, rate):
    assert read_rate(text) == rate


@pytest.mark.parametrize("text", ["60", "0/min", "60/week", "-1/s", "1/s; 5/s", ""])
def test_what_is_no_rate(text):
    with pytest.raises(RateLimitError, match=r"is not a rate limit; expected .* as in 60/min"):
        read_rate(text)


def test_the_page_shows_every_route_with_its_examples(client, document, subject):
    answer = client.get("/api")
    page = answer.text
    assert answer.status_code == 200
    for path, item in document["paths"].items():
        assert f"GET {path}" in page
        assert f'id="{item["get"]["operationId"]}"' in page
    for name in document["components"]["schemas"]:
        assert f'id="shape-{name}"' in page
    assert page.count("curl http") + page.count("curl &#39;http") == len(document["paths"])
    assert f"demo.neuron(&#34;{subject.neuron}&#34;).curve({subject.token})" in page
    assert page.count('"Answer of ') == len(document["paths"]) - 1  # of the document itself there is no more to say
    assert Reader(page).inline == []


def test_the_page_works_without_an_atlas():
    client = create_app([]).test_client()
    assert Subject().neuron in client.get("/api").text
    assert client.get("/api/v1/atlases").json == {"data": [], "next": None}


def test_types_in_words():
    assert type_of({"anyOf": [{"$ref": "#/components/schemas/Token"}, {"type": "null"}]}) == ("Token or null", "Token")
    assert type_of({"type": ["string", "null"]}) == ("string or null", None)
    assert type_of({"type": "array", "prefixItems": [{"type": "integer"}] * 2}) == ("[integer, integer]", None)
