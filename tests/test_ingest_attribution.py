"""Attribution against finite differences and plain loops in float64; laws of sums; the command. Planted neurons are in
`test_ingest_effects`."""

from __future__ import annotations

import copy
import signal
from collections import defaultdict
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pytest
import torch
from click.testing import CliRunner
from rich.console import Console
from transformers import AutoModelForCausalLM, DynamicCache, LlamaForCausalLM

from atlas.cli.main import main
from atlas.core.db import open_atlas
from ingest.attribution import record, sums
from ingest.attribution.reading import choose_texts
from ingest.attribution.sums import RANKED, AttributionSums
from ingest.model.load import bridge_for, describe, load_model
from ingest.model.weights import layer_weights, read_readout
from ingest.study.gradients import GradientRun
from ingest.study.study_model import StudyModel
from ingest.texts.tokens import batches
from tests import families, forked, tiny
from tests.conftest import Built
from tests.test_ingest_ranks import free_port

KINDS = ("llama", "gpt2", "pythia", "gemma2", "olmo2", "cohere", "granite", "bloom", "opt")
"""Gated and not, parallel, post-norm, soft-capped, with factors, with one matrix for query, key and value."""


class Replay(DynamicCache):
    """Gives back the keys and values of its first run in every later one."""

    def __init__(self) -> None:
        super().__init__()
        self.recorded: list[tuple[torch.Tensor, torch.Tensor]] = []
        self.place: int | None = None

    def update(self, keys, values, *_, **__):
        if self.place is None:
            self.recorded.append((keys, values))
            return keys, values
        self.place += 1
        return self.recorded[self.place - 1]


@pytest.mark.parametrize("name", KINDS)
def test_gradients_are_differences_of_runs_with_keys_and_values_held(name: str):
    net = families.make(name)
    reference = families.Family(name, copy.deepcopy(net).double())
    model = StudyModel(describe(name, None, bridge_for(name, net), tiny.make_tokenizer()), torch.device("cpu"))
    ids = torch.randint(1, 300, (1, 7), generator=torch.Generator().manual_seed(0))
    counted = torch.ones_like(ids, dtype=torch.bool)
    counted[:, 0] = False
    run = GradientRun(model, ids, counted)
    gradients: dict[int, torch.Tensor] = {}
    run.backward(lambda layer, _, gradient: gradients.__setitem__(layer, gradient))
    change: dict[str, float] = {}

    def hook(layer: int):
        def moved(_, args):
            x = args[0].clone()
            if change.get("layer") == layer:
                x.view(-1, x.shape[-1])[int(change["position"]), int(change["index"])] += change["step"]
            return (x,)

        return moved

    for layer, part in enumerate(reference.out):
        part.register_forward_pre_hook(hook(layer))
    cache, rng = Replay(), np.random.default_rng(1)
    with torch.no_grad():
        whole = reference.net(input_ids=ids, past_key_values=cache, use_cache=True).logits[0]
        assert run.token.tolist() == whole[1:].argmax(-1).tolist()
        for _ in range(8):
            layer, position = int(rng.integers(2)), int(rng.integers(1, 7))
            index, scores = int(rng.integers(gradients[0].shape[1])), []
            for step in (5e-3, -5e-3):
                change.update(layer=layer, position=position, index=index, step=step)
                cache.place = 0
                logits = reference.net(input_ids=ids, past_key_values=cache, use_cache=True).logits[0, position]
                scores.append(float(logits[run.token[position - 1]] - logits.mean()))
            slope = (scores[0] - scores[1]) / 1e-2
            size = float(gradients[layer].abs().max())
            assert float(gradients[layer][position - 1, index]) == pytest.approx(slope, abs=1e-3 * size)


def parts(net: torch.nn.Module) -> tuple[list[torch.nn.Module], torch.nn.Module]:
    """Output projections, and the final norm."""
    if isinstance(net, LlamaForCausalLM):
        return [block.mlp.down_proj for block in net.model.layers], net.model.norm
    return [block.mlp.c_proj for block in net.transformer.h], net.transformer.ln_f


class Plain:
    """Attributions in float64, one position and one text at a time: a forward pass of the position alone, over keys and
    values that an ordinary run left behind."""

    def __init__(self, folder: Path, means: np.ndarray) -> None:
        self.net = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float64).eval().requires_grad_(False)
        self.outs, self.norm = parts(self.net)
        self.means = means
        self.gated = isinstance(self.net, LlamaForCausalLM)
        self.seen: dict[object, torch.Tensor] = {}
        self.set: dict[int, tuple[int, float]] = {}
        for layer, part in enumerate(self.outs):
            part.register_forward_pre_hook(lambda _, args, layer=layer: self._see(layer, args[0]))
        self.norm.register_forward_pre_hook(lambda _, args: [None, self.seen.__setitem__("final", args[0])][0])

    def _see(self, layer: int, x: torch.Tensor):
        x = x.detach().requires_grad_() if layer == 0 and torch.is_grad_enabled() else x
        if layer in self.set:
            x = x.clone()
            index, value = self.set[layer]
            x[0, -1, index] = value
        if x.requires_grad and not x.is_leaf:
            x.retain_grad()
        self.seen[layer] = x
        return (x,)

    def position(self, ids: list[int], t: int, token: int | None = None, against: int | None = None):
        """Token (None: the predicted one), attribution and direct share per unit of congruence of every neuron."""
        replay = Replay()
        with torch.no_grad():
            self.net(input_ids=torch.tensor([ids[: t + 1]]), past_key_values=replay, use_cache=True)
        replay.recorded = [(keys.detach(), values.detach()) for keys, values in replay.recorded]
        replay.place = 0
        # The whole run again: other positions are computed too, but nothing of theirs reaches this one.
        with torch.enable_grad():
            logits = self.net(input_ids=torch.tensor([ids[: t + 1]]), past_key_values=replay, use_cache=True).logits[
                0, -1
            ]
            token = int(logits.argmax()) if token is None else token
            (logits[token] - (logits.mean() if against is None else logits[against])).backward()
        activations = np.concatenate([self.seen[layer][0, -1].detach().numpy() for layer in range(len(self.outs))])
        gradient = np.concatenate([self.seen[layer].grad[0, -1].numpy() for layer in range(len(self.outs))])
        final = self.seen["final"][0, -1].detach().numpy()
        eps = 1e-6 if self.gated else 1e-5
        final = final if self.gated else final - final.mean()
        excess = activations - self.means
        return token, excess * gradient, excess / np.sqrt((final**2).mean() + eps)

    def fall(self, ids: list[int], t: int, neuron: int, token: int, *, held: bool, against: int | None = None) -> float:
        """How far the score falls if a neuron is set to its mean at a position."""
        layer, index = divmod(neuron, self.outs[0].weight.shape[1 if self.gated else 0])
        scores, replay = [], Replay()
        with torch.no_grad():
            for place in range(2):
                self.set = {layer: (index, self.means[neuron])} if place else {}
                cache = {"past_key_values": replay, "use_cache": True} if held else {"use_cache": False}
                logits = self.net(input_ids=torch.tensor([ids[: t + 1]]), **cache).logits[0, -1]
                scores.append(float(logits[token] - (logits.mean() if against is None else logits[against])))
                replay.place = 0
        self.set = {}
        return scores[0] - scores[1]


def chosen_texts(built: Built, n: int) -> dict[int, list[int]]:
    """Token ids of the `n` texts that are chosen."""
    with open_atlas(built.atlas) as atlas:
        choice = choose_texts(atlas.info, n)
        dataset = record.own_dataset(atlas.info, str(built.dataset))
        texts = choice.texts(dataset, load_model(str(built.model)).tokenizer)
        return {text.text_id: text.token_ids.tolist() for text in texts}


@pytest.mark.parametrize("name", ["built_llama", "built_gpt2"])
def test_every_table_against_plain_loops(
    name: str, request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    built: Built = request.getfixturevalue(name)
    for module in (sums, record):
        monkeypatch.setattr(module, "MIN_POSITIONS", 2)  # in few texts no token is predicted often
    out = tmp_path / "attributed.duckdb"
    arguments = ["attribute", str(built.atlas), "--texts", "3", "--check", "10", "--quiet", "--out", str(out)]
    result = CliRunner().invoke(main, [*arguments, "--dataset", str(built.dataset), "--model", str(built.model)])
    assert result.exit_code == 0, result.output
    with duckdb.connect(str(out), read_only=True) as connection:

        def ask(sql: str) -> list[tuple]:
            return connection.execute(sql).fetchall()

        columns = "entropy_change, entropy_change_by_norm, unigram_divergence_change, n_ablated"
        last = "layer = (SELECT max(layer) FROM neuron)"
        assert ask(f"SELECT DISTINCT {columns} FROM neuron WHERE NOT {last}") == [(None,) * 4]
        assert ask(f"SELECT count(*) FROM neuron WHERE {last} AND n_ablated > 0 AND entropy_change <> 0") > [(20,)]
        assert ask(f"SELECT count(*) FROM neuron WHERE {last} AND (entropy_change IS NULL) <> (n_ablated = 0)") == [
            (0,)
        ]

        means = np.array([mean for (mean,) in ask("SELECT activation_mean FROM neuron ORDER BY neuron_id")])
        rows = ask(
            "SELECT list(array_inner_product(n.w_out, t.readout) ORDER BY t.token_id) FROM neuron_weight AS n, "
            "token_weight AS t GROUP BY n.neuron_id ORDER BY n.neuron_id"
        )
        congruence = np.array([row[0] for row in rows])
        tables = {
            table: ask(f"FROM {table}")
            for table in (
                "neuron_attribution",
                "token_driver",
                "pair_attribution",
                "attribution_check",
                "candidate_pair",
            )
        }
    plain = Plain(built.model, means)
    by_token: dict[int, list[tuple[int, np.ndarray, np.ndarray]]] = defaultdict(list)
    texts = chosen_texts(built, 3)
    for text_id, ids in texts.items():
        for t in range(1, len(ids)):
            token, attribution, per_congruence = plain.position(ids, t)
            by_token[token].append((text_id, attribution, per_congruence * congruence[:, token]))
    every = [row for rows in by_token.values() for row in rows]

    def close(got, expected) -> bool:
        return np.allclose(got, expected, rtol=2e-3, atol=2e-4)

    attribution, direct = (np.array([row[place] for row in every]) for place in (1, 2))
    got = np.array(tables["neuron_attribution"])
    assert got[:, 1].tolist() == [len(every)] * len(means)
    for place, values in enumerate((attribution, np.abs(attribution), direct, np.abs(direct)), 2):
        assert close(got[:, place], values.mean(0))

    def moments(token: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Means of both, and the standard error of the first over texts."""
        rows = by_token[token]
        mean = np.mean([row[1] for row in rows], axis=0)
        of_text = [
            sum((row[1] - mean for row in rows if row[0] == text), np.zeros_like(mean))
            for text in {row[0] for row in rows}
        ]
        g = len(of_text)
        error = np.sqrt(sum(x**2 for x in of_text) * g / (g - 1)) / len(rows) if g > 1 else np.full_like(mean, np.nan)
        return mean, np.mean([row[2] for row in rows], axis=0), error

    lists: dict[tuple[int, str], list[tuple]] = defaultdict(list)
    for row in tables["token_driver"]:
        lists[row[0], row[1]].append(row)
    assert {token for token, _ in lists} == {token for token, rows in by_token.items() if len(rows) >= 2}
    assert lists
    for (token, direction), rows in lists.items():
        mean, share, error = moments(token)
        sign = 1 if direction == "top" else -1
        assert [row[2] for row in rows] == list(range(1, len(rows) + 1))
        assert len(rows) == min(RANKED, int((sign * mean > 0).sum()))
        ids = [row[3] for row in rows]
        assert close([row[5] for row in rows], sign * np.sort(-sign * mean)[: len(rows)] * -1)
        assert close([row[5] for row in rows], mean[ids])
        assert close([row[6] for row in rows], share[ids])
        assert {row[4] for row in rows} == {len(by_token[token])}
        assert close([np.nan if row[7] is None else row[7] for row in rows], error[ids]) or np.isnan(error[ids]).all()
    pairs = {(row[0], row[1]): row[2:] for row in tables["pair_attribution"]}
    expected_pairs = {(row[0], row[1]) for row in tables["candidate_pair"] if row[1] in by_token}
    assert set(pairs) == expected_pairs
    for (neuron, token), (n, value, share, error) in pairs.items():
        mean, shares, errors = moments(token)
        assert n == len(by_token[token])
        assert close([value, share], [mean[neuron], shares[neuron]])
        assert (error is None and np.isnan(errors[neuron])) or close(error, errors[neuron])
    checks = tables["attribution_check"]
    assert len(checks) >= 8
    for neuron, token, text_id, position, estimate, exact, exact_full in checks:
        ids = texts[text_id]
        own, attributions, _ = plain.position(ids, position)
        assert own == token
        assert close(estimate, attributions[neuron])
        assert close(exact, plain.fall(ids, position, neuron, token, held=True))
        assert close(exact_full, plain.fall(ids, position, neuron, token, held=False))


def test_sums_over_parts_add_up(built_llama: Built):
    with open_atlas(built_llama.atlas) as atlas:
        plan = record.plan_of(atlas, 100)
        dataset = record.own_dataset(atlas.info, str(built_llama.dataset))
        loaded = load_model(str(built_llama.model))
        readout = read_readout(loaded, atlas.info.readout)
        layer_weights(loaded, 0)
        model = StudyModel(loaded, torch.device("cpu"))
        texts = list(choose_texts(atlas.info, 16).texts(dataset, loaded.tokenizer))

    def over(some, size: int) -> AttributionSums:
        total = AttributionSums(model, readout, plan)
        for batch in batches(some, max_tokens=size, pad_id=0):
            total.read(batch)
        return total

    whole, part = over(texts, 400), over(texts[:5], 24)
    part.merge(over(texts[5:], 60).tensors())
    assert (whole.n_texts, whole.n_positions) == (part.n_texts, part.n_positions)
    for name, tensor in whole.tensors().items():
        assert torch.allclose(tensor, part.tensors()[name], rtol=1e-4, atol=1e-4), name


def test_other_texts_are_refused(built_llama: Built, built_gpt2: Built):
    before = built_llama.atlas.read_bytes()
    arguments = ["attribute", str(built_llama.atlas), "--quiet", "--dataset", str(built_gpt2.dataset)]
    result = CliRunner().invoke(main, [*arguments, "--model", str(built_llama.model)])
    assert result.exit_code == 1
    assert "these are other texts" in result.output.replace("\n", " ")
    result = CliRunner().invoke(main, ["attribute", str(built_llama.atlas), "--texts", "none"])
    assert result.exit_code == 1
    assert "neither all nor a whole number" in result.output.replace("\n", " ")
    assert built_llama.atlas.read_bytes() == before


def attributions(path: Path) -> dict[str, dict[tuple, list[float]]]:
    """Values by table and key."""
    keys = {"neuron_attribution": 1, "pair_attribution": 2, "token_driver": 4, "attribution_check": 4}
    with open_atlas(path) as atlas:
        tables = {table: atlas.rows(f"FROM {table}") for table in keys}
    return {
        table: {
            row[: keys[table]]: [np.nan if value is None else value for value in row[keys[table] :]] for row in rows
        }
        for table, rows in tables.items()
    }


@pytest.fixture(scope="module")
def attributed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Settings of a run that attributes over all its texts, and has ended."""
    settings = tiny.run_of_full_texts(tmp_path_factory.mktemp("attributed"), 30) | {"attribution": None}
    log = settings["out"].with_suffix(".log")
    assert forked.finish(forked.start(settings, log)) == 0, log.read_text()
    return settings


def test_ranks_that_die_in_the_attribution_go_on(attributed: dict[str, Any], tmp_path: Path):
    """Rank 1 of 2 is killed while it attributes; one process goes on from the checkpoints of both."""
    saved, out = tmp_path / "saved", tmp_path / "atlas.duckdb"
    settings = {**attributed, "out": out, "checkpoint": saved, "checkpoint_every": 1e-9}
    ranks = forked.start_ranks(2, settings, tmp_path, free_port())
    forked.wait_for_checkpoint(saved, "attribution-1-1of2", 4, ranks)
    ranks[1].kill()
    logs = [tmp_path / f"rank{rank}.log" for rank in range(2)]
    assert [forked.finish(rank) for rank in ranks] == [1, -signal.SIGKILL], logs[0].read_text()
    with open_atlas(out) as atlas:
        assert atlas.info.share_read is None
        assert not atlas.rows("FROM neuron_attribution")
    assert forked.finish(forked.start(settings, tmp_path / "last.log")) == 0, (tmp_path / "last.log").read_text()
    assert "Congruence" not in (tmp_path / "last.log").read_text(), "the texts are not read again"
    assert not list(saved.glob("*.safetensors"))
    ours, theirs = attributions(out), attributions(attributed["out"])
    assert {table: set(rows) for table, rows in ours.items()} == {table: set(rows) for table, rows in theirs.items()}
    for table, rows in ours.items():
        assert rows, table
        for key, values in rows.items():
            both = np.array([values, theirs[table][key]], float)
            assert np.allclose(*both, rtol=1e-4, atol=1e-4, equal_nan=True), (table, key)


def test_rounded_blocks_agree_with_exact_ones(built_llama: Built, tmp_path: Path):
    """bfloat16 blocks, as on CUDA; the exact ablations beside their estimates are float32."""
    tables = {}
    for dtype in ("float32", "bfloat16"):
        out = tmp_path / f"{dtype}.duckdb"
        request = record.AttributionRequest(
            built_llama.atlas,
            6,
            check=20,
            dataset=str(built_llama.dataset),
            model=str(built_llama.model),
            dtype=dtype,
            out=out,
        )
        record.record_attribution(request, Console(quiet=True))
        tables[dtype] = attributions(out)
    means = [np.array([row[1:] for row in tables[dtype]["neuron_attribution"].values()]) for dtype in tables]
    for exact, rounded in zip(*(values.T for values in means), strict=True):
        assert np.corrcoef(exact, rounded)[0, 1] > 0.95
    shared = tables["float32"]["attribution_check"].keys() & tables["bfloat16"]["attribution_check"].keys()
    assert shared
    for key in shared:
        one, other = (tables[dtype]["attribution_check"][key] for dtype in tables)
        assert one[1:] == pytest.approx(other[1:], abs=1e-5)
    assert tables["float32"]["neuron_attribution"] != tables["bfloat16"]["neuron_attribution"]
