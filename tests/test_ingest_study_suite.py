"""Suites of prompt pairs, and what a study refuses."""

from __future__ import annotations

from functools import wraps
from pathlib import Path

import numpy as np
import pytest
import torch

from ingest.errors import ModelError, StudyError
from ingest.model.load import bridge_for, describe
from ingest.study.edges import check_edges, edges_between, estimate_edges, strongest
from ingest.study.engine import run_study
from ingest.study.options import StudyOptions, find_neurons
from ingest.study.prompts import PromptPair, tokenise_pair
from ingest.study.result import StudyResult
from ingest.study.runs import Batches, PairRuns
from ingest.study.study_model import StudyModel
from ingest.study.suite import read_suite
from tests import study_models

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")
PAIRS = [
    PromptPair("I climbed the apple tree", "I climbed the lemon tree", " an", " a"),
    PromptPair("up the pear and apple tree", "up the pear and lemon tree", " an", " a"),
    PromptPair("I picked the apple tree", "I picked the lemon tree", " an", " x"),
    PromptPair("the apple", "the lemon", " an", " a"),
]
MEAN = np.linspace(-1, 1, 3 * 24)
OPTIONS = StudyOptions(patched=72, bootstrap=50, seed=3)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> StudyModel:
    tokenizer = study_models.save_tokenizer(tmp_path_factory.mktemp("tokenizer"))
    net = study_models.make("llama")
    return StudyModel(describe("tiny", None, bridge_for("tiny", net, tokenizer), tokenizer), torch.device("cpu"))


@pytest.fixture(scope="module")
def alone(model: StudyModel) -> list[StudyResult]:
    """Each pair by itself."""
    return [run_study(model, [pair], OPTIONS, activation_mean=MEAN) for pair in PAIRS]


def rows(result: StudyResult, kinds: tuple[str, ...]) -> dict[tuple, dict]:
    """Rows by kind, variant, site, layer, position, neuron."""
    found = {}
    for values in zip(*result.steps.values(), strict=True):
        row = {key: None if value is np.ma.masked else value for key, value in zip(result.steps, values, strict=True)}
        if row["kind"] in kinds:
            found[tuple(row[key] for key in ("kind", "variant", "site", "layer", "position", "neuron_id"))] = row
    return found


MEASURED = (
    "attribution",
    "direct_effect",
    "logit_lens",
    "patch_attn_out",
    "patch_mlp_out",
    "patch_neuron",
    "patch_resid_pre",
)


def test_means_and_intervals_by_plain_loops_and_positions_from_the_end(model: StudyModel, alone) -> None:
    result = run_study(model, PAIRS, OPTIONS, activation_mean=MEAN)
    assert result.from_end
    lengths = [len(prompt.clean_token_ids) for prompt in result.prompts]
    assert len(set(lengths)) > 1
    by_place: dict[tuple, list[float]] = {}
    for single, length in zip(alone, lengths, strict=True):
        assert not single.from_end
        for place, row in rows(single, MEASURED).items():
            kind, variant, site, layer, position, neuron = place
            position = None if position is None else int(position) - length
            by_place.setdefault((kind, variant, site, layer, position, neuron), []).append(float(row["value"]))
    suite = rows(result, MEASURED)
    assert set(suite) == set(by_place)
    checked = 0
    for number, (place, values) in enumerate(by_place.items()):
        row = suite[place]
        assert row["n_prompts"] == len(values)
        assert row["value"] == pytest.approx(np.mean(values), abs=1e-5)
        if len(values) == 1:
            assert row["low"] is row["high"] is None
        elif number % 5 == 0:
            drawn = np.random.default_rng(3).integers(len(values), size=(50, len(values)))
            means = sorted(sum(values[i] for i in draw) / len(values) for draw in drawn)
            assert row["low"] == pytest.approx(percentile(means, 0.025), abs=1e-5)
            assert row["high"] == pytest.approx(percentile(means, 0.975), abs=1e-5)
            checked += 1
    assert checked > 50
    assert {row["n_prompts"] for row in suite.values()} >= {1, 4}


def percentile(ordered: list[float], share: float) -> float:
    """Between the two nearest, linearly."""
    place = share * (len(ordered) - 1)
    below = int(place)
    return ordered[below] + (place - below) * (ordered[min(below + 1, len(ordered) - 1)] - ordered[below])


def test_rows_are_sorted_and_the_same_twice(model: StudyModel) -> None:
    first, second = (run_study(model, PAIRS[:3], OPTIONS, activation_mean=MEAN) for _ in range(2))
    for column, values in first.steps.items():
        assert values.tolist() == second.steps[column].tolist(), column

    def key(place: tuple) -> list:
        return [(value is None, value if value is not None else 0) for value in place]

    places = list(rows(first, (*MEASURED, "ablation")))
    assert places == sorted(places, key=key)
    assert first.steps["layer"].dtype == first.steps["neuron_id"].dtype == np.int32
    assert first.predictions["prompt"][-1] == 2

    edges = list(zip(first.edges["source_neuron_id"].tolist(), first.edges["target_neuron_id"].tolist(), strict=True))
    assert edges == edges_between(first.found_neuron_ids, 24)
    runs = [PairRuns(model, tokenise_pair(model.model, pair)) for pair in PAIRS[:3]]
    silent = Batches(None, lambda _: None)
    estimates = np.mean([estimate_edges(pair, edges, silent) for pair in runs], axis=0)
    exact = np.mean([check_edges(pair, edges, silent) for pair in runs], axis=0)
    np.testing.assert_allclose(first.edges["estimate"], estimates, atol=1e-6)
    np.testing.assert_allclose(first.edges["exact"], exact, atol=1e-6)
    assert strongest(np.arange(-10.0, 12.0)) == [21, 0, 20, 1, 19, 2, 18, 3, 17, 4]


def test_a_planted_circuit_is_found_with_its_edge(model: StudyModel) -> None:
    """L0N3 tells the last words apart, L2N5 reads what it writes and writes the answer; nothing else does anything."""
    net, tokenizer = study_models.make("llama"), model.model.tokenizer
    pair = PromptPair("the tree apple", "the tree lemon", " an", " a")
    ids = tokenise_pair(model.model, pair)
    with torch.no_grad():
        for block in net.model.layers:
            block.mlp.down_proj.weight *= 0.01
            block.self_attn.o_proj.weight *= 0.01
        table, readout = net.model.embed_tokens.weight, net.lm_head.weight
        reads = table[ids.clean_ids[-1]] - table[ids.corrupt_ids[-1]]
        answer = readout[ids.answer_id] - readout[ids.other_id]
        between = torch.randn(32, generator=torch.Generator().manual_seed(0))
        directions = ((0, 3, reads, between), (2, 5, between, answer))
        for layer, neuron, source, target in directions:
            mlp = net.model.layers[layer].mlp
            mlp.gate_proj.weight[neuron] = mlp.up_proj.weight[neuron] = source / source.norm()
            mlp.down_proj.weight[:, neuron] = target / target.norm()
    planted = StudyModel(describe("planted", None, bridge_for("planted", net, tokenizer), tokenizer), model.device)
    result = run_study(planted, [pair], StudyOptions(patched=5), activation_mean=MEAN)
    first, last = 3, 2 * 24 + 5
    assert set(result.found_neuron_ids) == {first, last}
    recovery = {place[-1]: row["value"] for place, row in rows(result, ("patch_neuron",)).items()}
    assert len(recovery) == 5
    columns = (column.tolist() for column in result.edges.values())
    edges = {(source, target): exact for source, target, _, exact in zip(*columns, strict=True)}
    assert edges.keys() == {(first, last)}
    assert edges[first, last] == pytest.approx(recovery[first], rel=0.1)
    assert edges[first, last] > 0.5


def test_neurons_that_are_patched_and_that_stand_out() -> None:
    recovery = np.array([0.0, 0.001, -0.001, 0.5, 0.019, 0.022, 0.5, 0.0, 0.001, -0.001])
    patched = np.ones(10, bool)
    assert find_neurons(recovery, patched, 5) == [3, 6, 5]
    assert find_neurons(-recovery, patched, 5) == [5, 3, 6]  # What takes away stands out too.
    assert find_neurons(recovery, patched, 2) == [3, 6]
    assert find_neurons(recovery, patched, 0) == []
    assert find_neurons(recovery, np.arange(10) != 3, 5) == [6, 5]  # What is only estimated is not found.
    assert find_neurons(np.linspace(0, 1, 100), np.ones(100, bool), 5) == []  # Everything recovers: nothing stands out.
    chosen = StudyOptions(patched=3, layers=(1,)).chosen(np.array([0.1, -0.9, 0.1, 0.1, 0.0, 0.2, 0.0, 0.1]), 2)
    assert chosen.tolist() == [0, 1, 2, 3, 5]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"clean": ""}, "The clean prompt is empty"),
        ({"corrupt": "I climbed the lemon"}, r"clean has \d+ tokens, corrupt \d+.*Clean: \['I', .*Change a word"),
        ({"corrupt": "I climbed the apple tree"}, r"Both prompts are the same tokens, \['I'"),
        ({"answer": " an apple"}, r"The answer ' an apple' is 4 tokens, \[' an', ' a', 'pp', 'le'\], expected one"),
        ({"answer": "an"}, r"The answer 'an' is 2 tokens, .*Begin it with a space: ' an' is one token"),
        ({"other": ""}, "The other token is empty"),
        ({"other": " an"}, r"The answer and the other token are the same, \[' an'\]"),
        (
            {"clean": "a " * 3000, "corrupt": "x " * 3000},
            r"have 3\d+ tokens, and the model's context ends at 2048. Short",
        ),
    ],
)
def test_pairs_that_cannot_be(model: StudyModel, change: dict[str, str], message: str) -> None:
    pair = PromptPair(**{**vars(PAIRS[0]), **change})
    with pytest.raises(StudyError, match=message):
        tokenise_pair(model.model, pair)


def test_nothing_to_recover(model: StudyModel) -> None:
    net = study_models.make("llama")
    with torch.no_grad():
        net.lm_head.weight.zero_()
    tokenizer = model.model.tokenizer
    flat = describe("tiny", None, bridge_for("tiny", net, tokenizer), tokenizer)
    with torch.no_grad():
        net.lm_head.weight[5, 0] = 1e-3  # So that it has logits at all.
    with pytest.raises(StudyError, match=r"Pair 0 \(from 0\): After '.*' and after '.*' logit\(' an'\) - .*the same"):
        run_study(flat, PAIRS[:2], OPTIONS, activation_mean=MEAN)


def test_options_that_cannot_be(model: StudyModel) -> None:
    with pytest.raises(StudyError, match="patched is 0, expected at least 1"):
        StudyOptions(patched=0)
    with pytest.raises(StudyError, match="found is -1, expected at least 0"):
        StudyOptions(found=-1)
    with pytest.raises(StudyError, match="There is no prompt pair"):
        run_study(model, [], OPTIONS, activation_mean=MEAN)
    with pytest.raises(StudyError, match=r"shape \(7,\), expected \(72,\)"):
        run_study(model, PAIRS, OPTIONS, activation_mean=MEAN[:7])
    broken = PromptPair("a", "x", " an apple", " a")
    with pytest.raises(StudyError, match=r"Pair 1 \(from 0\): The answer"):
        run_study(model, [PAIRS[0], broken], OPTIONS, activation_mean=MEAN)


class TestModels:
    def test_a_bridge_taken_apart_before(self, model: StudyModel) -> None:
        with pytest.raises(ModelError, match="taken apart before: load the model again"):
            StudyModel(model.model, torch.device("cpu"))

    @pytest.mark.parametrize("change", ["block", "logits"])
    def test_an_architecture_that_adds_something_else(self, model: StudyModel, monkeypatch, change: str) -> None:
        net = study_models.make("llama")
        kind, tokenizer = type(net.model.layers[0]), model.model.tokenizer
        loaded = describe("tiny", None, bridge_for("tiny", net, tokenizer), tokenizer)
        if change == "block":
            forward = kind.forward
            monkeypatch.setattr(kind, "forward", lambda self, *args, **kwargs: forward(self, *args, **kwargs) ** 2)
        else:
            forward = type(net).forward

            @wraps(forward)
            def twisted(self, *args, **kwargs):
                out = forward(self, *args, **kwargs)
                out.logits = out.logits + torch.arange(out.logits.shape[-1])
                return out

            monkeypatch.setattr(type(net), "forward", twisted)
        message = "more than its input plus attention" if change == "block" else "not its final norm followed by"
        with pytest.raises(ModelError, match=message):
            StudyModel(loaded, torch.device("cpu"))


class TestSuiteFiles:
    def test_yaml_and_json_lines(self, tmp_path: Path) -> None:
        yaml, lines = tmp_path / "suite.yaml", tmp_path / "suite.jsonl"
        yaml.write_text('- {clean: one, corrupt: two, answer: " an", other: " a"}\n- {clean: three, corrupt: four}\n')
        lines.write_text('{"clean": "one", "corrupt": "two", "answer": " an"}\n\n{"clean": "ü", "corrupt": "four"}\n')
        expected = [PromptPair("one", "two", " an", " a"), PromptPair("three", "four", " x", " y")]
        assert read_suite(yaml, answer=" x", other=" y") == expected
        assert read_suite(lines, answer=" x", other=" y") == [
            PromptPair("one", "two", " an", " y"),
            PromptPair("ü", "four", " x", " y"),
        ]

    @pytest.mark.parametrize(
        ("name", "text", "message"),
        [
            ("s.jsonl", '{"clean": "a"}\n{"clean": \n', "line 2 is not JSON"),
            ("s.jsonl", '{"clean": "a"}\n', "line 1 has no 'corrupt': expected keys clean, corrupt, answer, other"),
            ("s.jsonl", "[1]\n", r"line 1 is \[1\], expected keys"),
            (
                "s.jsonl",
                '{"clean": "a\\ud800", "corrupt": "b", "answer": "c", "other": "d"}',
                "line 1: clean .* half a char",
            ),
            ("s.yaml", "- clean: [\n", "line 2 is not YAML"),
            ("s.yaml", "clean: a\n", "holds one dict, expected a list of entries"),
            ("s.yaml", "", "is empty: expected entries"),
            ("s.yaml", "- {clean: 1, corrupt: b, answer: c, other: d}", "entry 1: clean is 1, expected text.*quotes"),
            ("s.yaml", "- {clean: a, corupt: b}", "entry 1 has a key 'corupt', expected only clean"),
        ],
    )
    def test_files_that_are_not_suites(self, tmp_path: Path, name: str, text: str, message: str) -> None:
        file = tmp_path / name
        file.write_text(text)
        with pytest.raises(StudyError, match=message):
            read_suite(file)

    def test_files_that_cannot_be_read(self, tmp_path: Path) -> None:
        with pytest.raises(StudyError, match=r"none\.yaml cannot be read: No such file"):
            read_suite(tmp_path / "none.yaml")
        (tmp_path / "latin.yaml").write_bytes("- clean: one\n  corrupt: café\n".encode("latin-1"))
        with pytest.raises(StudyError, match=r"Line 2 of .*latin\.yaml' is not UTF-8 .*; it looks like Windows-1252"):
            read_suite(tmp_path / "latin.yaml")

    @pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-32"])
    @pytest.mark.parametrize("name", ["s.yaml", "s.jsonl"])
    def test_byte_order_marks(self, tmp_path: Path, encoding: str, name: str) -> None:
        entry = '{"clean": "für", "corrupt": "漢\u2028", "answer": " an", "other": " a"}\n'
        (tmp_path / name).write_bytes((entry if name == "s.jsonl" else "- " + entry).encode(encoding))
        assert read_suite(tmp_path / name) == [PromptPair("für", "漢\u2028", " an", " a")]
