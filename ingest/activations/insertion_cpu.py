"""Compiled kernels of the insertion into example lists on a CPU (`ingest.activations.example_lists.update_lists`).

The first kernel inserts keys, neuron by neuron, and settles which texts stay; the second reads the columns of those
texts from the activations and describes them. A neuron's places depend on its own column only, and its slots are
counted off in neuron order, so the result does not depend on the number of threads.
"""

from __future__ import annotations

import numpy as np
from numba import njit, prange

from ingest.process.numba_compiler import compiled

_WIDTH = 32  # Neurons a thread takes at a time: one or two cache lines of a row.
_FRESH, _NONE = -1, -2
_FEW = 2  # Up to this many columns are read in place; more columns of a block are copied out together.
_LARGEST = np.float32(32767.0)
_ZERO = np.float32(0.0)


@compiled(parallel=True, nogil=True)
def enter(group, key, keys, slots, entered, n_fresh):
    """Insert keys; a place taken by text t of this batch has slot -2 - t until `describe` gives it its own.

    group, key [text, d_mlp], keys, slots [group, k] (updated) int64. entered [text, d_mlp] int64 (out): the slot a text
    takes over, _FRESH for a new one, _NONE where it does not stay; n_fresh [d_mlp] int64 (out).
    """
    n_texts, d_mlp = group.shape
    last = keys.shape[1] - 1
    for block in prange((d_mlp + _WIDTH - 1) // _WIDTH):
        start, stop = block * _WIDTH, min(block * _WIDTH + _WIDTH, d_mlp)
        for text in range(n_texts):
            for neuron in range(start, stop):
                here, offer = group[text, neuron], key[text, neuron]
                entered[text, neuron] = _NONE
                if offer <= keys[here, last]:
                    continue
                slot = slots[here, last]
                if slot <= _NONE:  # A text of this batch leaves, and passes on the slot it took over.
                    other = _NONE - slot
                    slot = entered[other, neuron]
                    entered[other, neuron] = _NONE
                place = last
                while place > 0 and keys[here, place - 1] < offer:
                    keys[here, place], slots[here, place] = keys[here, place - 1], slots[here, place - 1]
                    place -= 1
                keys[here, place], slots[here, place] = offer, _NONE - text
                entered[text, neuron] = slot
        for neuron in range(start, stop):
            n_fresh[neuron] = 0
            for text in range(n_texts):
                n_fresh[neuron] += entered[text, neuron] == _FRESH


@compiled(parallel=True, nogil=True, error_model="numpy")
def describe(
    x,
    shift,
    first,
    length,
    text_id,
    first_position,
    extreme,
    group,
    slots,
    entered,
    fresh,
    pool_text,
    pool_position,
    pool_activation,
    pool_window_start,
    pool_window_length,
    pool_scale,
    pool_window,
):
    """Give every entered text its slot, and fill it.

    x [flat, d_mlp] int32 or int16 bits; first, length, text_id [text] int64. From `extreme` on, tuples with an array
    for each kind of list (they share the reading of the activations): extreme [text, d_mlp] float32; fresh [d_mlp]
    int64: each neuron's first new slot; group, slots, entered as in `enter`; pool_* [slot] (out), as in `ExampleLists`.
    """
    d_mlp = x.shape[1]
    pitch = length.max()
    for block in prange((d_mlp + _WIDTH - 1) // _WIDTH):
        start, stop = block * _WIDTH, min(block * _WIDTH + _WIDTH, d_mlp)
        column_bits = np.empty((_WIDTH, pitch), dtype=np.int32)
        columns = column_bits.view(np.float32)
        tile = np.empty((pitch, _WIDTH), dtype=np.int32)
        chosen = np.empty(_WIDTH, dtype=np.int64)
        column_of = np.empty(_WIDTH, dtype=np.int64)
        for text in range(len(first)):
            n = 0
            for j in range(stop - start):
                column_of[j] = -1
                for kind in range(len(group)):
                    if entered[kind][text, start + j] != _NONE:
                        column_of[j] = n
                if column_of[j] == n:
                    chosen[n] = j
                    n += 1
            if n == 0:
                continue
            if n > _FEW:
                _copy(x, first[text], length[text], start, stop, shift, tile)
                for row in range(length[text]):
                    for i in range(n):
                        column_bits[i, row] = tile[row, chosen[i]]
            else:
                for row in range(length[text]):
                    for i in range(n):
                        column_bits[i, row] = np.int32(x[first[text] + row, start + chosen[i]]) << shift
            for kind in range(len(group)):
                for j in range(stop - start):
                    neuron = start + j
                    slot = entered[kind][text, neuron]
                    if slot == _NONE:
                        continue
                    if slot == _FRESH:
                        slot = fresh[kind][neuron]
                        fresh[kind][neuron] += 1
                    _settle(slots[kind][group[kind][text, neuron]], _NONE - text, slot)
                    column, value = columns[column_of[j], : length[text]], extreme[kind][text, neuron]
                    at = _find(column, value)
                    begin, size, scale = _quantise(column, at, pool_window[kind][slot])
                    pool_text[kind][slot] = text_id[text]
                    pool_position[kind][slot] = first_position + at
                    pool_activation[kind][slot] = value
                    pool_window_start[kind][slot] = first_position + begin
                    pool_window_length[kind][slot] = size
                    pool_scale[kind][slot] = scale


@njit
def _copy(x, first, n, start, stop, shift, tile):
    """Copy n rows of a block as float32 bits: nothing else, so that many cache misses are under way at once."""
    for row in range(n):
        line, to = x[first + row, start:stop], tile[row, : stop - start]
        for j in range(stop - start):
            to[j] = np.int32(line[j]) << shift


@njit
def _settle(places, pending, slot):
    """Replace the mark of a pending text by its slot."""
    for place in range(len(places)):
        if places[place] == pending:
            places[place] = slot
            return


@njit
def _find(column, value):
    """First place of a value (0 if it is nowhere: it is NaN, and the run will stop)."""
    for place in range(len(column)):
        if column[place] == value:
            return place
    return 0


@njit(error_model="numpy")
def _quantise(column, at, window):
    """Fill a window of 16 bits around `at`, three quarters of it before; returns its start, its size and the scale."""
    begin = max(0, min(max(at - len(window) * 3 // 4, 0), len(column) - len(window)))
    size = min(len(column) - begin, len(window))
    values = column[begin : begin + size]
    largest = _ZERO
    for i in range(size):
        largest = max(largest, abs(values[i]))
    scale = largest / _LARGEST
    if scale > _ZERO:
        for i in range(size):
            window[i] = np.int16(min(max(np.rint(values[i] / scale), -_LARGEST), _LARGEST))
    else:
        window[:size] = 0
    window[size:] = 0
    return begin, size, scale
