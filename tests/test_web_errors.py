"""What is answered where there is no page: a page or JSON that says what there is, and what would be right."""

from __future__ import annotations

import pytest

from tests.html_reader import Reader


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("/tiny-llama/L3", "There is no layer 3: this model has layers 0 to 2."),
        ("/tiny-llama/L3N0", "There is no layer 3: this model has layers 0 to 2."),
        ("/tiny-llama/L0N48", "There is no neuron 48 in layer 0: indices go from 0 to 47."),
        ("/tiny-llama/0/48", "indices go from 0 to 47."),
        ("/tiny-llama/L0N" + "9" * 18, "indices go from 0 to 47."),
        ("/tiny-llama/token/99999", "There is no token 99999: this model's token ids go from 0 to"),
        ("/tiny-llama/token?text=nothing like it", "No token is exactly 'nothing like it'"),
        ("/nowhere", "There is no atlas 'nowhere' here; there is tiny-llama, tiny-gpt2."),
        ("/nowhere/L0N0", "There is no atlas 'nowhere' here"),
        ("/tiny-llama/nonsense", "There is no such page."),
        ("/tiny-llama/non/sense", "There is no such page."),
        ("/static/nothing.css", "There is no such page."),
        ("/static/../app.py", "There is no such page."),
        ("/static/vega-0.0.js", "There is no such page."),
    ],
)
def test_what_is_not_there_is_a_404_that_says_what_is(client, url, said):
    check_error(client, url, 404, "not_found", said)


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("/tiny-llama/L1N", "'L1N' is no neuron or layer; expected one of L31N892, L31/N892, 31.892"),
        ("/tiny-llama/1-7", "'1-7' is no neuron or layer"),
        ("/tiny-llama/L0N" + "9" * 19, "is no neuron or layer"),
        ("/tiny-llama/token/an", "'an' is no token id; expected a whole number"),
        ("/tiny-llama/token/-5", "'-5' is no token id"),
        ("/tiny-llama/L0?sort=name", "sort='name' is invalid: expected one of index, best_congruence"),
        ("/tiny-llama/L0?order=up", "order='up' is invalid: expected one of desc, asc."),
        ("/tiny-llama/L0?page=0", "page='0' is invalid: expected a whole number from 1."),
        ("/tiny-llama/L0?page=99999999999999999999", "page='99999999999999999999' is invalid"),
        ("/tiny-llama/L0?page=²", "expected a whole number"),
        ("/tiny-llama/pairs?direction=up", "direction='up' is invalid: expected one of top, bottom."),
        ("/tiny-llama/L1N7?token=x", "token='x' is invalid"),
        ("/search?q=x&atlas=nowhere", "atlas='nowhere' is not served here; expected one of tiny-llama, tiny-gpt2."),
        ("/search?q=" + "x" * 201, "The search has 201 characters; expected at most 200."),
    ],
)
def test_what_is_malformed_is_a_400_that_says_what_would_be_right(client, url, said):
    check_error(client, url, 400, "bad_request", said)


def check_error(client, url, status, code, said):
    response = client.get(url)
    assert response.status_code == status
    text = response.text.replace("&#39;", "'")
    assert said in text
    Reader(response.text)
    path, mark, query = url.partition("?")
    if not path.startswith("/static"):
        data = client.get(f"{path}.json{mark}{query}")
        assert data.status_code == status
        assert list(data.json) == ["error"]
        assert data.json["error"]["code"] == code
        assert said in data.json["error"]["message"]


@pytest.mark.parametrize(
    ("url", "label", "to", "typed"),
    [
        ("/tiny-llama/L1N9999", "L1N47", "/tiny-llama/L1N47", "L1N9999"),
        ("/tiny-llama/L40", "L2", "/tiny-llama/L2", "L40"),
        ("/tiny-llama/L40N3", "L2N3", "/tiny-llama/L2N3", "L40N3"),
        ("/tiny-llama/study/suit", "Study suite", "/tiny-llama/study/suite", "suit"),
        ("/tiny-llama/neuron", "neurons", "/tiny-llama/neurons", "neuron"),
        ("/tiny-lama", "tiny-llama", "/tiny-llama", ""),
        ("/tiny-llama/token/99999", "token", "/tiny-llama/token/", "99999"),
        ("/tiny-llama@0123456789ab/L1N9999", "L1N47", "/tiny-llama/L1N47", "L1N9999"),
    ],
)
def test_what_is_not_there_offers_the_nearest_and_keeps_what_was_typed(client, url, label, to, typed):
    response = client.get(url)
    assert response.status_code == 404
    assert "<h1>Page not found</h1>" in response.text
    nearest = response.text[response.text.index("Nearest match:") :][:200]
    assert f'href="{to}' in nearest
    assert f">{label}" in nearest
    assert f'name="q" value="{typed}"' in response.text
    if typed:  # the atlas's own navigation
        assert '<nav aria-label="Atlas">' in response.text


def test_notes_for_operators_are_not_for_visitors(client):
    response = client.get("/tiny-llama/q/abcdefgh")
    assert response.status_code == 404
    assert "atlas serve" not in response.text
    for url in ("/tiny-llama/live", "/tiny-llama/L1N2/live"):
        response = client.get(url)
        assert response.status_code == 404
        assert "On a machine of your own, `atlas serve FILE --live`" in response.text


def test_the_wrong_method(client):
    response = client.post("/tiny-llama.json")
    assert response.status_code == 405
    assert response.json["error"]["code"] == "method_not_allowed"
    assert "GET" in response.headers["Allow"]


def test_an_error_of_ours_is_a_500_that_tells_nothing(app, monkeypatch):
    def broken(*_):
        raise RuntimeError("secret")

    monkeypatch.setattr("web.views.neuron.find_neuron", broken)
    app.testing, app.config["PROPAGATE_EXCEPTIONS"] = False, False
    try:
        response = app.test_client().get("/tiny-llama/L0N0.json")
    finally:
        app.testing = True
    assert response.status_code == 500
    assert response.json["error"]["code"] == "internal_error"
    assert "secret" not in response.text
