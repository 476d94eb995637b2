"""Runs the Triton kernel in Triton's interpreter, over cases from a file: `python -m tests.interpreted_kernel IN OUT`.

A process of its own, because TRITON_INTERPRET has to be set before anything imports Triton.
"""

from __future__ import annotations

import os
import sys

os.environ["TRITON_INTERPRET"] = "1"

import torch

from ingest.activations.reduction import choice, triton_kernel
from ingest.activations.reduction.reference import LayerSums, Runs

CPU = torch.device("cpu")


def run(case: dict) -> dict[str, torch.Tensor]:
    """Feed a case's batches to the kernel; returns the sums, and the last batch's bins and extremes."""
    triton_kernel.SLAB = case["slab"]
    sums, batch = LayerSums(**case["sums"]), {}
    for x, first, length in case["batches"]:
        runs = Runs.of(first, length, CPU)
        shape = len(length), x.shape[1]
        batch = {
            "bins": torch.full((runs.n_rows, x.shape[1]), 255, dtype=torch.uint8),
            "highest": torch.full(shape, torch.nan),
            "lowest": torch.full(shape, torch.nan),
        }
        triton_kernel.reduce_layer(x, runs, sums, *batch.values())
    return {**vars(sums), **batch}


if __name__ == "__main__":
    results = {name: run(case) for name, case in torch.load(sys.argv[1], weights_only=False).items()}
    # The start-up check, small enough to be interpreted.
    triton_kernel.SLAB, choice._LENGTHS, choice._WIDTH = 16, (1, 9, 35, 20), 40
    results["trusted"] = choice.triton_reducer(CPU) is triton_kernel.reduce_layer
    torch.save(results, sys.argv[2])
    sys.stdout.flush()
    os._exit(0)  # Without tearing down: torch keeps DuckDB's module alive past its end.
