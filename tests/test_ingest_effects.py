"""Mean ablation against one plain forward pass an ablation; planted neurons; what is chosen; the command."""

from __future__ import annotations

import copy
import shutil
from collections import Counter
from pathlib import Path

import duckdb
import numpy as np
import pytest
import torch
from click.testing import CliRunner
from transformers import AutoModelForCausalLM, LlamaForCausalLM

from atlas.cli.main import main
from atlas.core.db import open_atlas
from ingest.effects import choose
from ingest.effects.choose import ChosenPair, Firing, choose_pairs
from ingest.effects.measure import PairEffect, measure_effects
from ingest.effects.record import effect_rows, planned_passes, within_budget
from ingest.model.load import bridge_for, describe, load_model
from ingest.study.study_model import StudyModel
from tests import study_models, tiny
from tests.conftest import Built, build_tiny


def ask(path: Path, sql: str) -> list[tuple]:
    with duckdb.connect(str(path), read_only=True) as connection:
        return connection.execute(sql).fetchall()


def parts(model: torch.nn.Module) -> tuple[list[torch.nn.Module], torch.nn.Module]:
    """Output projections, and the final norm."""
    if isinstance(model, LlamaForCausalLM):
        return [block.mlp.down_proj for block in model.model.layers], model.model.norm
    return [block.mlp.c_proj for block in model.transformer.h], model.transformer.ln_f


def plain(folder: Path, ids: list[int], neuron: int, mean: float, token: int, congruence: float) -> list[float]:
    """One position in float64: a run, a run with a hook that sets the neuron at the last position, plain formulas."""
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float64).eval()
    outs, norm = parts(model)
    d_mlp = outs[0].weight.shape[1 if isinstance(model, LlamaForCausalLM) else 0]
    seen: dict[str, torch.Tensor] = {}

    def ablate(_: torch.nn.Module, args: tuple) -> tuple:
        (x,) = args
        seen.setdefault("activation", x[0, -1, neuron % d_mlp].clone())
        x = x.clone()
        if "ablated" in seen:
            x[0, -1, neuron % d_mlp] = mean
        return (x,)

    outs[neuron // d_mlp].register_forward_pre_hook(ablate)
    norm.register_forward_pre_hook(lambda _, args: [None, seen.setdefault("residual", args[0][0, -1].clone())][0])
    logits = []
    with torch.no_grad():
        for _ in range(2):
            logits.append(model(input_ids=torch.tensor([ids])).logits[0, -1].numpy())
            seen["ablated"] = torch.tensor(1)
    residual = seen["residual"].numpy()
    eps = 1e-6 if isinstance(model, LlamaForCausalLM) else 1e-5
    if not isinstance(model, LlamaForCausalLM):
        residual = residual - residual.mean()
    scale = np.sqrt((residual**2).mean() + eps)
    before, after = logits
    p = [np.exp(x[token] - x.max()) / np.exp(x - x.max()).sum() for x in logits]
    rank = [1 + int((x > x[token]).sum()) for x in logits]
    change = (after[token] - after.mean()) - (before[token] - before.mean())
    activation = float(seen["activation"])
    return [activation, p[0], p[1] - p[0], rank[0], rank[1] - rank[0], change, (activation - mean) * congruence / scale]


@pytest.mark.parametrize("name", ["built_llama", "built_gpt2"])
def test_measures_are_those_of_a_plain_run_each(name: str, request: pytest.FixtureRequest):
    built: Built = request.getfixturevalue(name)
    with open_atlas(built.atlas) as atlas:
        texts = dict(atlas.rows('SELECT text_id, token_ids FROM "text" WHERE len(token_ids) > 8'))
        means = dict(atlas.rows("SELECT neuron_id, activation_mean FROM neuron"))
        candidates = atlas.rows(
            "SELECT neuron_id, token_id, congruence FROM candidate_pair ORDER BY hash(neuron_id, token_id)"
        )
        n_layers, d_mlp = atlas.info.n_layers, atlas.info.d_mlp
    ids = sorted(texts)
    rng = np.random.default_rng(0)
    pairs = []
    for layer in range(n_layers):
        neuron, token, congruence = next(row for row in candidates if row[0] // d_mlp == layer)
        firings = tuple(
            Firing(text, int(rng.integers(1, len(texts[text]))), 1.0)
            for text in rng.choice(ids, 3, replace=False).tolist()
        )
        pairs.append(ChosenPair(neuron, token, "positive", congruence, "metric", firings))
    model = StudyModel(load_model(str(built.model)), torch.device("cpu"))
    passes = []
    mean = np.array([means[neuron] for neuron in range(len(means))])
    effects = measure_effects(model, pairs, texts, mean, passes.append)
    assert sum(passes) == planned_passes(pairs)
    for effect in effects:
        pair = effect.pair
        for values, firing in zip(effect.values, pair.firings, strict=True):
            prompt = texts[firing.text_id][: firing.position + 1]
            expected = plain(built.model, prompt, pair.neuron_id, means[pair.neuron_id], pair.token_id, pair.congruence)
            assert values.tolist() == pytest.approx(expected, rel=2e-3, abs=2e-4)
        found, low, high = effect.mean("logit_change", 0)
        assert found == pytest.approx(np.mean(effect.values[:, 5]), abs=1e-6)
        assert low <= found <= high


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_a_models_logit_scale_is_in_every_measure(tmp_path: Path):
    """Granite divides its logits by 2: by hand, in float64, from one run and one with the neuron at its mean."""
    net, tokenizer = study_models.make("granite"), study_models.save_tokenizer(tmp_path)
    ids, neuron, mean, congruence, token = [0, 7, 99, 200, 31], 24 + 5, 0.25, 1.75, 17
    model = StudyModel(
        describe("granite", None, bridge_for("granite", copy.deepcopy(net), tokenizer), tokenizer), torch.device("cpu")
    )
    pair = ChosenPair(neuron, token, "positive", congruence, "metric", (Firing(3, 4, 1.0),))
    (effect,) = measure_effects(model, [pair], {3: ids}, np.full(3 * 24, mean))
    net, seen = net.double(), {}
    net.model.norm.register_forward_pre_hook(lambda _, args: seen.update(final=args[0][0, -1]))
    down = net.model.layers[1].mlp.down_proj
    down.register_forward_pre_hook(lambda _, args: seen.update(activation=float(args[0][0, -1, 5])))
    with torch.no_grad():
        before = net(input_ids=torch.tensor([ids])).logits[0, -1].numpy()
        final, activation = seen["final"].numpy(), seen["activation"]

        def ablate(_: torch.nn.Module, args: tuple) -> tuple:
            x = args[0].clone()
            x[0, -1, 5] = mean
            return (x,)

        down.register_forward_pre_hook(ablate)
        after = net(input_ids=torch.tensor([ids])).logits[0, -1].numpy()
    p = [study_models.softmax(logits)[token] for logits in (before, after)]
    changed = (after[token] - after.mean()) - (before[token] - before.mean())
    direct = (activation - mean) * congruence / np.sqrt((final**2).mean() + net.config.rms_norm_eps) / 2
    rank = [1 + int((logits > logits[token]).sum()) for logits in (before, after)]
    expected = [activation, p[0], p[1] - p[0], rank[0], rank[1] - rank[0], changed, direct]
    assert effect.values[0].tolist() == pytest.approx(expected, rel=2e-3, abs=1e-5)
    assert abs(direct) > 1e-3


CONSTANT, WRITES, DECOY_WRITES, SLOPE, LINEAR = 10.0, 8.0, 6.0, 2.0, 10.0
D_MLP = 96
TEXTS = tiny.make_texts(200, 4)
WRITER, DECOY, CANCELLER = 3, 5, D_MLP + 7


def plant(folder: Path) -> dict[str, int]:
    """A small GPT-2 in which L0N3 writes the direction of one token, and L0N5 that of another, which L1N7 takes back.

    A large constant in the residual stream holds the scale of every norm, so that L1N7, far up the straight part of
    its GELU, is linear in what it reads: whatever lies along the second token's direction.
    """
    path = tiny.save_gpt2(folder)
    model = AutoModelForCausalLM.from_pretrained(path)
    tokenizer = tiny.make_tokenizer()
    counts = Counter(token for text in TEXTS for token in tokenizer(text, add_special_tokens=False)["input_ids"])
    (pear, _), (lemon, _) = counts.most_common(2)  # As good as any others, and they occur.
    generator = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if ".ln_" in name:
                parameter.fill_(float(name.endswith("weight")))
        fixed = [torch.ones(24) / 24**0.5]

        def free(vector: torch.Tensor) -> torch.Tensor:
            """Of length 1, at right angles to what is fixed."""
            for other in fixed:
                vector = vector - (vector @ other)[..., None] * other
            return vector / vector.norm(dim=-1, keepdim=True)

        fixed.append(free(torch.randn(24, generator=generator)))
        table = model.transformer.wte.weight
        table.copy_(free(table) * table.norm(dim=1, keepdim=True))
        positions = model.transformer.wpe.weight
        positions.copy_(free(positions) * positions.norm(dim=1, keepdim=True) + CONSTANT * 24**0.5 * fixed[1])
        down = free(table[lemon])
        up = free(table[pear] - (table[pear] @ down) * down)
        first, second = model.transformer.h
        for block in (first, second):
            block.mlp.c_proj.weight *= 0.02
            block.attn.c_proj.weight *= 0.0
            block.attn.c_proj.bias *= 0.0
            block.mlp.c_proj.bias *= 0.0
        for neuron, direction, size in ((WRITER, up, WRITES), (DECOY, down, DECOY_WRITES)):
            first.mlp.c_fc.weight[:, neuron] = 40 * free(torch.randn(24, generator=generator))
            first.mlp.c_fc.bias[neuron] = -2.5
            first.mlp.c_proj.weight[neuron] = size * direction
        place = CANCELLER - D_MLP
        second.mlp.c_fc.weight[:, place], second.mlp.c_fc.bias[place] = SLOPE * down, LINEAR
        second.mlp.c_proj.weight[place] = -CONSTANT / SLOPE * down
        second.mlp.c_proj.bias += LINEAR * CONSTANT / SLOPE * down
    model.save_pretrained(path)
    return {"pear": pear, "lemon": lemon}


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> tuple[Built, dict[str, int]]:
    folder = tmp_path_factory.mktemp("planted")
    tokens = plant(folder / "model")
    dataset = tiny.save_texts(folder / "texts.jsonl", TEXTS)
    atlas = build_tiny(folder, folder / "model", dataset, "planted", context_length=40, overflow="truncate")
    built = Built(folder / "model", dataset, 40, "truncate", atlas)
    result = CliRunner().invoke(main, ["effects", str(atlas), "--model", str(built.model), "--pairs", "20"])
    assert result.exit_code == 0, result.output
    return built, tokens


def test_a_planted_writer_is_first_everywhere(planted: tuple[Built, dict[str, int]]):
    built, tokens = planted
    first = ask(
        built.atlas, "SELECT neuron_id, token_id FROM exclusive_pair WHERE direction = 'top' ORDER BY rank LIMIT 1"
    )
    assert first == [(WRITER, tokens["pear"])]
    best = ask(
        built.atlas,
        "SELECT neuron_id, token_id FROM pair_metric WHERE average_precision_predicted IS NOT NULL "
        "ORDER BY average_precision_predicted DESC LIMIT 1",
    )
    assert best == [(WRITER, tokens["pear"])]
    effect = ask(
        built.atlas,
        "SELECT neuron_id, token_id, chosen_by, probability_change, probability_change_high, "
        "rank_change FROM pair_effect ORDER BY probability_change LIMIT 1",
    )
    ((*pair, chosen_by, change, high, rank_change),) = effect
    assert pair == [WRITER, tokens["pear"]]
    assert chosen_by == "exclusive,metric"
    assert change < high < 0 < rank_change


def test_attribution_finds_the_writer_and_nothing_in_the_decoy(planted: tuple[Built, dict[str, int]], tmp_path: Path):
    built, tokens = planted
    out = tmp_path / "planted.duckdb"
    arguments = ["attribute", str(built.atlas), "--check", "60", "--quiet", "--out", str(out)]
    result = CliRunner().invoke(main, [*arguments, "--dataset", str(built.dataset), "--model", str(built.model)])
    assert result.exit_code == 0, result.output
    with duckdb.connect(str(out), read_only=True) as connection:

        def one(sql: str) -> tuple:
            return connection.execute(sql).fetchone()

        first = one(
            f"SELECT neuron_id FROM token_driver WHERE token_id = {tokens['pear']} AND direction = 'top' AND rank = 1"
        )
        assert first == (WRITER,)
        pair = f"(neuron_id, token_id) = ({WRITER}, {tokens['pear']})"
        writer = one(f"SELECT attribution, direct FROM pair_attribution WHERE {pair}")
        decoy = one(
            "SELECT attribution_abs_mean, direct_abs_mean FROM neuron_attribution WHERE neuron_id = " + str(DECOY)
        )
        assert writer[0] > 0.5 * writer[1] > 0
        assert decoy[0] < 0.1 * decoy[1]
        correlation = one("SELECT corr(estimate, exact), corr(estimate, exact_full) FROM attribution_check")
    assert min(correlation) > 0.9


def test_a_decoy_that_a_later_neuron_takes_back_is_congruent_and_causally_null(planted: tuple[Built, dict[str, int]]):
    built, tokens = planted
    ((congruence, token_gap),) = ask(
        built.atlas,
        f"SELECT congruence, token_gap FROM exclusive_pair WHERE neuron_id = {DECOY} "
        f"AND direction = 'top' AND token_id = {tokens['lemon']}",
    )
    assert congruence > 5
    assert token_gap > 0.5
    columns = "direct_effect, logit_change, probability_change, rank_change"
    found = {
        row[0]: row[1:]
        for row in ask(
            built.atlas,
            f"SELECT neuron_id, {columns} FROM pair_effect WHERE neuron_id IN ({WRITER}, {DECOY}) "
            f"AND token_id IN ({tokens['pear']}, {tokens['lemon']})",
        )
    }
    direct, logit, probability, _ = found[DECOY]
    assert direct > 0.5
    assert abs(logit) < 0.2 * direct
    assert abs(probability) < 0.1 * abs(found[WRITER][2])
    direct, logit, *_ = found[WRITER]
    assert -logit == pytest.approx(direct, rel=0.2)


def test_pairs_are_the_best_of_both_lists_and_positions_those_at_which_the_neuron_fires(tiny_llama_atlas: Path):
    with open_atlas(tiny_llama_atlas) as atlas:
        pairs = choose_pairs(atlas, 8, 6)
        again = choose_pairs(atlas, 8, 6)
    assert pairs == again
    assert len({(pair.neuron_id, pair.token_id, pair.side) for pair in pairs}) == len(pairs)
    exclusive = ask(
        tiny_llama_atlas,
        "SELECT neuron_id, token_id, congruence FROM exclusive_pair JOIN token USING "
        "(token_id) WHERE NOT special AND n_actual > 0 ORDER BY rank, direction DESC LIMIT 8",
    )
    chosen = [(p.neuron_id, p.token_id, p.congruence) for p in pairs if "exclusive" in p.chosen_by]
    assert set(chosen) <= set(exclusive)
    assert len(chosen) >= len(exclusive) - 2
    for pair in pairs:
        sign = 1 if pair.side == "positive" else -1
        assert 1 <= len(pair.firings) <= 6
        assert all(sign * firing.activation >= 2**-6 for firing in pair.firings)
        assert len({(firing.text_id, firing.position) for firing in pair.firings}) == len(pair.firings)
        stored = ask(tiny_llama_atlas, f"SELECT text_id, position FROM example WHERE neuron_id = {pair.neuron_id}")
        assert {(firing.text_id, firing.position) for firing in pair.firings} <= set(stored)


def test_special_tokens_and_those_that_never_occur_are_left_out(tiny_llama_atlas: Path, tmp_path: Path):
    with open_atlas(tiny_llama_atlas) as atlas:
        first, second = (pair.token_id for pair in choose_pairs(atlas, 2, 2)[:2])
    for token, change in ((first, "special = TRUE"), (second, "n_actual = 0")):
        file = Path(shutil.copy(tiny_llama_atlas, tmp_path / f"{token}.duckdb"))
        file.chmod(0o644)
        with duckdb.connect(str(file)) as connection:
            connection.execute(f"UPDATE token SET {change} WHERE token_id = {token}")
        with open_atlas(file) as atlas:
            chosen = choose_pairs(atlas, 200, 2)
        assert chosen
        assert not [pair for pair in chosen if pair.token_id == token and (token == first or "excl" in pair.chosen_by)]


def test_below_its_mean_a_neuron_does_not_fire(tiny_llama_atlas: Path, tmp_path: Path):
    """There, setting it to its mean would be adding: of each side only what is beyond the mean is left."""
    file = Path(shutil.copy(tiny_llama_atlas, tmp_path / "a.duckdb"))
    file.chmod(0o644)
    with duckdb.connect(str(file)) as connection:
        connection.execute("UPDATE neuron SET activation_mean = activation_max / 2 WHERE neuron_id % 2 = 0")
        connection.execute("UPDATE neuron SET activation_mean = activation_min / 2 WHERE neuron_id % 2 = 1")
        means = dict(connection.execute("SELECT neuron_id, activation_mean FROM neuron").fetchall())
    with open_atlas(tiny_llama_atlas) as atlas, open_atlas(file) as changed:
        before, after = choose_pairs(atlas, 100, 50), choose_pairs(changed, 100, 50)

    def below(pairs: list[ChosenPair]) -> set[str]:
        return {
            pair.side
            for pair in pairs
            for firing in pair.firings
            if (
                firing.activation < means[pair.neuron_id]
                if pair.side == "positive"
                else firing.activation >= means[pair.neuron_id]
            )
        }

    assert below(before) == {"positive", "negative"}
    assert below(after) == set()
    assert {pair.side for pair in after} == {"positive", "negative"}


def test_half_of_the_positions_are_ordinary_ones_from_every_octave():
    def firings(start: int, n: int) -> list[Firing]:
        return [Firing(start + place, 7, 1.0) for place in range(n)]

    def texts(extreme: list[Firing], ordinary: list[Firing], positions: int) -> list[int]:
        return [firing.text_id for firing in choose._sample(extreme, ordinary, positions)]

    assert texts(firings(0, 6), firings(10, 8), 6) == [0, 1, 2, 10, 12, 15]  # every 8/3-th
    assert texts(firings(0, 2), firings(10, 8), 6) == [0, 1, 10, 12, 14, 16]  # four, where the others are two
    assert texts(firings(0, 9), firings(10, 1), 6) == [0, 1, 2, 3, 4, 10]
    assert texts(firings(0, 9), [], 6) == [0, 1, 2, 3, 4, 5]
    assert texts(firings(0, 2), firings(1, 3), 4) == [0, 1, 2, 3]  # text 1 is in both, and once in what is chosen


def test_rows_of_effects_by_hand():
    """Three positions: means, the median of the ranks, intervals in order; one position has no interval."""
    values = np.array(
        [[1.0, 0.5, -0.25, 1, 2, -1.5, 3.0], [2.0, 0.25, -0.125, 2, 7, -0.5, 1.0], [6.0, 0.0, 0.0, 9, 0, -1.0, 2.0]]
    )
    pair = ChosenPair(5, 17, "negative", 1.5, "metric")
    one, other = effect_rows([PairEffect(pair, values), PairEffect(pair, values[:1])], seed=0).to_pylist()
    assert {name: one[name] for name in ("neuron_id", "token_id", "side", "chosen_by", "n_positions")} == {
        "neuron_id": 5,
        "token_id": 17,
        "side": "negative",
        "chosen_by": "metric",
        "n_positions": 3,
    }
    means = {
        "activation_mean": 3.0,
        "probability": 0.25,
        "rank_median": 2.0,
        "probability_change": -0.125,
        "rank_change": 3.0,
        "logit_change": -1.0,
        "direct_effect": 2.0,
    }
    assert {name: one[name] for name in means} == pytest.approx(means)
    for name, least, most in (("probability_change", -0.25, 0.0), ("rank_change", 0, 7), ("logit_change", -1.5, -0.5)):
        assert least <= one[f"{name}_low"] < one[name] < one[f"{name}_high"] <= most
        assert other[f"{name}_low"] is other[f"{name}_high"] is None
    assert (other["rank_median"], other["rank_change"], other["logit_change"]) == (1.0, 2.0, -1.5)


def test_a_budget_keeps_the_best(tiny_llama_atlas: Path):
    with open_atlas(tiny_llama_atlas) as atlas:
        pairs = choose_pairs(atlas, 8, 6)
    whole = planned_passes(pairs)
    assert within_budget(pairs, whole) == pairs
    half = within_budget(pairs, whole // 2)
    assert half == pairs[: len(half)]
    assert 0 < planned_passes(half) <= whole // 2 < planned_passes(pairs[: len(half) + 1])
    assert within_budget(pairs, 1) == []


def test_the_command_measures_anew_and_refuses_other_weights(built_gpt2: Built, tiny_llama_atlas: Path, tmp_path: Path):
    file = Path(shutil.copy(built_gpt2.atlas, tmp_path / "a.duckdb"))
    run = ["effects", str(file), "--model", str(built_gpt2.model), "--pairs", "3", "--positions", "2"]
    for _ in range(2):
        result = CliRunner().invoke(main, run)
        assert result.exit_code == 0, result.output
        assert "forward passes" in result.output
    rows = ask(file, "SELECT count(*), count(DISTINCT (neuron_id, token_id, side)), max(n_positions) FROM pair_effect")
    assert rows[0][0] == rows[0][1] > 0
    assert rows[0][2] <= 2
    before = file.read_bytes()
    small = CliRunner().invoke(main, [*run, "--budget", "1"])
    assert small.exit_code == 1
    assert "Raise --budget" in small.output
    other = CliRunner().invoke(
        main, ["effects", str(tiny_llama_atlas), "--model", str(built_gpt2.model), "--out", str(tmp_path / "b.duckdb")]
    )
    assert other.exit_code == 1
    assert "have the fingerprint" in other.output
    assert file.read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["a.duckdb"]
