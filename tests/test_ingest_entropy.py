"""Entropy and divergence changes against whole runs in float64 with a neuron set to its mean; what is not measured."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch

from ingest.attribution import distributions, entropy, first_order
from ingest.attribution.entropy import entropy_columns
from ingest.model.load import bridge_for, describe
from ingest.study.study_model import StudyModel
from ingest.texts.tokens import Text
from tests import families, tiny
from tests.families import D_VOCAB

KINDS = ("llama", "gpt2", "pythia", "gemma2", "olmo2", "cohere", "granite", "opt")
"""Gated and not, parallel, post-norm, soft-capped, with factors and biases, LayerNorm and RMSNorm."""


def texts(n: int, length: int) -> list[Text]:
    rng = np.random.default_rng(4)
    return [Text(i, i, 0, rng.integers(1, 300, length).astype(np.int32)) for i in range(n)]


def measures(logits: torch.Tensor, unigram: np.ndarray) -> np.ndarray:
    """Entropy, and divergence from the unigram distribution."""
    log_p = logits.double().log_softmax(-1).numpy()
    p = np.exp(log_p)
    return np.array([-(p * log_p).sum(), (p * (log_p - np.log(unigram))).sum()])


@pytest.mark.parametrize("name", KINDS)
def test_changes_are_those_of_whole_runs(name: str):
    net = families.make(name)
    reference = families.Family(name, copy.deepcopy(net).double())
    model = StudyModel(describe(name, None, bridge_for(name, net), tiny.make_tokenizer()), torch.device("cpu"))
    d_mlp, rng = model.model.d_mlp, np.random.default_rng(0)
    mean = rng.normal(size=2 * d_mlp) * 0.5
    counts = rng.integers(0, 50, D_VOCAB)
    chosen = texts(2, 7)
    columns = entropy_columns(model, chosen, mean, counts, 1)
    unigram = (counts + 1) / (counts + 1).sum()

    layer_norm = reference.layer_norm
    state: dict[str, object] = {}
    outs: dict[str, torch.Tensor] = {}

    def ablate(_, args):
        x = args[0].clone()
        outs["activations"] = x.reshape(-1, x.shape[-1])
        if "neuron" in state:
            outs["activations"][state["position"], state["neuron"]] = mean[d_mlp + state["neuron"]]
        return (outs["activations"].view(x.shape),)

    def norm(_, args, out):
        # The norm's own output for the input that it has after the ablation gives the scale; the input is the old one.
        x, y = (tensor.reshape(-1, tensor.shape[-1]) for tensor in (args[0], out))
        outs["final"] = x
        if "held" not in state:
            return None
        bias = getattr(reference.norm, "bias", None)
        y = y - (0 if bias is None else bias)
        centre = lambda v: v - v.mean(-1, keepdim=True) if layer_norm else v  # noqa: E731
        plain = y / centre(x) * centre(state["held"])
        return (plain + (0 if bias is None else bias)).view(out.shape)

    reference.out[-1].register_forward_pre_hook(ablate)
    reference.norm.register_forward_hook(norm)

    def run(ids: torch.Tensor, **options: object) -> torch.Tensor:
        state.clear()
        state.update(options)
        with torch.no_grad():
            return reference.net(input_ids=ids).logits[0]

    neurons = rng.choice(d_mlp, 6, replace=False)
    found: dict[int, list[np.ndarray]] = {int(neuron): [] for neuron in neurons}
    for text in chosen:
        ids = torch.as_tensor(text.token_ids.astype(np.int64))[None]
        own = run(ids)
        activations, final = outs["activations"].clone(), outs["final"].clone()
        for neuron in found:
            for position in range(1, 7):
                if abs(float(activations[position, neuron])) < 2**-6:
                    continue
                where = {"neuron": neuron, "position": position}
                ablated = measures(run(ids, **where)[position], unigram)
                rescaled = measures(run(ids, **where, held=final)[position], unigram)
                before = measures(own[position], unigram)
                found[neuron].append(
                    np.array([ablated[0] - before[0], rescaled[0] - before[0], ablated[1] - before[1]])
                )
    names = ("entropy_change", "entropy_change_by_norm", "unigram_divergence_change")
    for neuron, changes in found.items():
        assert columns["n_ablated"][d_mlp + neuron] == len(changes)
        assert columns["entropy_change"].mask[d_mlp + neuron] == (not changes)
        for place, column in enumerate(names if changes else ()):
            expected = np.mean([change[place] for change in changes])
            assert float(columns[column][d_mlp + neuron]) == pytest.approx(expected, rel=1e-3, abs=2e-5), (
                neuron,
                column,
            )
    assert max(abs(change[0]) for changes in found.values() for change in changes) > 1e-3
    assert all(columns[column].mask[:d_mlp].all() for column in (*names, "n_ablated"))


@pytest.fixture(scope="module")
def gpt2() -> StudyModel:
    return StudyModel(
        describe("gpt2", None, bridge_for("gpt2", families.make("gpt2")), tiny.make_tokenizer()), torch.device("cpu")
    )


def test_tiles_and_parts_change_nothing(gpt2: StudyModel, monkeypatch: pytest.MonkeyPatch):
    mean, counts = np.zeros(2 * gpt2.model.d_mlp), np.ones(D_VOCAB, np.int64)
    whole = entropy_columns(gpt2, texts(2, 9), mean, counts, 1)
    done: list[int] = []
    monkeypatch.setattr(entropy, "_PART", 11)
    monkeypatch.setattr(distributions, "_TOKEN_TILE", 7)
    monkeypatch.setattr(distributions, "_ROWS", {"cpu": 5})
    monkeypatch.setattr(first_order, "_ROWS", 3)
    tiled = entropy_columns(gpt2, texts(2, 9), mean, counts, 1, done.append)
    assert sum(done) == D_VOCAB
    for name, column in whole.items():
        np.testing.assert_allclose(np.ma.filled(column, -1), np.ma.filled(tiled[name], -1), atol=1e-5)


def test_the_strongest_and_a_sample_of_the_rest_stand_for_all(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(entropy, "ABLATIONS", 6)
    rng, mean = np.random.default_rng(2), torch.tensor([0.5, 0.0, 0.0])
    activations = torch.as_tensor(rng.normal(size=(40, 3)) * [1, 0.05, 0.001], dtype=torch.float32)
    activations[:36, 1] = 0.01
    nothing = torch.zeros(40, 1)
    items = entropy._choose(entropy._Positions(nothing, activations, nothing), mean)
    for neuron in range(3):
        fires = activations[:, neuron].abs() >= 2**-6
        chosen = items.neuron == neuron
        rows, n = items.row[chosen], int(fires.sum())
        assert fires[rows].all()
        assert len(rows) == len(set(rows.tolist())) == min(n, 6)
        excess = activations[:, neuron] - mean[neuron]
        assert torch.equal(items.excess[chosen], excess[rows])
        if n <= 6:
            assert items.weight[chosen].tolist() == pytest.approx([1 / max(n, 1)] * n)
            continue
        farthest = sorted(range(40), key=lambda row: (-float(fires[row] * excess[row].abs()), row))[:3]
        weights = dict(zip(rows.tolist(), items.weight[chosen].tolist(), strict=True))
        assert [weights.pop(row) for row in farthest] == pytest.approx([1 / n] * 3)
        assert list(weights.values()) == pytest.approx([(n - 3) / n / 3] * 3)
    assert (items.neuron == 2).sum() == 0
    assert (items.neuron == 1).sum() <= 4


def test_so_many_positions_are_read(gpt2: StudyModel, monkeypatch: pytest.MonkeyPatch):
    mean, counts, d_mlp = np.zeros(2 * gpt2.model.d_mlp), np.ones(D_VOCAB, np.int64), gpt2.model.d_mlp
    alone = entropy_columns(gpt2, texts(1, 9), mean, counts, 1)["n_ablated"][d_mlp:]
    monkeypatch.setattr(entropy, "POSITIONS", 10)
    first = entropy_columns(gpt2, texts(4, 9), mean, counts, 1)["n_ablated"][d_mlp:]
    assert first.max() <= 10
    assert ((first >= alone) & (first <= alone + 2)).all()


@pytest.mark.parametrize("name", ["llama", "gpt2"])
def test_first_order_is_the_slope_of_small_changes(name: str):
    net = families.make(name)
    norm = copy.deepcopy(families.Family(name, net).norm).double()
    head = net.get_output_embeddings().weight.detach().double()
    model = StudyModel(describe(name, None, bridge_for(name, net), tiny.make_tokenizer()), torch.device("cpu"))
    generator, unigram = torch.Generator().manual_seed(1), np.arange(1, D_VOCAB + 1) / np.arange(1, D_VOCAB + 1).sum()
    final, step = torch.randn(5, 32, generator=generator), 1e-4 * torch.randn(5, 32, generator=generator).double()
    slopes = first_order.directions(model, final, torch.as_tensor(unigram).log())
    layer_norm, bias = model.model.layer_norm, getattr(norm, "bias", torch.zeros(32))

    def scale(x: torch.Tensor) -> torch.Tensor:
        plain = (x - x.mean() if layer_norm else x) * norm.weight
        return ((norm(x) - bias) @ plain) / (plain @ plain)

    with torch.no_grad():
        for x, change, slope in zip(final.double(), step, slopes.transpose(0, 1).double(), strict=True):
            own, moved = (measures(norm(each) @ head.T, unigram) for each in (x, x + change))
            rescaled = (norm(x) - bias) * scale(x + change) / scale(x) + bias
            by_norm = measures(rescaled @ head.T, unigram) - own
            expected = [moved[0] - own[0], by_norm[0], moved[1] - own[1]]
            np.testing.assert_allclose((slope @ change).numpy(), expected, rtol=0.02, atol=2e-6)


def test_without_positions_nothing_is_measured(gpt2: StudyModel):
    columns = entropy_columns(gpt2, texts(3, 1), np.zeros(2 * gpt2.model.d_mlp), np.ones(D_VOCAB, np.int64), 1)
    assert columns["entropy_change"].mask.all()
    assert (columns["n_ablated"][gpt2.model.d_mlp :] == 0).all()
