"""The examples of docs/api.md run, over a file and over a served URL."""

from __future__ import annotations

import re
import shlex

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


def test_the_http_examples(client):
    for line in example("bash").splitlines():
        command, url = shlex.split(line)
        assert command == "curl"
        path = url.removeprefix("http://127.0.0.1:8000").replace("smollm2-135m", "tiny-llama")
        assert client.get(path.replace("L24N917", "L1N7")).status_code in (200, 404)
    assert client.get(path).json["total"] >= 0


def test_every_call_is_in_the_table():
    from atlas.api import CALLS

    for call in CALLS.values():
        assert f"| `{call.path}` |" in TEXT
