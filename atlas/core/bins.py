"""The bins of every histogram: a float32's own sign, exponent and top two mantissa bits.

Four bins an octave from 2^-6 to 2^9 on either side of one zero bin, and an open bin at each end. There are no edges
to calibrate, the bin of a value is one integer shift (`ingest` computes it), it is exact on every device, and
histograms of two shards add up.
"""

from __future__ import annotations

import math

BINS_PER_OCTAVE = 4
MIN_EXPONENT = -6  # magnitudes below 2^-6 share the zero bin
MAX_EXPONENT = 9  # magnitudes from 2^9 up share the outermost bins
OCTAVES = MAX_EXPONENT - MIN_EXPONENT
ZERO_BIN = OCTAVES * BINS_PER_OCTAVE + 1
N_BINS = 2 * ZERO_BIN + 1
MAX_INTERVAL = OCTAVES + 1
"""Octaves are numbered like bins: 0 the zero bin, 1 for [2^-6, 2^-5), ..., 16 for 2^9 and more; negative likewise."""


def _positive_edge(step: int) -> float:
    """Lower edge of the step-th positive bin (step 0 starts at 2^-6); infinite past the outermost."""
    if step > OCTAVES * BINS_PER_OCTAVE:
        return math.inf
    octave, quarter = divmod(step, BINS_PER_OCTAVE)
    return 2.0 ** (MIN_EXPONENT + octave) * (1 + quarter / BINS_PER_OCTAVE)


def bin_edges(bin: int) -> tuple[float, float]:
    """Edges of a bin, as (lower, upper) with lower <= activation < upper; the outermost are infinite."""
    if not 0 <= bin < N_BINS:
        raise ValueError(f"bin {bin} is not in 0 to {N_BINS - 1}")
    step = bin - ZERO_BIN
    if step == 0:
        return -_positive_edge(0), _positive_edge(0)
    if step > 0:
        return _positive_edge(step - 1), _positive_edge(step)
    return -_positive_edge(-step), -_positive_edge(-step - 1)


def bin_interval(bin: int) -> int:
    """Octave of a bin, -16 to 16 (0 for the zero bin)."""
    step = bin - ZERO_BIN
    octave = math.ceil(abs(step) / BINS_PER_OCTAVE)
    return octave if step >= 0 else -octave


def interval_edges(interval: int) -> tuple[float, float]:
    """Edges of an octave, as (lower, upper) with lower <= activation < upper; the outermost are infinite."""
    bins = [b for b in range(N_BINS) if bin_interval(b) == interval]
    if not bins:
        raise ValueError(f"interval {interval} is not in {-MAX_INTERVAL} to {MAX_INTERVAL}")
    return bin_edges(bins[0])[0], bin_edges(bins[-1])[1]
