"""Compiled CPU kernels: what torch would need several passes over a congruence tile for, in one.

`ingest.congruence` has the same search in plain torch, which is what runs on a GPU; a test holds the two equal.
Keys are those of `ingest.keys`. A heap's root is its least key, so `heap[row, 0]` is the k-th best so far.
"""

from __future__ import annotations

import numpy as np
from numba import njit, prange

# Let sums and maxima be vectorised; infinities stay honest because thresholds start at -infinity.
_FAST = {"reassoc", "contract", "nsz", "nnan"}
CHUNK = 64


@njit(inline="always")
def _key(value, identity):
    bits = np.float32(value + np.float32(0.0)).view(np.int32)
    ordered = np.int64(bits ^ ((bits >> np.int32(31)) & np.int32(0x7FFFFFFF)))
    return (ordered << np.int64(32)) + (np.int64(0x7FFFFFFF) - np.int64(identity))


@njit(inline="always")
def _value(key):
    if key == np.iinfo(np.int64).min:
        return np.float32(-np.inf)
    ordered = np.int32(key >> np.int64(32))
    bits = ordered ^ ((ordered >> np.int32(31)) & np.int32(0x7FFFFFFF))
    return np.int32(bits).view(np.float32)


@njit
def _push(heap, key):
    """Replace the heap's least key if the new one is greater; returns the value now needed to enter."""
    if key > heap[0]:
        size = heap.shape[0]
        hole = 0
        while True:
            child = 2 * hole + 1
            if child >= size:
                break
            if child + 1 < size and heap[child + 1] < heap[child]:
                child += 1
            if heap[child] >= key:
                break
            heap[hole] = heap[child]
            hole = child
        heap[hole] = key
    return _value(heap[0])


@njit(parallel=True, fastmath=_FAST, cache=True)
def scan_rows(tile, mean, tokens, top, bottom, top_threshold, bottom_threshold, chunk_max, chunk_min, third, fourth):
    """Offer each row's entries to its two heaps, sum its centred powers, and note its chunks' extremes.

    tile [row, column] float32; mean [row] float32; tokens [column] ids; top, bottom [row, k] heaps of keys (bottom's
    of the negated value); thresholds [row] float32; chunk_max, chunk_min [chunk, row] float32 (out);
    third, fourth [row] float64 (added to).
    """
    rows, columns = tile.shape
    chunks = chunk_max.shape[0]
    for row in prange(rows):
        shift = mean[row]
        total3, total4 = 0.0, 0.0
        for chunk in range(chunks):
            start = chunk * CHUNK
            part = tile[row, start : min(start + CHUNK, columns)]
            high, low = part[0], part[0]
            sum3, sum4 = np.float32(0.0), np.float32(0.0)
            for i in range(part.shape[0]):
                value = part[i]
                high = max(high, value)
                low = min(low, value)
                centred = value - shift
                square = centred * centred
                sum3 += square * centred
                sum4 += square * square
            total3 += sum3
            total4 += sum4
            chunk_max[chunk, row] = high
            chunk_min[chunk, row] = low
            if high >= top_threshold[row]:
                for i in range(part.shape[0]):
                    if part[i] >= top_threshold[row]:
                        top_threshold[row] = _push(top[row], _key(part[i], tokens[start + i]))
            if -low >= bottom_threshold[row]:
                for i in range(part.shape[0]):
                    if -part[i] >= bottom_threshold[row]:
                        bottom_threshold[row] = _push(bottom[row], _key(-part[i], tokens[start + i]))
        third[row] += total3
        fourth[row] += total4


@njit(parallel=True, cache=True)
def scan_columns(tile, first_neuron, top, bottom, top_threshold, bottom_threshold, chunk_max, chunk_min):
    """Offer each column's entries to its two heaps; `chunk_max` and `chunk_min` are what `scan_rows` noted.

    tile [row, column] float32; top, bottom [column, k] heaps of keys; thresholds [column] float32.
    """
    rows, columns = tile.shape
    for chunk in prange(chunk_max.shape[0]):
        start = chunk * CHUNK
        stop = min(start + CHUNK, columns)
        least_top = top_threshold[start:stop].min()
        least_bottom = bottom_threshold[start:stop].min()
        for row in range(rows):
            if chunk_max[chunk, row] >= least_top:
                for column in range(start, stop):
                    value = tile[row, column]
                    if value >= top_threshold[column]:
                        top_threshold[column] = _push(top[column], _key(value, first_neuron + row))
                least_top = top_threshold[start:stop].min()
            if -chunk_min[chunk, row] >= least_bottom:
                for column in range(start, stop):
                    value = -tile[row, column]
                    if value >= bottom_threshold[column]:
                        bottom_threshold[column] = _push(bottom[column], _key(value, first_neuron + row))
                least_bottom = bottom_threshold[start:stop].min()
