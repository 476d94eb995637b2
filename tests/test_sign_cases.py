"""The four sign cases of gated neurons: counted, against plain loops in float64; merged; refused; read back."""

from __future__ import annotations

from pathlib import Path

import duckdb
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import AutoModelForCausalLM

import atlas as package
from atlas import open_atlas
from atlas.core.db import Atlas
from atlas.topics.sign_case import OPTION, SIGN_CASES, has_sign_cases, sign_cases
from ingest.activations.signs import SignCases
from ingest.activations.text_store import TextStore
from ingest.errors import OptionError
from ingest.merge.parts import MergeError
from ingest.run.command import ingest
from tests import brute
from tests.conftest import Built, build_tiny


def build(built: Built, folder: Path, name: str, **options: object) -> Path:
    defaults = {"context_length": built.context_length, "overflow": built.overflow, "statistics": (OPTION.flag,)}
    return build_tiny(folder, built.model, built.dataset, name, **{**defaults, **options})


def rows(path: Path, sql: str) -> list[tuple]:
    with duckdb.connect(str(path), read_only=True) as connection:
        return connection.execute(sql).fetchall()


def test_cases_are_those_of_plain_loops(optional_atlas: Path, built_llama: Built):
    whole = brute.compute(built_llama.model, built_llama.dataset, built_llama.context_length, built_llama.overflow)
    model = AutoModelForCausalLM.from_pretrained(built_llama.model, dtype=torch.float64).eval()
    sides: dict[str, list[torch.Tensor]] = {"gate_proj": [], "up_proj": []}
    for block in model.model.layers:
        for name, kept in sides.items():
            getattr(block.mlp, name).register_forward_hook(lambda _, args, out, kept=kept: kept.append(out[0].T))
    cases: dict[tuple[int, bool, bool], list[tuple[float, int, int]]] = {}
    for text_id, (_, _, ids) in enumerate(whole.texts):
        for kept in sides.values():
            kept.clear()
        with torch.no_grad():
            model(input_ids=torch.tensor([ids]))
        gate, read = (torch.cat(kept) for kept in sides.values())
        for neuron in range(len(gate)):
            for position in range(1, len(ids)):
                case = neuron, bool(gate[neuron, position] > 0), bool(read[neuron, position] > 0)
                value = float(whole.activations[text_id][neuron, position])
                cases.setdefault(case, []).append((value, text_id, position))
    stored = {tuple(row[:3]): row[3:] for row in rows(optional_atlas, "FROM sign_case")}
    assert stored.keys() == cases.keys()
    assert len(cases) > 3 * len(whole.w_out)
    for case, (n, mean, extreme, text_id, position) in stored.items():
        values = cases[case]
        assert n == len(values)
        assert mean == pytest.approx(sum(value for value, _, _ in values) / len(values), abs=1e-5)
        assert abs(extreme) == pytest.approx(max(abs(value) for value, _, _ in values), rel=1e-4, abs=1e-6)
        assert extreme == pytest.approx(whole.activations[text_id][case[0], position], rel=1e-4, abs=1e-6)


@given(st.lists(st.tuples(*[st.sampled_from([-2.0, -1.0, 0.0, 1.0, 2.0])] * 2), min_size=2, max_size=12), st.data())
def test_merged_parts_are_the_whole_in_any_order(pairs: list[tuple[float, float]], data: st.DataObject):
    gate, read = (torch.tensor(side)[:, None] for side in zip(*pairs, strict=True))
    text, position = torch.arange(len(pairs)) // 3, torch.arange(len(pairs)) % 3

    def of(places: list[int]) -> SignCases:
        cases = SignCases(1, 1)
        if places:
            part = [tensor[places] for tensor in (gate * read, gate, read, text, position)]
            cases.update_sides(0, *part)
        return cases

    cut = data.draw(st.integers(0, len(pairs)))
    order = data.draw(st.permutations(range(len(pairs))))
    whole, one, other = of(list(range(len(pairs)))), of(order[:cut]), of(order[cut:])
    one.merge(other)
    for name, value in whole.state_dict().items():
        assert torch.equal(value, one.state_dict()[name]), name
    # Of equal magnitudes the first in the texts.
    for case in range(4):
        here = [i for i, (g, r) in enumerate(pairs) if ((g > 0) * 2 + (r > 0)) == case]
        if here:
            size = max(abs(pairs[i][0] * pairs[i][1]) for i in here)
            first = next(i for i in here if abs(pairs[i][0] * pairs[i][1]) == size)
            ((_, found),) = whole.rows(TextStore())
            row = (2 * found["gate_positive"] + found["in_positive"]).tolist().index(case)
            assert (found["text_id"][row], found["position"][row]) == divmod(first, 3)


def test_merged_atlases_have_the_cases_of_one_run(optional_atlas: Path, built_llama: Built, tmp_path: Path):
    from rich.console import Console

    from ingest.merge.merge import merge

    n = rows(optional_atlas, "SELECT n_texts FROM atlas")[0][0]
    cuts = [(0, n // 3), (n // 3, None)]
    parts = [
        build(built_llama, tmp_path, f"part{i}", first_text=first, last_text=last)
        for i, (first, last) in enumerate(cuts)
    ]
    merge(parts[::-1], tmp_path / "whole.duckdb", Console(quiet=True), slug="merged")
    # Batches are others, so the floats are; the counts are not.
    whole = rows(tmp_path / "whole.duckdb", "FROM sign_case")
    for one, other in zip(whole, rows(optional_atlas, "FROM sign_case"), strict=True):
        assert one[:4] == other[:4]
        assert one[4:6] == pytest.approx(other[4:6], rel=1e-4, abs=1e-6)
    moved = sum(one[6:] != other[6:] for one, other in zip(whole, rows(optional_atlas, "FROM sign_case"), strict=True))
    assert moved <= len(whole) // 100
    assert rows(tmp_path / "whole.duckdb", 'SELECT count(*) FROM sign_case ANTI JOIN "text" USING (text_id)') == [(0,)]
    bare = build(built_llama, tmp_path, "bare", last_text=n // 3, statistics=())
    with pytest.raises(MergeError, match="has no sign cases, and other parts have them"):
        merge([bare, parts[1]], tmp_path / "x.duckdb", Console(quiet=True), slug="merged")
    assert not (tmp_path / "x.duckdb").exists()


def test_the_option_of_the_command_asks_for_the_cases():
    def requested(*flags: str) -> tuple[str, ...]:
        options = ["--model", "m", "--out", "atlas.duckdb", *flags]
        return ingest.make_context("ingest", options).params["statistics"]

    assert (requested(), requested("--sign-cases")) == ((), ("--sign-cases",))


def test_a_model_without_a_gate_is_refused(built_gpt2: Built, tmp_path: Path):
    with pytest.raises(OptionError, match="--sign-cases: 'model' is not gated"):
        build(built_gpt2, tmp_path, "no")
    assert list(tmp_path.iterdir()) == []


def test_cases_are_read_as_stored(optional_atlas: Path):
    texts = dict(rows(optional_atlas, 'SELECT text_id, token_ids FROM "text"'))
    names = dict(rows(optional_atlas, 'SELECT token_id, "text" FROM token'))
    with package.open(optional_atlas) as demo, open_atlas(optional_atlas) as atlas:
        assert has_sign_cases(atlas)
        assert list(demo.neuron(60).sign_cases()) == sign_cases(atlas, 60)
        _check_cases(atlas, optional_atlas, texts, names)


def _check_cases(atlas: Atlas, path: Path, texts: dict[int, list[int]], names: dict[int, str]) -> None:
    seen = 0
    for neuron_id in (0, 60, atlas.info.n_neurons - 1):
        stored = rows(path, f"FROM sign_case WHERE neuron_id = {neuron_id}")
        cases = sign_cases(atlas, neuron_id)
        assert [(c.gate_positive, c.in_positive) for c in cases] == sorted((row[1:3] for row in stored), reverse=True)
        assert sum(case.share for case in cases) == pytest.approx(1)
        by_signs = {tuple(row[1:3]): row[3:] for row in stored}
        for case in cases:
            expected = by_signs[case.gate_positive, case.in_positive]
            assert (case.n, case.activation_mean, case.activation_extreme, case.text_id, case.position) == expected
            text = texts[case.text_id]
            assert case.token.text == names[text[case.position]]
            following = text[case.position + 1 : case.position + 9]
            assert len(case.after) >= (1 if following else 0)
            assert (case.after == "") == (not following)
            seen += 1
        answered = atlas.query(SIGN_CASES.shown(neuron_id=neuron_id)).rows
        assert [row[2] for row in answered] == [case.n for case in cases]
        assert [row[8] for row in answered] == [case.token.text for case in cases]
    assert seen > 8


def test_no_cases_were_counted(both):
    atlas, _ = both
    assert not has_sign_cases(atlas)
    assert sign_cases(atlas, 3) == []
