"""A bound on the error of an approximate product, by which a cheap product can exclude candidates.

Let a GEMM multiply w' and r' instead of the vectors w and r, with the result c'. Then (by Cauchy-Schwarz, and the error
of a sum of n products in any order, g = n u / (1 - n u), u = 2^-24: Higham, Accuracy and Stability of Numerical
Algorithms, 2nd ed., section 3.1):

    |w.r - c'|  <=  |w| |r - r'| + |w - w'| |r'| + g |w'| |r'|

and a product that is itself rounded to bfloat16 has a further error of 2^-8 of its value. The kernels add 1e-30 for
underflow.
"""

from __future__ import annotations

import functools
from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor

from ingest.process.product import least_seconds, linear, true_float32

ROUNDING = {torch.float32: 0.0, torch.bfloat16: 2.0**-8 * 1.01}
"""Relative error of a product as it is written, by dtype of the GEMM."""
LARGEST = 1e12
"""Entries above this are not multiplied in bfloat16, as products might overflow."""
_SLACK = 1 + 1e-3  # For the float32 arithmetic of the bounds themselves.
_PAYS = 1.4


def row_bound(exact: Float[Tensor, "row d_model"], approximate: Float[Tensor, "row d_model"]) -> Float[Tensor, "2 row"]:
    """|w| and |w - w'| + g |w'| of each row: see the module. `approximate` has the GEMM's dtype; float32 results."""
    norm, error, approximate_norm = _norms(exact, approximate)
    # Twice the sum's bound and a little more covers the later roundings: to float32, of thresholds.
    summing = (2 * exact.shape[1] + 64) * 2.0**-24
    return (torch.stack([norm, error + summing * approximate_norm + 1e-30]) * _SLACK).to(torch.float32)


def column_bound(
    exact: Float[Tensor, "column d_model"], approximate: Float[Tensor, "column d_model"], width: int
) -> Float[Tensor, "2 chunk"]:
    """|r - r'| and |r'|, the greatest of each chunk of `width` columns (the last may be narrower), float32."""
    _, error, approximate_norm = _norms(exact, approximate)
    both = torch.nn.functional.pad(torch.stack([error + 1e-30, approximate_norm]), (0, -len(exact) % width))
    greatest = both.view(2, -1, width).amax(2)
    return (greatest * _SLACK).to(torch.float32)


def _norms(exact: Float[Tensor, "row d"], approximate: Float[Tensor, "row d"]) -> tuple[Float[Tensor, " row"], ...]:
    """Norms of exact rows, of their rounding errors, and of the approximate rows, in small parts."""
    parts = []
    for rows, rounded in zip(exact.split(4096), approximate.split(4096), strict=True):
        wide = rounded.to(torch.float32)
        error = rows - wide  # Two neighbours of one magnitude: the difference is exact.
        parts.append(
            torch.stack([torch.linalg.vector_norm(x, dim=1, dtype=torch.float64) for x in (rows, error, wide)])
        )
    return tuple(torch.cat(parts, dim=1))


@functools.cache
def bfloat16_pays(device: torch.device) -> bool:
    """Whether this device multiplies bfloat16 matrices within the bound, and clearly faster than float32 ones: measured
    on a CPU; a GPU must have units for them."""
    if device.type == "cpu" and not (
        torch.backends.mkldnn.is_available() and torch.ops.mkldnn._is_mkldnn_bf16_supported()
    ):
        return False
    generator = torch.Generator().manual_seed(0)
    exact = torch.randn(1536, 512, generator=generator).to(device)
    approximate = exact.to(torch.bfloat16)
    with true_float32():
        product = approximate[:512] @ approximate[512:].T
    exact_product = exact[:512].double() @ exact[512:].double().T
    norm, error = row_bound(exact[:512], approximate[:512])
    other = column_bound(exact[512:], approximate[512:], 1)
    bound = norm[:, None] * other[0] + error[:, None] * other[1] + ROUNDING[torch.bfloat16] * product.abs()
    if not ((exact_product - product).abs() <= bound).all():
        return False
    if device.type != "cpu":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    fast, slow = (least_seconds(partial(linear, part[:512], part[512:])) for part in (approximate, exact))
    return slow > _PAYS * fast
