"""The Python client: every call over a file and over a served URL gives the same, and what plain SQL says."""

from __future__ import annotations

import inspect
import json
import threading
from html import escape
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar

import duckdb
import pytest

import atlas
from atlas.api.calls import CALLS
from atlas.client.neuron import OpenNeuron
from atlas.client.opened import OpenAtlas
from atlas.client.records import CurveRecords, Pages, Records
from atlas.core.call import Page
from atlas.core.errors import (
    AtlasError,
    NeuronNameError,
    NotAnAtlasError,
    PairError,
    ParameterError,
    QueryError,
    RemoteError,
    TokenError,
    WeightsError,
)

SLUGS = ("tiny-llama", "tiny-gpt2")


@pytest.fixture(scope="module")
def opened(site, tiny_llama_atlas, tiny_gpt2_atlas):
    """Of each atlas: the file opened, the served one opened, a plain connection to the file."""
    files = dict(zip(SLUGS, (tiny_llama_atlas, tiny_gpt2_atlas), strict=True))
    found = {
        slug: (atlas.open(path), atlas.open(f"{site}/{slug}"), duckdb.connect(str(path), read_only=True))
        for slug, path in files.items()
    }
    yield found
    for file, served, connection in found.values():
        file.close()
        served.close()
        connection.close()


@pytest.fixture(params=SLUGS)
def three(request, opened):
    return opened[request.param]


def plain(value):
    """What two sources must agree on: pages and lists as what is in them."""
    if isinstance(value, Pages | Records):
        return list(value)
    return (value.rows, value.total, value.after) if isinstance(value, Page) else getattr(value, "record", value)


def pair_of(connection):
    return connection.execute(
        "SELECT 'L' || layer || 'N' || \"index\", p.token_id, p.neuron_id "
        "FROM exclusive_pair AS p JOIN neuron USING (neuron_id) WHERE p.direction = 'top' ORDER BY rank LIMIT 1"
    ).fetchone()


@pytest.mark.parametrize("name", CALLS)
def test_every_documented_example_gives_the_same_over_both(three, name):
    file, served, connection = three
    neuron, token, _ = pair_of(connection)
    answers = []
    for demo in (file, served):
        code = CALLS[name].python.format(neuron=neuron, token=token, study="an", place=demo._source.place)
        answers.append(plain(eval(code, {"demo": demo, "atlas": atlas})))
    assert answers[0] == answers[1]
    assert answers[0] is not None


@pytest.mark.parametrize("name", [name for name in CALLS if CALLS[name].of_atlas])
def test_every_call_gives_the_same_over_both(three, name):
    file, served, connection = three
    neuron, token, _ = pair_of(connection)
    call = CALLS[name]
    given = {"neuron": neuron, "token": token, "study": "an"}
    arguments = {d.argument: given[d.name] for d in call.parameters if d.in_path} | dict(call.example)
    assert plain(file._source.ask(call, **arguments)) == plain(served._source.ask(call, **arguments))


def test_what_it_is(three):
    file, served, connection = three
    assert file.info == served.info
    row = connection.execute("SELECT slug, n_positions FROM atlas").fetchone()
    assert (file.info.slug, file.info.n_positions) == row


def test_a_neuron_is_what_sql_says(three):
    _, served, connection = three
    name, _, neuron_id = pair_of(connection)
    neuron = served.neuron(name)
    row = connection.execute("SELECT token_gap, activation_max, dead FROM neuron WHERE neuron_id = ?", [neuron_id])
    assert (neuron.token_gap, neuron.activation_max, neuron.dead) == row.fetchone()
    sql = "SELECT token_id, congruence FROM neuron_token WHERE neuron_id = ? AND direction = ? ORDER BY rank"
    for direction, items in (("top", neuron.best_tokens), ("bottom", neuron.worst_tokens)):
        expected = connection.execute(sql, [neuron_id, direction]).fetchall()
        assert [(item.token.token_id, item.congruence) for item in items] == expected
    bars = connection.execute("SELECT bin, n FROM activation_histogram WHERE neuron_id = ? ORDER BY bin", [neuron_id])
    assert [(bar.bin, bar.n) for bar in neuron.histogram()] == bars.fetchall()
    texts = connection.execute("SELECT count(*) FROM example WHERE neuron_id = ? AND kind = 'max'", [neuron_id])
    assert len(neuron.examples("max")) == texts.fetchone()[0]
    assert neuron.name in repr(neuron)
    assert neuron.record.verdict == neuron.verdict()
    assert neuron._repr_html_().startswith(f"<p>{escape(neuron.record.verdict.text)}</p>")
    assert "token_gap" in dir(neuron)
    with pytest.raises(AttributeError, match="has no 'colour'"):
        _ = neuron.colour


def test_a_curve_is_what_sql_says(three):
    _, served, connection = three
    name, token, neuron_id = pair_of(connection)
    curve = served.neuron(name).curve(token)
    assert isinstance(curve, CurveRecords)
    totals = "SELECT sum(n_predicted), sum(n_actual) FROM prediction_histogram WHERE neuron_id = ? AND token_id = ?"
    predicted, actual = connection.execute(totals, [neuron_id, token]).fetchone()
    assert sum(point.n_predicted for point in curve) == (predicted or 0) == curve.candidate.n_predicted
    assert sum(point.n_actual for point in curve) == (actual or 0)
    assert sum(point.n for point in curve) == served.info.n_positions


def test_a_token_by_its_text(three):
    file, served, connection = three
    text, token_id = connection.execute(
        'SELECT "text", min(token_id) FROM token WHERE "text" LIKE \' %\' GROUP BY ALL HAVING count(*) = 1 LIMIT 1'
    ).fetchone()
    for demo in (file, served):
        token = demo.token(text)
        assert (token.token_id, token.text) == (token_id, text)
        assert demo.token(token.shown).token_id == token_id
        assert token.best_neurons[0].neuron == token.best_neuron
        assert token.worst_neurons[0].neuron == token.worst_neuron
        assert token.shown in repr(token)
        assert "neuron_gap" in dir(token)
        with pytest.raises(AttributeError, match="a token has no 'colour'"):
            _ = token.colour


def test_a_curve_by_text(three):
    file, served, _ = three
    for demo in (file, served):
        candidate = next(c for c in demo.neuron(0).candidates() if c.token.text)
        assert demo.neuron(0).curve(candidate.token.text).candidate.token.text == candidate.token.text


def test_long_lists_are_read_to_their_end(three, monkeypatch):
    file, served, connection = three
    monkeypatch.setattr("atlas.client.methods.MOST_ROWS", 7)
    expected = connection.execute("SELECT neuron_id FROM neuron ORDER BY best_congruence DESC, neuron_id").fetchall()
    for demo in (file, served):
        neurons = demo.neurons()
        assert len(neurons) == demo.info.n_neurons
        assert [(neuron.neuron_id,) for neuron in neurons] == expected
        assert [(neuron.neuron_id,) for neuron in demo.neurons(limit=10)] == expected[:10]
        assert len(demo.neurons(limit=10)) == 10
        assert list(demo.neurons(limit=0)) == []
        assert len(list(demo.tokens())) == demo.info.d_vocab


def test_filters(three):
    file, served, connection = three
    sql = "SELECT neuron_id FROM neuron WHERE layer >= 1 AND NOT dead AND token_gap >= 0.125 "
    sql += "ORDER BY token_gap, neuron_id"
    expected = [neuron_id for (neuron_id,) in connection.execute(sql).fetchall()]
    for demo in (file, served):
        found = demo.neurons(layer_min=1, dead=False, token_gap_gte=0.125, sort="token_gap", order="asc")
        assert [neuron.neuron_id for neuron in found] == expected
        best = demo.neuron(0).best_token
        same = demo.neurons(best_token_id=best.token_id)
        assert 0 in [neuron.neuron_id for neuron in same]
        if best.text and len(list(demo.tokens(text=best.text))) == 1:
            assert list(demo.neurons(best_token=best.text)) == list(same)


def test_a_build_can_be_pinned(site, opened):
    build = opened["tiny-llama"][0].info.build_id
    assert atlas.open(f"{site}/tiny-llama@{build}").neuron("L1N7").record.name == "L1N7"
    with pytest.raises(RemoteError, match="Build 000000000000 of 'tiny-llama' is not served here"):
        atlas.open(f"{site}/tiny-llama@000000000000").layers()


@pytest.mark.parametrize(
    ("wrong", "error", "said"),
    [
        (lambda demo: demo.neuron("L9N9"), NeuronNameError, "There is no layer 9"),
        (lambda demo: demo.neuron("nine"), NeuronNameError, "is not a neuron name"),
        (lambda demo: demo.neuron(10**9), NeuronNameError, "neuron ids go from 0 to 143"),
        (lambda demo: demo.token(10**6), TokenError, "There is no token 1000000"),
        (lambda demo: demo.token("no such text"), TokenError, "No token is exactly 'no such text'"),
        (lambda demo: demo.neuron(0).curve("no such text"), PairError, "were not counted together"),
        (lambda demo: demo.neuron(0).similar("up"), ParameterError, "expected one of out, in, gate"),
        (lambda demo: demo.neurons(colour="red"), ParameterError, "There is no 'colour' here; expected layer_min"),
        (lambda demo: list(demo.neurons(sort="name")), ParameterError, "sort='name' is invalid"),
        (lambda demo: demo.search(""), ParameterError, "expected text of 1 to 200 characters"),
    ],
)
def test_errors_are_the_same_over_both(opened, wrong, error, said):
    file, served, _ = opened["tiny-llama"]
    texts = []
    for demo in (file, served):
        with pytest.raises(error, match=said) as caught:
            wrong(demo)
        texts.append(str(caught.value))
    assert texts[0] == texts[1]


def test_a_pair_that_was_not_counted_is_the_same_over_both(opened):
    for demo in opened["tiny-llama"][:2]:
        counted = {candidate.token.token_id for candidate in demo.neuron(0).candidates()}
        other = next(token for token in range(demo.info.d_vocab) if token not in counted)
        with pytest.raises(PairError, match=f"L0N0 and token {other} was not counted"):
            demo.neuron(0).thresholds(other)


def test_a_model_without_gates(opened):
    for demo in opened["tiny-gpt2"][:2]:
        with pytest.raises(WeightsError, match="cannot be compared by 'gate'"):
            demo.neuron(0).similar("gate")


def test_several_tokens_of_one_text(opened):
    file, served, connection = opened["tiny-llama"]
    sql = 'SELECT "text" FROM token WHERE "text" IS NOT NULL GROUP BY "text" HAVING count(*) > 1 LIMIT 1'
    text = connection.execute(sql).fetchone()[0]
    for demo in (file, served):
        with pytest.raises(TokenError, match=r"tokens are .*: .* expected one"):
            demo.token(text)


def test_what_cannot_be_opened(site, tmp_path):
    with pytest.raises(NotAnAtlasError, match="does not exist"):
        atlas.open(tmp_path / "no.duckdb")
    with pytest.raises(RemoteError, match=r"could not be read: .*refused"):
        atlas.open("http://127.0.0.1:9/tiny", timeout=2).layers()
    with pytest.raises(RemoteError, match="There is no atlas 'nowhere' here"):
        atlas.open(f"{site}/nowhere").layers()
    with pytest.raises(RemoteError, match=f"{site}/ serves tiny-llama, tiny-gpt2; expected the URL of one of them"):
        atlas.open(site)


def test_a_file_is_asked_in_sql(three):
    file, _, connection = three
    answer = file.sql("SELECT neuron_id, best_congruence FROM neuron ORDER BY neuron_id LIMIT 3")
    assert (answer.names, answer.truncated) == (("neuron_id", "best_congruence"), False)
    sql = "SELECT neuron_id, best_congruence FROM neuron ORDER BY neuron_id LIMIT 3"
    assert list(answer) == connection.execute(sql).fetchall()
    with pytest.raises(QueryError, match="nothing"):
        file.sql("SELECT nothing")


def test_sql_is_the_same_over_both(three):
    file, served, _ = three
    sql = "SELECT neuron, token, score, NULL AS nothing FROM pair ORDER BY rank, direction LIMIT 5;"
    answers = [demo.sql(sql) for demo in (file, served)]
    assert answers[0].names == answers[1].names == ("neuron", "token", "score", "nothing")
    assert answers[0].rows == answers[1].rows
    assert answers[0].to_arrow() == answers[1].to_arrow()
    for demo in (file, served):
        with pytest.raises(QueryError, match="SELEC"):
            demo.sql("SELEC 1")


def test_sql_takes_parameters_by_name(three):
    file, served, connection = three
    text, layer = connection.execute("SELECT token, 1 FROM pair WHERE direction = 'top' ORDER BY rank").fetchone()
    sql = "SELECT neuron, token, score FROM pair WHERE token = :token AND neuron_id >= :first ORDER BY rank, direction"
    expected = connection.execute(
        "SELECT neuron, token, score FROM pair WHERE token = ? AND neuron_id >= 1 ORDER BY rank, direction", [text]
    ).fetchall()
    for demo in (file, served):
        assert list(demo.sql(sql, token=text, first=1)) == expected
        assert list(demo.sql("SELECT count(*) FROM neuron WHERE layer = $layer", layer=layer)) == list(
            demo.sql("SELECT count(*) FROM neuron WHERE layer = 1")
        )
        # Whatever they were in Python they are text; what spells a parameter inside a text or a cast is none.
        answer = demo.sql("SELECT typeof(:a) AS a, :b AS b, ':c' AS c, '1'::INT AS d, :sql AS e", a=1, b=True, sql="'")
        assert list(answer) == [("VARCHAR", "true", ":c", 1, "'")]
        assert list(demo.sql("SELECT CAST(:n AS INTEGER) + 1, :x::DOUBLE", n=41, x=0.1)) == [(42, 0.1)]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({}, "Values were not provided for the following"),
        ({"a": 1, "b": 2}, "b"),
        ({"a": None}, "a=None is invalid: expected text or a number"),
    ],
)
def test_parameters_that_do_not_fit(opened, given, said):
    for demo in opened["tiny-llama"][:2]:
        with pytest.raises(QueryError, match=said):
            demo.sql("SELECT :a", **given)


class Speaker(BaseHTTPRequestHandler):
    """Answers what the test says it should."""

    said = (200, {}, b"{}")
    asked: ClassVar[list] = []

    def do_GET(self):
        length = int(self.headers.get("Content-Length") or 0)
        self.asked.append((self.path, self.rfile.read(length)))
        status, headers, body = self.said
        self.send_response(status)
        for name, value in {**headers, "Content-Length": len(body)}.items():
            self.send_header(name, str(value))
        self.end_headers()
        self.wfile.write(body)

    do_POST = do_GET  # noqa: N815

    def log_message(self, *_):
        """Says nothing."""


@pytest.fixture
def speaker():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Speaker)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    Speaker.asked = []
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


def answer(status, body, **headers):
    Speaker.said = (status, headers, body if isinstance(body, bytes) else json.dumps(body).encode())


def test_a_server_is_asked_in_sql_by_post(speaker):
    answer(200, {"columns": ["a", "b"], "rows": [[1, "x"], [2, None]], "truncated": True})
    found = atlas.open(f"{speaker}/tiny").sql("SELECT '&+ é' AS a")
    assert (found.names, list(found), found.truncated) == (("a", "b"), [(1, "x"), (2, None)], True)
    assert Speaker.asked == [("/tiny/sql.json", b"sql=SELECT+%27%26%2B+%C3%A9%27+AS+a")]
    atlas.open(f"{speaker}/tiny").sql("SELECT :a", a=" é")
    assert Speaker.asked[1] == ("/tiny/sql.json", b"sql=SELECT+%3Aa&p.a=+%C3%A9")
    answer(408, {"error": {"code": "too_slow", "message": "It took longer than 5 s."}})
    with pytest.raises(QueryError, match="It took longer than 5 s"):
        atlas.open(f"{speaker}/tiny").sql("SELECT 1")
    answer(200, {"columns": []})
    with pytest.raises(RemoteError, match="to SQL cannot be read"):
        atlas.open(f"{speaker}/tiny").sql("SELECT 1")


@pytest.mark.parametrize(
    ("status", "body", "headers", "said"),
    [
        (200, b"<html>", {}, "could not be read"),
        (200, {"rows": []}, {}, "cannot be read .*; expected one from the same version of neuron-atlas"),
        (200, b"not gzip", {"Content-Encoding": "gzip"}, "could not be read"),
        (502, b"<html>", {}, "answered 502 .*, which is not an answer of `atlas serve`"),
        (429, {"error": {"code": "too_many_requests", "message": "3 a minute"}}, {"Retry-After": "17"}, "Wait 17 s"),
    ],
)
def test_servers_that_answer_otherwise(speaker, status, body, headers, said):
    answer(status, body, **headers)
    with pytest.raises(RemoteError, match=said):
        atlas.open(f"{speaker}/tiny").layers()


def test_the_only_atlas_of_a_server_needs_no_name(speaker):
    answer(200, {"data": [{"slug": "tiny"}], "next": None})
    assert repr(atlas.open(f"{speaker}/")) == f"<atlas {speaker}/tiny>"
    assert repr(atlas.open(f"{speaker}/below/other")) == f"<atlas {speaker}/below/other>"


def test_help_says_what_a_call_says():
    similar, pairs = inspect.signature(OpenNeuron.similar), inspect.signature(OpenAtlas.pairs)
    assert str(similar.replace(return_annotation=similar.empty)) == "(self, /, side='out', limit=10)"
    assert list(pairs.parameters)[:4] == ["self", "limit", "direction", "every"]
    assert "after" not in pairs.parameters
    assert OpenNeuron.similar.__doc__.startswith(CALLS["similar"].summary)
    for text in ("limit: Number listed at each end.", "side: Weights they are compared by"):
        assert text in OpenNeuron.similar.__doc__
    assert "token_gap" in OpenAtlas.neurons.__doc__
    assert {"neurons", "info", "glossary"} <= set(dir(OpenAtlas))
    assert OpenAtlas.info.__doc__ == CALLS["info"].summary


def test_it_is_one_kind_of_object(three):
    file, served, _ = three
    assert type(file) is type(served) is OpenAtlas
    with atlas.open(file._source.place) as again:
        assert again.info == file.info
    assert issubclass(RemoteError, AtlasError)
