"""How far an approximate product can be from the exact one: what lets a cheap product decide what not to look at.

With w' and r' what a GEMM is given for the vectors w and r, and c' what it makes of them (Cauchy-Schwarz, and the
error of a sum of n products in any order, g = n u / (1 - n u), u = 2^-24: Higham, Accuracy and Stability of Numerical
Algorithms, 2nd ed., section 3.1):

    |w.r - c'|  <=  |w| |r - r'| + |w - w'| |r'| + g |w'| |r'|

and a product that is itself rounded to bfloat16 is off by 2^-8 of its value more. The kernels add 1e-30 for underflow.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

ROUNDING = {torch.float32: 0.0, torch.bfloat16: 2.0**-8 * 1.01}
"""Relative error of a product as it is written, by dtype of the GEMM."""
LARGEST = 1e12
"""Entries above this are not multiplied in bfloat16, as products might overflow."""
_SLACK = 1 + 1e-3  # For the float32 arithmetic that the bounds themselves are in.
_PAYS = 1.4


def row_bound(exact: Float[Tensor, "row d_model"], given: Float[Tensor, "row d_model"]) -> Float[Tensor, "2 row"]:
    """|w| and |w - w'| + g |w'| of each row: see the module. `given` is of the GEMM's dtype; float32 results."""
    norm, error, given_norm = _norms(exact, given)
    # Twice the sum's bound and some more pays for the roundings that follow: to float32, of thresholds.
    summing = (2 * exact.shape[1] + 64) * 2.0**-24
    return (torch.stack([norm, error + summing * given_norm + 1e-30]) * _SLACK).to(torch.float32)


def column_bound(
    exact: Float[Tensor, "column d_model"], given: Float[Tensor, "column d_model"], width: int
) -> Float[Tensor, "2 chunk"]:
    """|r - r'| and |r'|, the greatest of each chunk of `width` columns (the last may be narrower), float32."""
    _, error, given_norm = _norms(exact, given)
    both = torch.nn.functional.pad(torch.stack([error + 1e-30, given_norm]), (0, -len(exact) % width))
    greatest = both.view(2, -1, width).amax(2)
    return (greatest * _SLACK).to(torch.float32)


def _norms(exact: Float[Tensor, "row d"], given: Float[Tensor, "row d"]) -> tuple[Float[Tensor, " row"], ...]:
    """Norms of exact rows, of their rounding errors, and of the given rows, in parts that stay small."""
    parts = []
    for rows, rounded in zip(exact.split(4096), given.split(4096), strict=True):
        wide = rounded.to(torch.float32)
        error = rows - wide  # Two neighbours of one magnitude: the difference is exact.
        parts.append(torch.stack([_norm(rows), _norm(error), _norm(wide)]))
    return tuple(torch.cat(parts, dim=1))


def _norm(rows: Float[Tensor, "row d"]) -> Float[Tensor, " row"]:
    """Norm of each row, float64; summed in float32 where squares can neither overflow nor vanish."""
    norm = torch.linalg.vector_norm(rows, dim=1)
    if ((norm < 1 / LARGEST) | (norm > LARGEST)).any():
        return torch.linalg.vector_norm(rows, dim=1, dtype=torch.float64)
    return norm.to(torch.float64)


@functools.cache
def bfloat16_pays() -> bool:
    """Whether this CPU multiplies bfloat16 matrices, as the certificate has it, clearly faster than float32 ones."""
    if not (torch.backends.mkldnn.is_available() and torch.ops.mkldnn._is_mkldnn_bf16_supported()):
        return False
    generator = torch.Generator().manual_seed(0)
    exact = torch.randn(1536, 512, generator=generator)
    given = exact.to(torch.bfloat16)
    product, wanted = given[:512] @ given[512:].T, exact[:512].double() @ exact[512:].double().T
    norm, error = row_bound(exact[:512], given[:512])
    other = column_bound(exact[512:], given[512:], 1)
    bound = norm[:, None] * other[0] + error[:, None] * other[1] + ROUNDING[torch.bfloat16] * product.abs()
    if not ((wanted - product).abs() <= bound).all():
        return False
    seconds = [_least_seconds(lambda matrix=matrix: matrix[:512] @ matrix[512:].T) for matrix in (exact, given)]
    return seconds[0] > _PAYS * seconds[1]


def _least_seconds(work: Callable[[], object]) -> float:
    times = []
    for _ in range(5):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return min(times)
