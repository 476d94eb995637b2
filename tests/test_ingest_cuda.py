"""The CUDA path, as far as a machine without a GPU can tell: kernels interpreted, compiled, and refused when wrong."""

from __future__ import annotations

import logging
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from atlas.core.bins import N_BINS
from ingest.activations.reduction import choice, reference
from ingest.activations.reduction.exact import LIMBS, central_moments
from tests import brute

CPU = torch.device("cpu")
ROOT = Path(__file__).resolve().parent.parent


def needs_triton():
    """Triton, in a version whose interpreter takes NumPy 2.4; those that come with PyTorch 2.6 and 2.7 do not."""
    return pytest.importorskip("triton", minversion="3.7", reason="these tests need Triton 3.7 or newer")


def make_batch(seed: int, lengths: list[int], d_mlp: int, dtype: torch.dtype) -> tuple:
    """Activations with NaN wherever nothing is counted, and where each text's counted rows are."""
    rng = np.random.default_rng(seed)
    width = max(lengths) + 2
    values = rng.normal(rng.uniform(-3, 3, d_mlp), rng.uniform(0.05, 4, d_mlp), (len(lengths) * width, d_mlp))
    values[rng.random(values.shape) < 0.1] = 0.0
    values[rng.random(values.shape) < 0.02] *= 300
    first = np.arange(len(lengths)) * width + 1
    x = torch.full(values.shape, torch.nan).to(dtype)
    for start, n in zip(first, lengths, strict=True):
        x[start : start + n] = torch.from_numpy(values[start : start + n]).to(dtype)
    return x, first, np.array(lengths)


def make_case(dtype: torch.dtype, d_mlp: int, slab: int, *lengths: list[int]) -> dict:
    sums = {
        "counts": torch.zeros(d_mlp * N_BINS, dtype=torch.int64),
        "powers": torch.zeros(4, LIMBS, d_mlp, dtype=torch.int64),
        "positive": torch.zeros(d_mlp, dtype=torch.int64),
        "minimum": torch.full((d_mlp,), torch.inf),
        "maximum": torch.full((d_mlp,), -torch.inf),
    }
    batches = [make_batch(seed, part, d_mlp, dtype) for seed, part in enumerate(lengths)]
    return {"sums": sums, "batches": batches, "slab": slab}


CASES = {
    "float32": make_case(torch.float32, 70, 1024, [5, 17, 1, 33], [8]),
    "bfloat16, two batches": make_case(torch.bfloat16, 70, 1024, [40, 3], [7, 7, 7]),
    "texts longer than a slab": make_case(torch.bfloat16, 24, 32, [90, 1, 32, 33]),
    "several texts a program": make_case(torch.float32, 16, 32, [9] * 11, [32] * 3),
}


@pytest.fixture(scope="module")
def interpreted(tmp_path_factory: pytest.TempPathFactory) -> dict:
    """What the kernel gives for every case, in Triton's interpreter."""
    needs_triton()
    folder = tmp_path_factory.mktemp("kernel")
    torch.save(CASES, folder / "cases")
    command = [sys.executable, "-m", "tests.interpreted_kernel", str(folder / "cases"), str(folder / "results")]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert (folder / "results").exists(), result.stderr[-3000:]
    return torch.load(folder / "results", weights_only=False)


@pytest.mark.parametrize("name", CASES)
def test_the_kernel_gives_what_float64_loops_give(name: str, interpreted: dict) -> None:
    case, found = CASES[name], interpreted[name]
    texts = [
        [x[start : start + n].double().numpy() for start, n in zip(first, length, strict=True)]
        for x, first, length in case["batches"]
    ]
    last = texts[-1]
    np.testing.assert_array_equal(found["bins"], np.concatenate([brute.bins_of(text) for text in last]))
    np.testing.assert_array_equal(found["highest"], np.stack([text.max(0) for text in last]))
    np.testing.assert_array_equal(found["lowest"], np.stack([text.min(0) for text in last]))
    rows = np.concatenate([text for part in texts for text in part])
    d_mlp = rows.shape[1]
    counts = [np.bincount(brute.bins_of(rows[:, neuron]), minlength=N_BINS) for neuron in range(d_mlp)]
    np.testing.assert_array_equal(found["counts"].view(d_mlp, N_BINS), counts)
    np.testing.assert_array_equal(found["positive"], (rows > 0).sum(0))
    np.testing.assert_array_equal(found["maximum"], rows.max(0))
    np.testing.assert_array_equal(found["minimum"], rows.min(0))
    mean, spread = rows.mean(0), rows.std(0)
    moments = central_moments(len(rows), found["powers"].numpy())
    np.testing.assert_allclose(moments[0], mean, atol=1e-6 * spread.max(), rtol=1e-6)
    for power in (2, 3, 4):
        error = np.abs(moments[power - 1] - ((rows - mean) ** power).mean(0))
        assert (error <= 3e-6 * ((np.abs(rows - mean) ** power).mean(0) + spread**power)).all()


def test_the_kernel_passes_its_start_up_check(interpreted: dict) -> None:
    assert interpreted["trusted"]


@pytest.mark.parametrize("capability", [80, 90])
def test_the_kernels_compile_for_cuda(capability: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """To machine code for an A100 and an H100: no GPU is needed for that."""
    triton = needs_triton()
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    from ingest.activations.reduction import triton_kernel as kernels

    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    integers = {"n_texts", "texts_each", "d_mlp", "stride", "n_parts", "n_rows"}
    pointers = {
        "x": "*bf16",
        "first": "*i64",
        "length": "*i64",
        "out": "*i64",
        "bins": "*u8",
        "by_neuron": "*u8",
        "high": "*fp32",
        "low": "*fp32",
        "parts": "*fp64",
        "counts": "*i64",
        "powers": "*i64",
        "positive": "*i64",
    }
    constants = {
        kernels._reduce_runs: {name: getattr(kernels, name) for name in ("SLAB", "ROWS", "NEURONS", "STAGES")},
        kernels._count_bins: {"ROWS": kernels.COUNT_ROWS},
        kernels._fold_moments: {"NEURONS": kernels.FOLD_NEURONS},
    }
    for kernel, constant in constants.items():
        kinds = dict.fromkeys(constant, "constexpr") | dict.fromkeys(integers, "i32") | pointers
        signature = {name: kinds[name] for name in kernel.arg_names}
        aligned = {(i,): [["tt.divisibility", 16]] for i, name in enumerate(kernel.arg_names) if name in pointers}
        source = ASTSource(fn=kernel, signature=signature, constexprs=constant, attrs=aligned)
        options = {"enable_fp_fusion": True}
        compiled = triton.compile(source, target=GPUTarget("cuda", capability, 32), options=options)
        assert len(compiled.asm["cubin"]) > 1000


@pytest.mark.parametrize("quantity", ["counts", "moments", "positive", "maximum"])
def test_a_kernel_that_is_wrong_is_not_used(quantity: str, caplog: pytest.LogCaptureFixture) -> None:
    def wrong(x, runs, sums, *batch) -> None:
        reference.reduce_layer(x, runs, sums, *batch)
        name = "powers" if quantity == "moments" else quantity
        getattr(sums, name).view(-1)[-1] *= 1.01 if quantity == "maximum" else 0

    with caplog.at_level(logging.WARNING):
        assert choice.checked(wrong, CPU) is reference.reduce_layer
    assert [record.getMessage() for record in caplog.records] == [
        "Activations are reduced by plain torch on cpu, which is slower: the kernel failed its check "
        f"({quantity} differ in bfloat16)."
    ]


def test_a_kernel_that_cannot_run_is_not_used(caplog: pytest.LogCaptureFixture) -> None:
    def broken(*arguments: object) -> None:
        raise RuntimeError("PTX was compiled with an unsupported toolchain\nand more")

    assert choice.checked(broken, CPU) is reference.reduce_layer
    assert "(RuntimeError: PTX was compiled with an unsupported toolchain)" in caplog.text
    assert len(caplog.records) == 1


def test_without_triton_plain_torch_runs(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setitem(sys.modules, "ingest.activations.reduction.triton_kernel", None)
    monkeypatch.delattr("ingest.activations.reduction.triton_kernel", raising=False)
    choice.triton_reducer.cache_clear()
    assert choice.triton_reducer(CPU) is reference.reduce_layer
    choice.triton_reducer.cache_clear()
    assert "which is slower: Triton cannot be loaded (" in caplog.text


def test_the_plain_version_passes_its_own_check() -> None:
    assert choice.first_difference(reference.reduce_layer, CPU) is None
