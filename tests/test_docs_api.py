"""The examples of docs/api.md run, over a file and over a served URL."""

from __future__ import annotations

import re
import shlex

import duckdb
import pytest

import atlas
from docs.outputs import ROOT

TEXT = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")


def example(language):
    return re.search(rf"```{language}\n(.*?)```", TEXT, re.DOTALL)[1]


@pytest.mark.parametrize("served", [False, True], ids=["file", "url"])
def test_the_client_example(served, site, tiny_llama_atlas, capsys):
    place = f"{site}/tiny-llama" if served else str(tiny_llama_atlas)
    pair = next(iter(atlas.open(tiny_llama_atlas).pairs(token="an", every=True, limit=1)), None)
    pair = pair or next(iter(atlas.open(tiny_llama_atlas).pairs(limit=1)))
    code = example("python")
    # The tiny atlas has other neurons and tokens than the demo.
    for written, there in (
        ('"demo.duckdb"', repr(place)),
        ("L24N917", pair.neuron.name),
        ('" than"', repr(pair.token.token_id)),
        ('" an"', repr(pair.token.token_id)),
        ("layer_min=20", "layer_min=1"),
    ):
        assert written in code
        code = code.replace(written, there)
    exec(code, {})
    assert "were not counted together" in capsys.readouterr().out


def test_the_http_examples(client, tiny_llama_atlas):
    with duckdb.connect(str(tiny_llama_atlas), read_only=True) as connection:
        ask = connection.execute
        ((neuron, token_id, n),) = ask(
            "SELECT n.name, c.token_id, (SELECT sum(n) FROM activation_histogram AS h WHERE h.neuron_id = n.neuron_id) "
            "FROM candidate_pair AS c JOIN neuron AS n USING (neuron_id) WHERE n.layer = 1 ORDER BY 1, 2 LIMIT 1"
        ).fetchall()
        ranked = ask("SELECT name, token_gap FROM neuron ORDER BY token_gap DESC, neuron_id").fetchall()
    # The tiny atlas has other neurons and tokens than the demo, and gaps of another size.
    least = ranked[11][1]
    here = {
        "smollm2-135m": "tiny-llama",
        "L24N917": neuron,
        "curves/670": f"curves/{token_id}",
        "gte=2": f"gte={least}",
    }
    answers = []
    for line in example("bash").splitlines():
        command, url = shlex.split(line)
        assert command == "curl"
        path = url.removeprefix("http://127.0.0.1:8000")
        for written, there in here.items():
            path = path.replace(written, there)
        answer = client.get(path)
        assert answer.status_code == 200, answer.text
        answers.append(answer.json)
    curve, neurons = answers
    assert curve["data"]["candidate"]["token"]["token_id"] == token_id
    assert sum(point["n"] for point in curve["data"]["points"]) == n
    assert [(item["name"], item["token_gap"]) for item in neurons["data"]] == ranked[:10]
    assert neurons["total"] == sum(gap >= least for _, gap in ranked)
    assert "after=" in neurons["next"]


def test_every_call_is_in_the_table():
    from atlas.api.calls import CALLS

    for call in CALLS.values():
        assert f"| `{call.path}` |" in TEXT
