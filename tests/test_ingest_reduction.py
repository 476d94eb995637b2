"""One layer's reduction: the compiled version and the plain torch one against float64 loops."""

from __future__ import annotations

import os
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import numba
import numpy as np
import pytest
import torch

from atlas.core.bins import N_BINS, ZERO_BIN, bin_edges
from ingest.activations.reduction import cpu, reference
from ingest.activations.reduction.choice import layer_reducer
from ingest.activations.reduction.exact import LIMBS, added, central_moments, overflown
from ingest.activations.reduction.reference import LayerSums, Runs
from ingest.process.numba_compiler import compiled

VERSIONS = {"compiled": cpu.reduce_layer, "torch": reference.reduce_layer}
DTYPES = [torch.float32, torch.bfloat16]


class Outcome:
    """What a reduction leaves behind, with garbage where it must write."""

    def __init__(self, d_mlp: int) -> None:
        self.sums = LayerSums(
            torch.zeros(d_mlp * N_BINS, dtype=torch.int64),
            torch.zeros(4, LIMBS, d_mlp, dtype=torch.int64),
            torch.zeros(d_mlp, dtype=torch.int64),
            torch.full((d_mlp,), torch.inf),
            torch.full((d_mlp,), -torch.inf),
        )
        self.seen = 0

    def add(self, version: str, x: torch.Tensor, runs: Runs) -> Outcome:
        n_texts, d_mlp = len(runs.first), x.shape[1]
        self.bins = torch.full((runs.n_rows, d_mlp), 255, dtype=torch.uint8)
        self.highest, self.lowest = torch.full((n_texts, d_mlp), 1e30), torch.full((n_texts, d_mlp), -1e30)
        VERSIONS[version](x, runs, self.sums, self.bins, self.highest, self.lowest)
        self.seen += runs.n_rows
        return self

    @property
    def moments(self) -> torch.Tensor:
        """Mean, and sums of the 2nd to 4th powers of what differs from it."""
        mean, *central = torch.from_numpy(central_moments(self.seen, self.sums.powers.numpy()))
        return torch.stack([mean, *(self.seen * moment for moment in central)])


def ragged(lengths: list[int], d_mlp: int, dtype: torch.dtype, seed: int = 0) -> tuple[torch.Tensor, Runs]:
    """Texts of these lengths, each behind a BOS row and before padding that must not be looked at (NaN)."""
    generator = torch.Generator().manual_seed(seed)
    width = max(lengths) + 3
    x = torch.full((len(lengths) * width, d_mlp), torch.nan)
    first = np.arange(len(lengths)) * width + 1
    scale = torch.rand(d_mlp, generator=generator) * 4
    for start, n in zip(first, lengths, strict=True):
        noise = torch.randn(n, d_mlp, generator=generator)
        x[start : start + n] = noise * noise.abs() * scale + torch.randn(d_mlp, generator=generator)
    return x.to(dtype), Runs.of(first, np.array(lengths), "cpu")


def bin_by_edges(value: float) -> int:
    return next(bin for bin in range(N_BINS) if bin_edges(bin)[0] <= value < bin_edges(bin)[1])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("version", VERSIONS)
def test_equals_float64_loops(version: str, dtype: torch.dtype) -> None:
    d_mlp, lengths = 5, [70, 1, 2, 131, 4, 1]
    found, texts = Outcome(d_mlp), []
    for seed in (1, 2):  # Two batches: the second is merged into the first.
        x, runs = ragged(lengths, d_mlp, dtype, seed)
        found.add(version, x, runs)
        here = [x[a : a + n].double().numpy() for a, n in zip(runs.first.tolist(), lengths, strict=True)]
        np.testing.assert_array_equal(found.highest.numpy(), [text.max(0) for text in here])
        np.testing.assert_array_equal(found.lowest.numpy(), [text.min(0) for text in here])
        rows = np.concatenate(here)
        assert found.bins.tolist() == [[bin_by_edges(float(value)) for value in row] for row in rows]
        texts += here
    values = np.concatenate(texts)
    sums, moments, mean = found.sums, found.moments, values.mean(0)
    np.testing.assert_array_equal(sums.positive.numpy(), (values > 0).sum(0))
    np.testing.assert_array_equal(sums.maximum.numpy(), values.max(0))
    np.testing.assert_array_equal(sums.minimum.numpy(), values.min(0))
    assert (np.abs(moments[0].numpy() - mean) / values.std(0)).max() < 1e-6
    for power in (2, 3, 4):
        size = (np.abs(values - mean) ** power).sum(0)
        error = np.abs(moments[power - 1].numpy() - ((values - mean) ** power).sum(0))
        assert (error / size).max() < 1e-6, power
    for neuron in range(d_mlp):
        expected = np.bincount([bin_by_edges(value) for value in values[:, neuron].tolist()], minlength=N_BINS)
        np.testing.assert_array_equal(sums.counts.view(d_mlp, N_BINS)[neuron].numpy(), expected)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("d_mlp", [1, 63, 64, 65, 200])
def test_compiled_and_torch_are_equal_at_any_width(d_mlp: int, dtype: torch.dtype) -> None:
    x, runs = ragged([90, 64, 63, 1, 65], d_mlp, dtype)
    one, other = (Outcome(d_mlp).add(version, x, runs).add(version, x * 2, runs) for version in VERSIONS)
    for name in ("bins", "highest", "lowest"):
        assert torch.equal(getattr(one, name), getattr(other, name)), name
    for name in ("counts", "positive", "minimum", "maximum"):
        assert torch.equal(getattr(one.sums, name), getattr(other.sums, name)), name
    ours, theirs = one.moments, other.moments
    torch.testing.assert_close(ours[[1, 3]], theirs[[1, 3]], rtol=1e-5, atol=0)
    spread = (theirs[3] / one.seen) ** 0.25
    assert ((ours[0] - theirs[0]).abs() <= 1e-6 * spread).all()
    assert ((ours[2] - theirs[2]).abs() <= 1e-5 * one.seen * spread**3).all()


@pytest.mark.parametrize("version", VERSIONS)
def test_edges_belong_to_the_bin_above(version: str) -> None:
    edges = torch.tensor([bin_edges(bin)[0] for bin in range(1, N_BINS)])
    values = torch.stack([edges, torch.nextafter(edges, torch.tensor(-torch.inf)), edges * 0, edges * -0.0])
    found = Outcome(N_BINS - 1).add(version, values, Runs.of(np.array([0]), np.array([4]), "cpu"))
    assert found.bins[0].tolist() == list(range(1, N_BINS))
    assert found.bins[1].tolist() == list(range(N_BINS - 1))
    assert set(found.bins[2:].flatten().tolist()) == {ZERO_BIN}  # Both zeros.
    positive = (edges > 0).long() + (values[1] > 0).long()  # Neither zero is positive.
    assert torch.equal(found.sums.positive, positive)


@pytest.mark.parametrize("bad", [torch.inf, -torch.inf, torch.nan])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("version", VERSIONS)
def test_what_is_not_finite_shows_for_ever(version: str, dtype: torch.dtype, bad: float) -> None:
    x, runs = ragged([70, 3], 4, dtype)
    clean = x.clone()
    x[int(runs.first[0]) + 66, 2] = bad
    found = Outcome(4).add(version, x, runs).add(version, clean, runs)
    assert torch.isfinite(found.moments[3]).tolist() == [True, True, False, True]


def test_threads_and_repetition_change_no_bit() -> None:
    x, runs = ragged([90, 64, 3], 300, torch.float32)
    threads, outcomes = numba.get_num_threads(), []
    try:
        for n in (1, threads, threads):
            numba.set_num_threads(n)
            outcomes.append(Outcome(300).add("compiled", x, runs).add("compiled", x, runs))
    finally:
        numba.set_num_threads(threads)
    for other in outcomes[1:]:
        assert torch.equal(outcomes[0].sums.powers, other.sums.powers)
        assert torch.equal(outcomes[0].sums.counts, other.sums.counts)


def test_an_outlier_text_first_does_not_drown_the_rest() -> None:
    """A first text a thousand standard deviations off must not set the precision of what follows."""
    generator = torch.Generator().manual_seed(3)
    x = torch.randn(2001, 2, generator=generator)
    x[0] = 1000.0
    runs = Runs.of(np.array([0, 1]), np.array([1, 2000]), "cpu")
    values = x.double().numpy()
    for version in VERSIONS:
        moments = Outcome(2).add(version, x, runs).moments
        np.testing.assert_allclose(moments[3], ((values - values.mean(0)) ** 4).sum(0), rtol=1e-6)
        second = Outcome(2)
        second.add(version, x[:1], Runs.of(np.array([0]), np.array([1]), "cpu"))
        second.add(version, x[1:], Runs.of(np.array([0]), np.array([2000]), "cpu"))
        np.testing.assert_allclose(second.moments[1], ((values - values.mean(0)) ** 2).sum(0), rtol=1e-6)


def test_no_order_of_texts_and_no_batches_change_a_bit_of_the_sums() -> None:
    """A text's activations decide what it adds: not its neighbours, nor when it comes, nor who else adds."""
    lengths = [90, 64, 3, 1, 200, 17]
    x, runs = ragged(lengths, 130, torch.float32)
    x = x * torch.logspace(-4, 4, 130)
    whole = Outcome(130).add("compiled", x, runs).sums.powers
    rng = np.random.default_rng(0)
    for _ in range(4):
        order = rng.permutation(len(lengths))
        parts = []
        for some in np.split(order, sorted(rng.choice(range(1, 6), 2, replace=False))):
            part = Outcome(130)
            part.add("compiled", x, Runs.of(runs.first.numpy()[some], runs.length.numpy()[some], "cpu"))
            parts.append(part.sums.powers)
        assert torch.equal(added(parts[2], added(parts[0], parts[1])), whole)


@pytest.mark.parametrize("version", VERSIONS)
def test_the_sums_are_right_to_their_last_bits(version: str) -> None:
    """Numbers whose powers no step has to round: what is stored is the sum itself, in units of 2^-72."""
    values = [[1.5, -0.25], [2.0, 0.0], [-3.0, 0.125], [512.0, -(2.0**-6)]]
    powers = Outcome(2).add(version, torch.tensor(values), Runs.of(np.array([0]), np.array([4]), "cpu")).sums.powers
    for power in range(1, 5):
        for neuron in range(2):
            found = sum(int(limb) << (36 * place) for place, limb in enumerate(powers[power - 1, :, neuron]))
            expected = sum(Fraction(row[neuron]) ** power for row in values)
            assert abs(Fraction(found, 2**72) - expected) <= abs(expected) * Fraction(1, 2**20), (power, neuron)
            assert all(0 <= int(limb) < 2**36 for limb in powers[power - 1, :3, neuron]), "carries are done"


@pytest.mark.parametrize("version", VERSIONS)
def test_activations_whose_fourth_powers_are_too_large_show(version: str) -> None:
    x = torch.tensor([[2.0**19, 1e7, 1e12, 3e38, 1.0]])
    found = Outcome(5).add(version, x, Runs.of(np.array([0]), np.array([1]), "cpu"))
    assert overflown(found.sums.powers).any(0).tolist() == [False, True, True, True, False]
    assert found.moments[0, 0] == 2.0**19


def test_each_device_has_a_version() -> None:
    assert layer_reducer(torch.device("cpu")) is cpu.reduce_layer
    assert layer_reducer(torch.device("meta")) is reference.reduce_layer


def _double(value):
    return value * 2


class TestCompiledWithoutACache:
    def test_no_folder_to_cache_in(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def refuse(*_: object) -> None:
            raise RuntimeError("cannot cache function: no locator available")

        monkeypatch.setattr(numba.core.dispatcher.Dispatcher, "enable_caching", refuse)
        assert compiled()(_double)(21) == 42

    def test_a_full_disk(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def full(*_: object) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(numba.core.caching.FunctionCache, "save_overload", full)
        assert compiled()(_double)(21) == 42

    def test_a_folder_that_cannot_be_written(self, tmp_path: Path) -> None:
        """In a fresh process, as an installation owned by somebody else would have it."""
        unusable = tmp_path / "file"
        unusable.write_text("")
        script = "from ingest.process.numba_compiler import compiled; assert compiled()(lambda x: x * 2)(21) == 42"
        environment = {**os.environ, "NUMBA_CACHE_DIR": str(unusable / "cache")}
        subprocess.run([sys.executable, "-c", script], check=True, env=environment)
