"""The version of `reduce_layer` for a device. A kernel must first agree with plain torch on that device."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from atlas.core.bins import N_BINS
from ingest.activations.reduction import reference
from ingest.activations.reduction.exact import LIMBS, central_moments
from ingest.activations.reduction.reference import LayerSums, Runs

Reduce = Callable[..., None]
"""Called like `ingest.activations.reduction.reference.reduce_layer`."""

logger = logging.getLogger(__name__)
_LENGTHS = (1, 37, 1030, 200)  # A single row, ragged ends, a text of more than one slab.
_WIDTH = 208  # Not a whole number of the kernel's blocks.
_TOLERANCE = 1e-4


@functools.cache
def triton_reducer(device: torch.device) -> Reduce:
    """The Triton kernels, or plain torch where Triton is missing or its kernels fail their check; tried once."""
    try:
        from ingest.activations.reduction import triton_kernel  # Only CUDA needs Triton.
    except ImportError as error:
        return _plain(device, f"Triton cannot be loaded ({error})")
    return checked(triton_kernel.reduce_layer, device)


def checked(reduce_layer: Reduce, device: torch.device) -> Reduce:
    """`reduce_layer` if it agrees with the plain version on the device; else the plain version."""
    try:
        fault = first_difference(reduce_layer, device)
    except Exception as error:  # Compilers and drivers raise any exception; the plain version needs neither.
        message = str(error).strip() or "no message"
        fault = f"{type(error).__name__}: {message.splitlines()[0]}"
    return reduce_layer if fault is None else _plain(device, f"the kernel failed its check ({fault})")


def _plain(device: torch.device, why: str) -> Reduce:
    logger.warning("Activations are reduced by plain torch on %s, which is slower: %s.", device, why)
    return reference.reduce_layer


def first_difference(reduce_layer: Reduce, device: torch.device) -> str | None:
    """The first quantity in which `reduce_layer` differs from the plain version on made-up activations; None if none.

    Moments may differ by rounding, 1e-4 of the standard deviation's powers; all else must be equal.
    """
    for dtype in (torch.bfloat16, torch.float32):
        results, expected = (_probe(function, dtype, device) for function in (reduce_layer, reference.reduce_layer))
        spread = expected["moments"][1].sqrt()
        unit = torch.stack([spread, spread**2, spread**3, spread**4])
        for name, plain in expected.items():
            slack = _TOLERANCE * unit if name == "moments" else torch.zeros_like(plain)
            if not bool(((results[name] == plain) | ((results[name] - plain).abs() <= slack)).all()):
                return f"{name} differ in {str(dtype).removeprefix('torch.')}"
    return None


def _probe(reduce_layer: Reduce, dtype: torch.dtype, device: torch.device) -> dict[str, Tensor]:
    """The results of two batches of made-up activations: both signs, zeros, the histogram's ends, means far from
    zero."""
    generator = torch.Generator().manual_seed(0)
    length = np.array(_LENGTHS)
    pos = int(length.max()) + 3  # A position before each run, and padding behind it.
    x = torch.randn(len(length) * pos, _WIDTH, generator=generator)
    x = x * torch.logspace(-3, 3, _WIDTH) + torch.linspace(-2, 2, _WIDTH)
    x[::7] = 0.0
    runs = Runs.of(np.arange(len(length)) * pos + 1, length, device)
    batch = {
        "bins": torch.zeros(runs.n_rows, _WIDTH, dtype=torch.uint8, device=device),
        "highest": torch.zeros(len(length), _WIDTH, device=device),
        "lowest": torch.zeros(len(length), _WIDTH, device=device),
    }
    sums = LayerSums(
        counts=torch.zeros(_WIDTH * N_BINS, dtype=torch.int64, device=device),
        powers=torch.zeros(4, LIMBS, _WIDTH, dtype=torch.int64, device=device),
        positive=torch.zeros(_WIDTH, dtype=torch.int64, device=device),
        minimum=torch.full((_WIDTH,), torch.inf, device=device),
        maximum=torch.full((_WIDTH,), -torch.inf, device=device),
    )
    for scale in (1.0, 3.0):
        reduce_layer((x * scale).to(device, dtype), runs, sums, *batch.values())
    results = {**batch, **vars(sums)}
    moments = central_moments(2 * runs.n_rows, results.pop("powers").cpu().numpy())
    return {**results, "moments": torch.from_numpy(moments).to(device)}


def layer_reducer(device: torch.device) -> Reduce:
    """The fastest `reduce_layer` for a device."""
    if device.type == "cuda":
        return triton_reducer(device)
    if device.type != "cpu":
        return reference.reduce_layer
    from ingest.activations.reduction import cpu  # Numba takes a second to load, and only the CPU needs it.

    return cpu.reduce_layer
