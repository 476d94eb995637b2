"""Float32 matrix products on a CPU, by the library that this machine multiplies fastest with.

PyTorch multiplies float32 matrices with MKL, which leaves the 512-bit units of other vendors' processors idle. It also
carries oneDNN, which uses them, but calls it for other dtypes only. Both round as float32 does; they sum in another
order.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional
from transformers.pytorch_utils import Conv1D

_PAYS = 1.3
"""How much faster oneDNN must be: what is measured on a busy machine should not change the choice."""


def linear(
    x: Float[Tensor, "*row d_in"], weight: Float[Tensor, "d_out d_in"], bias: Float[Tensor, " d_out"] | None = None
) -> Float[Tensor, "*row d_out"]:
    """`torch.nn.functional.linear`, by oneDNN where `onednn_pays` and all is float32 on the CPU. A gradient goes to
    `x`; a weight that needs one is left to PyTorch."""
    ours = x.dtype == weight.dtype == torch.float32 and x.device.type == weight.device.type == "cpu"
    if not ours or (weight.requires_grad and torch.is_grad_enabled()) or not onednn_pays():
        return functional.linear(x, weight, bias)
    if x.requires_grad and torch.is_grad_enabled():
        return _OneDnn.apply(x, weight, bias)
    return _onednn(x, weight, bias)


def multiply(
    a: Float[Tensor, "row d"], b: Float[Tensor, "column d"], out: Float[Tensor, "row column"]
) -> Float[Tensor, "row column"]:
    """`a @ b.T`, in `out` where the library can write there."""
    if a.dtype == torch.float32 and a.device.type == "cpu" and onednn_pays():
        return _onednn(a, b, None)
    return torch.mm(a, b.T, out=out)


@contextmanager
def true_float32() -> Iterator[None]:
    """For a block, let float32 products be of float32 numbers (no TF32, no bfloat16), and sums of bfloat16 products be
    float32; the process's settings are restored afterwards."""
    precision, matmul = torch.get_float32_matmul_precision(), torch.backends.cuda.matmul
    reduced = matmul.allow_bf16_reduced_precision_reduction
    torch.set_float32_matmul_precision("highest")
    matmul.allow_bf16_reduced_precision_reduction = False
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(precision)
        matmul.allow_bf16_reduced_precision_reduction = reduced


def use_fastest(module: nn.Module) -> None:
    """Let every linear layer of a module multiply by `linear`; their weights stay what and where they are."""
    for part in module.modules():
        if type(part) is nn.Linear:
            part.forward = functools.partial(_of_linear, part)  # type: ignore[method-assign]
        elif type(part) is Conv1D:
            part.forward = functools.partial(_of_conv1d, part)  # type: ignore[method-assign]


def least_seconds(work: Callable[[], object]) -> float:
    """The shortest of five calls."""
    times = []
    for _ in range(5):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return min(times)


@functools.cache
def onednn_pays() -> bool:
    """Whether oneDNN multiplies float32 matrices on this CPU clearly faster than PyTorch by itself, and as exactly."""
    operator = getattr(torch.ops.mkldnn, "_linear_pointwise", None) if torch.backends.mkldnn.is_available() else None
    if operator is None:
        return False
    generator = torch.Generator().manual_seed(0)
    with torch.inference_mode():
        a, b = (torch.randn(n, 576, generator=generator) for n in (512, 2048))
        exact = a.double() @ b.double().T
        try:
            error = (_onednn(a, b, None) - exact).abs().amax()
        except (RuntimeError, NotImplementedError):  # A build of PyTorch without this operator.
            return False
        if not error <= 576 * 2.0**-24 * (a.abs() @ b.abs().T).amax():
            return False
        return least_seconds(lambda: functional.linear(a, b)) > _PAYS * least_seconds(lambda: _onednn(a, b, None))


def _onednn(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    return torch.ops.mkldnn._linear_pointwise(x.contiguous(), weight, bias, "none", [], "")


class _OneDnn(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(weight)
        return _onednn(x, weight, bias)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        (weight,) = ctx.saved_tensors
        return _onednn(gradients[0], weight.T, None), None, None


def _of_linear(part: nn.Linear, x: Tensor) -> Tensor:
    return linear(x, part.weight, part.bias)


def _of_conv1d(part: Any, x: Tensor) -> Tensor:
    return linear(x, part.weight.T, part.bias)
