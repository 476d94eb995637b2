"""The study engine against the naive way, on many architectures."""

from __future__ import annotations

import copy
import warnings
from dataclasses import dataclass

import numpy as np
import pytest
import torch

from ingest.model.load import LoadedModel, bridge_for, describe
from ingest.study.ablation import VARIANTS, ablate, ablation_sets
from ingest.study.edges import check_edges, edges_between, estimate_edges
from ingest.study.engine import planned_passes, run_study
from ingest.study.options import StudyOptions
from ingest.study.prompts import PromptPair, tokenise_pair
from ingest.study.result import StudyResult
from ingest.study.runs import Batches, PairRuns
from ingest.study.study_model import StudyModel
from tests import study_models
from tests.study_models import KINDS, Plain, rows_of, softmax

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")
PAIR = PromptPair("I climbed the apple tree", "I climbed the lemon tree", " an", " a")
TOLERANCE = {"atol": 2e-4, "rtol": 1e-3}
PART = {"abs": 5e-4, "rel": 3e-3}
MEAN = np.linspace(-1, 1, 3 * 24)


@dataclass(frozen=True)
class Case:
    """A study, and the naive way to the same numbers."""

    model: StudyModel
    result: StudyResult
    plain: Plain

    def rows(self, kind: str, **where: object) -> list[dict]:
        """Rows of `study_step`."""
        return rows_of(self.result.steps, kind, **where)


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory):
    return study_models.save_tokenizer(tmp_path_factory.mktemp("tokenizer"))


def load(name: str, tokenizer) -> tuple[LoadedModel, torch.nn.Module]:
    net = study_models.make(name)
    return describe(name, None, bridge_for(name, copy.deepcopy(net), tokenizer), tokenizer), net


def plain_of(name: str, net: torch.nn.Module, result: StudyResult, number: int = 0) -> Plain:
    prompt = result.prompts[number]
    ids = (prompt.clean_token_ids, prompt.corrupt_token_ids)
    return Plain(KINDS[name], net, *ids, prompt.answer_token_id, prompt.other_token_id)


@pytest.fixture(scope="module", params=KINDS)
def case(request: pytest.FixtureRequest, tokenizer) -> Case:
    model, net = load(request.param, tokenizer)
    study_model = StudyModel(model, torch.device("cpu"))
    with warnings.catch_warnings():
        warnings.simplefilter("error", FutureWarning)  # transformers announces there what it will drop
        result = run_study(study_model, [PAIR], StudyOptions(patched=72, batch_size=7), activation_mean=MEAN)
    return Case(study_model, result, plain_of(request.param, net, result))


def test_predictions(case: Case) -> None:
    prompt, plain = case.result.prompts[0], case.plain
    predictions = [
        dict(zip(case.result.predictions, row, strict=True))
        for row in zip(*case.result.predictions.values(), strict=True)
    ]
    for side in ("clean", "corrupt"):
        logits = plain.seen[side]["logits"]
        assert getattr(prompt, f"{side}_logit_diff") == pytest.approx(plain.seen[side]["difference"], abs=1e-4)
        for name, token in (("answer", plain.answer), ("other", plain.other)):
            assert getattr(prompt, f"p_{name}_{side}") == pytest.approx(softmax(logits)[token], rel=1e-3)
        order = np.argsort(-logits).tolist()
        shown = [row for row in predictions if row["side"] == side]
        wanted = sorted({*order[:10], plain.answer, plain.other}, key=order.index)
        assert [row["token_id"] for row in shown] == wanted
        assert [row["rank"] for row in shown] == [order.index(token) + 1 for token in wanted]
        for row in shown:
            assert row["logit"] == pytest.approx(logits[row["token_id"]], rel=1e-3, abs=1e-4)
            assert row["probability"] == pytest.approx(softmax(logits)[row["token_id"]], rel=1e-3)


@pytest.mark.parametrize("site", ["resid_pre", "attn_out", "mlp_out"])
def test_patching_a_site(case: Case, site: str) -> None:
    rows = case.rows(f"patch_{site}")
    pos = len(case.plain.clean)
    assert [(row["layer"], row["position"]) for row in rows] == [(x, p) for x in range(3) for p in range(pos)]
    expected = [case.plain.patch_site(row["layer"], site, row["position"]) for row in rows]
    np.testing.assert_allclose([row["value"] for row in rows], expected, **TOLERANCE)
    first = case.result.prompts[0].first_difference
    assert first > 1
    assert all(row["value"] == 0 for row in rows if row["position"] < first)
    assert {row["n_prompts"] for row in rows} == {1}
    assert all(row["low"] is np.ma.masked and row["neuron_id"] is np.ma.masked for row in rows)


def test_patching_every_neuron(case: Case) -> None:
    rows = case.rows("patch_neuron")
    assert [(row["layer"], row["neuron_id"]) for row in rows] == [(n // 24, n) for n in range(72)]
    expected = [case.plain.patch_neuron(n // 24, n % 24) for n in range(72)]
    np.testing.assert_allclose([row["value"] for row in rows], expected, **TOLERANCE)
    assert all(row["position"] is np.ma.masked for row in rows)
    deviations = np.abs(expected - np.median(expected))
    out = [n for n in range(72) if abs(expected[n]) >= 0.02 and deviations[n] >= 10 * np.median(deviations)]
    greatest = sorted(out, key=lambda n: -abs(expected[n]))[:10]
    assert case.result.found_neuron_ids == sorted(greatest, key=lambda n: -expected[n])


def test_attribution_is_the_slope_of_the_recovery_in_the_whole_model(case: Case) -> None:
    """Every neuron moved a little from corrupt towards clean; keys and values follow."""
    rows = case.rows("attribution")
    assert [row["neuron_id"] for row in rows] == list(range(72))
    plain, step = case.plain, 1e-2  # norms of these modules round to float32
    clean, corrupt = (plain.seen[side] for side in ("clean", "corrupt"))
    for row in rows[::9]:
        layer, index = divmod(row["neuron_id"], 24)
        change = (clean[layer, "neuron"] - corrupt[layer, "neuron"])[:, index]
        ends = []
        for sign in (1, -1):

            def move(value: torch.Tensor) -> None:
                value[:, index] += sign * step * change  # noqa: B023

            ends.append(plain.recovery(plain.run(plain.corrupt, {(layer, "neuron"): move})))
        assert row["value"] == pytest.approx((ends[0] - ends[1]) / (2 * step), **PART)


def test_edges_are_slopes_through_a_neuron_and_paths_patched_by_plain_loops(case: Case) -> None:
    plain, step = case.plain, 1e-2
    clean, corrupt = (plain.seen[side] for side in ("clean", "corrupt"))
    runs = PairRuns(case.model, tokenise_pair(case.model.model, PAIR))
    edges = edges_between([3, 20, 30, 50], 24)
    assert edges == [(3, 30), (3, 50), (20, 30), (20, 50), (30, 50)]

    def target_run(source: int, target: int, share: float) -> torch.Tensor:
        """The target's activations if the source goes this part of the way from corrupt to clean."""
        (layer, index), kept = divmod(source, 24), {}

        def move(value: torch.Tensor) -> None:
            value[:, index] += share * (clean[layer, "neuron"] - corrupt[layer, "neuron"])[:, index]

        plain.run(
            plain.corrupt,
            {(layer, "neuron"): move, (target // 24, "neuron"): lambda value: kept.update(at=value[:, target % 24])},
        )
        return kept["at"].clone()

    def recovery_with(target: int, activations: torch.Tensor) -> float:
        def put_in(value: torch.Tensor) -> None:
            value[:, target % 24] = activations

        return plain.recovery(plain.run(plain.corrupt, {(target // 24, "neuron"): put_in}))

    slopes, paths = [], []
    for source, target in edges:
        before = corrupt[target // 24, "neuron"][:, target % 24]
        change = (target_run(source, target, step) - target_run(source, target, -step)) / (2 * step)
        ends = [recovery_with(target, before + sign * step * change) for sign in (1, -1)]
        slopes.append((ends[0] - ends[1]) / (2 * step))
        paths.append(recovery_with(target, target_run(source, target, 1.0)))
    silent = Batches(None, lambda _: None)
    np.testing.assert_allclose(estimate_edges(runs, edges, silent), slopes, **TOLERANCE)
    np.testing.assert_allclose(check_edges(runs, edges, silent), paths, **TOLERANCE)
    assert np.abs(slopes).max() > 1e-4


class Linear:
    """The final norm (and each norm behind an MLP) held at its scale, and the unembedding's difference, in float64."""

    def __init__(self, case: Case, side: str) -> None:
        self.plain, self.seen, self.rms = case.plain, case.plain.seen[side], case.plain.kind.rms
        net = case.plain.net
        head = net.get_output_embeddings()
        scale = 1 / getattr(net.config, "logits_scaling", 1)
        self.direction = ((head.weight[case.plain.answer] - head.weight[case.plain.other]) * scale).detach()
        self.norm = net.get_submodule(case.plain.kind.norm)
        self.final = self.seen[2, "resid_post"][-1]
        bias = getattr(self.norm, "bias", None)
        self.bias = 0.0 if bias is None else float(bias @ self.direction)
        if getattr(head, "bias", None) is not None:
            self.bias += float(head.bias[case.plain.answer] - head.bias[case.plain.other]) * scale

    def held(self, norm: torch.nn.Module, at: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        eps = getattr(norm, "eps", getattr(norm, "variance_epsilon", None))
        gain = norm.weight.detach() + (1 if "Gemma" in type(norm).__name__ else 0)
        if not self.rms:
            at, x = at - at.mean(), x - x.mean(-1, keepdim=True)
        return x / (at.pow(2).mean() + eps).sqrt() * gain

    def share(self, x: torch.Tensor) -> torch.Tensor:
        """Of the logit difference, biases left out."""
        return self.held(self.norm, self.final, x) @ self.direction

    def block_share(self, layer: int, projected: torch.Tensor) -> torch.Tensor:
        """Of something that the output projection gives."""
        plain, block = self.plain, self.plain.blocks[layer]
        if plain.kind.post:
            norm = block.get_submodule(plain.kind.post)
            projected = self.held(norm, self.seen[layer, "projected"][-1], projected)
        return self.share(projected * getattr(plain.net.config, "residual_multiplier", 1))


def w_out(plain: Plain, layer: int) -> torch.Tensor:
    weight = plain.blocks[layer].get_submodule(plain.kind.out).weight.detach()
    return weight if weight.shape[0] == 24 else weight.T


def test_logit_lens(case: Case) -> None:
    linear, seen = Linear(case, "clean"), case.plain.seen["clean"]
    sites = [("post", 2, seen[2, "resid_post"])]
    for layer in range(3):
        sites.append(("pre", layer, seen[layer, "resid_pre"]))
        if case.plain.kind.mid:
            sites.append(("mid", layer, seen[layer, "mid"]))
    rows = case.rows("logit_lens")
    assert len(rows) == 2 * len(sites)
    for site, layer, value in sites:
        own = linear.held(linear.norm, value[-1], value[-1]) @ linear.direction + linear.bias
        final = linear.share(value[-1]) + linear.bias
        for variant, expected in (("own_norm", own), ("final_norm", final)):
            (row,) = [row for row in rows if (row["site"], row["layer"], row["variant"]) == (site, layer, variant)]
            assert row["value"] == pytest.approx(float(expected), abs=1e-4, rel=1e-4)
            assert row["position"] == len(case.plain.clean) - 1
    if not getattr(case.plain.net.config, "final_logit_softcapping", None):  # The lens is before a soft cap.
        ends = [row["value"] for row in rows if row["site"] == "post"]
        np.testing.assert_allclose(ends, seen["difference"], atol=1e-4)


@pytest.mark.parametrize("side", ["clean", "corrupt"])
def test_direct_effects_and_that_all_shares_add_up(case: Case, side: str) -> None:
    linear, plain = Linear(case, side), case.plain
    seen = plain.seen[side]
    rows = case.rows("direct_effect", variant=side)
    assert [row["neuron_id"] for row in rows] == list(range(72))
    values = np.array([row["value"] for row in rows]).reshape(3, 24)
    total = float(linear.share(seen[0, "resid_pre"][-1])) + linear.bias
    multiplier = getattr(plain.net.config, "residual_multiplier", 1)
    for layer in range(3):
        acts, weights = seen[layer, "neuron"][-1], w_out(plain, layer)
        expected = linear.block_share(layer, acts[:, None] * weights)
        np.testing.assert_allclose(values[layer], expected.detach().numpy(), **TOLERANCE)
        total += values[layer].sum() + float(linear.share(seen[layer, "attn_out"][-1] * multiplier))
        bias = getattr(plain.blocks[layer].get_submodule(plain.kind.out), "bias", None)
        total += 0 if bias is None else float(linear.block_share(layer, bias))
    cap = getattr(plain.net.config, "final_logit_softcapping", None)
    logits = seen["logits"] if cap is None else cap * np.arctanh(seen["logits"] / cap)
    assert total == pytest.approx(logits[plain.answer] - logits[plain.other], abs=1e-3)


@pytest.mark.parametrize("batch_size", [None, 4])
def test_ablation(case: Case, batch_size: int | None) -> None:
    """Of chosen neurons, two of them in one layer: these models' own may have none that stands out."""
    found = [50, 3, 20]
    runs = PairRuns(case.model, tokenise_pair(case.model.model, PAIR))
    changes = ablate(runs, found, MEAN, Batches(batch_size, lambda _: None))
    new = {
        "zero": lambda layer, neuron, acts: 0 * acts,
        "mean": lambda layer, neuron, acts: 0 * acts + MEAN[layer * 24 + neuron],
        "negate": lambda layer, neuron, acts: -acts,
    }
    assert ablation_sets(found) == [(50,), (3,), (20,), (50, 3, 20)]
    for neurons, row in zip(ablation_sets(found), changes.tolist(), strict=True):
        for variant, value in zip(VARIANTS, row, strict=True):
            expected = case.plain.ablate([(n // 24, n % 24) for n in neurons], new[variant])
            assert value == pytest.approx(expected, abs=2e-5, rel=1e-3)


def test_the_neurons_that_are_patched_and_the_count_of_passes(case: Case) -> None:
    done: list[int] = []
    options = StudyOptions(patched=9, layers=(1,), found=2)
    planned = planned_passes(case.model.model, [PAIR], options)
    result = run_study(case.model, [PAIR], options, activation_mean=MEAN, progress=done.append)
    estimates = [row["value"] for row in case.rows("attribution")]
    strongest = sorted(range(72), key=lambda n: -abs(estimates[n]))[:9]
    patched = rows_of(result.steps, "patch_neuron")
    assert [row["neuron_id"] for row in patched] == sorted({*strongest, *range(24, 48)})
    every = np.array([row["value"] for row in case.rows("patch_neuron")])
    values = [row["value"] for row in patched]
    np.testing.assert_allclose(values, every[[row["neuron_id"] for row in patched]], atol=1e-4)
    assert result.patched_layers == [1]
    assert sum(done) == sum(result.forward_passes.values()) <= planned
    assert sum(done) > planned - 3 * 3 - 9 - (2 + 2 + 20)
    for kind in ("attribution", "patch_resid_pre", "logit_lens", "direct_effect"):
        mine, theirs = (part["value"][part["kind"] == kind] for part in (result.steps, case.result.steps))
        np.testing.assert_allclose(mine, theirs, atol=1e-4)


@pytest.mark.parametrize("broken", ["prefix", "skip"])
def test_what_cannot_be_resumed_is_run_whole(case: Case, monkeypatch, broken: str) -> None:
    """A library that goes another way costs time, never a wrong number."""
    from ingest.study import study_model as machine

    if broken == "prefix":
        monkeypatch.setattr(machine, "share", lambda cache: type(cache)())
    else:
        monkeypatch.setattr(machine, "skip", lambda *_: machine.no_such_name)
    runs = PairRuns(case.model, tokenise_pair(case.model.model, PAIR))
    assert (runs.first == 0) is (broken == "prefix")
    assert runs.part.skip is runs.whole.skip is (broken == "prefix")
    result = run_study(case.model, [PAIR], StudyOptions(patched=72), activation_mean=MEAN)
    np.testing.assert_allclose(result.steps["value"], case.result.steps["value"], atol=1e-4)
