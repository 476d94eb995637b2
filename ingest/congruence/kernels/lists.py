"""Functions of the kernels: keys of `ingest.process.sort_keys`, lists sorted best first, and bounds on a k-th greatest
value."""

from __future__ import annotations

import numpy as np
from numba import njit

from ingest.congruence.kernels.vectors import WIDTH, at_least, bits_in, extremes

_EMPTY = np.iinfo(np.int64).min
TINY = np.float32(1e-30)
"""Added to every bound: more than any underflow in a product can hide."""


BISECTIONS = 14
"""Halvings of the range in which a k-th greatest value is sought."""


@njit(inline="always")
def key_of(value, identity):
    """As `ingest.process.sort_keys.encode`: float32 value above the complement of the id."""
    bits = np.float32(value + np.float32(0.0)).view(np.int32)
    ordered = np.int64(bits ^ ((bits >> np.int32(31)) & np.int32(0x7FFFFFFF)))
    return (ordered << np.int64(32)) + (np.int64(0x7FFFFFFF) - np.int64(identity))


@njit(inline="always")
def value_of(key):
    """As `ingest.process.sort_keys.decode_values`."""
    if key == _EMPTY:
        return np.float32(-np.inf)
    ordered = np.int32(key >> np.int64(32))
    bits = ordered ^ ((ordered >> np.int32(31)) & np.int32(0x7FFFFFFF))
    return np.int32(bits).view(np.float32)


@njit
def insert(ranked, key):
    """Put a key into its place of a list sorted best first, whose last key drops out; returns the value that is now
    needed to enter.

    Every place takes the middle one of itself, the place before it and the key: no branch, and whole vectors at once.
    """
    for place in range(ranked.shape[0] - 1, 0, -1):
        ranked[place] = max(ranked[place], min(ranked[place - 1], key))
    ranked[0] = max(ranked[0], key)
    return value_of(ranked[ranked.shape[0] - 1])


@njit
def surely_reached(values, size, k):
    """A value that at least k of the first `size` values reach, and few more: by bisection, k at most `size`.

    values: float32, -infinity from `size` up to a multiple of WIDTH; infinite nowhere else.
    """
    whole = size // WIDTH * WIDTH
    low, high = values[0], values[0]
    for start in range(0, whole, WIDTH):
        most, least = extremes(values, start)
        low, high = min(low, least), max(high, most)
    for index in range(whole, size):
        low, high = min(low, values[index]), max(high, values[index])
    for _ in range(BISECTIONS):
        middle = low + (high - low) * np.float32(0.5)
        count = 0
        for start in range(0, size, WIDTH):
            count += bits_in(at_least(values, start, middle))
        if count >= k:
            low = middle
        else:
            high = middle
    return low
