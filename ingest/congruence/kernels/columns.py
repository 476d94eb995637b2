"""Lists of columns (tokens): fed tile by tile with the entries that a pass over the tile has marked."""

from __future__ import annotations

import numpy as np
from numba import prange

from ingest.congruence.kernels.lists import TINY, insert, key_of, surely_reached, value_of
from ingest.congruence.kernels.vectors import WIDTH, dot, lowest_bit, widened
from ingest.process.numba_compiler import compiled

BATCH = 256


@compiled(parallel=True)
def offer_columns(reached, tile, exact, weights, readout, first_row, first_column, lists, thresholds):
    """Offer the marked entries to their columns' lists.

    reached [2, chunk, row] as `scan_tile` notes it; tile [row, column] float32 or bfloat16 as uint16; exact: whether
    values are the inner products of weights [row, d] and readout [column of all tiles, d], float32, or those of the
    tile; first_row: id of row 0; first_column: the tile's first; lists [2, column of all tiles, k] keys, sorted best
    first (the second of negated values); thresholds [2, column of all tiles] float32, the value of each list's last
    key.
    """
    for chunk in prange(reached.shape[1]):
        rows, columns = np.empty(BATCH, dtype=np.int64), np.empty(BATCH, dtype=np.int64)
        values = np.empty(BATCH, dtype=np.float32)
        for direction in range(2):
            row, mask, last = -1, np.uint64(0), reached.shape[2] - 1
            while row < last or mask != 0:
                # A batch is marked, then valued, then offered: fetching one value does not wait for another.
                count = 0
                while count < BATCH and (row < last or mask != 0):
                    if mask == 0:
                        row += 1
                        mask = reached[direction, chunk, row]
                    else:
                        rows[count], columns[count] = row, chunk * WIDTH + lowest_bit(mask)
                        mask &= mask - np.uint64(1)
                        count += 1
                for i in range(count):
                    if exact:
                        values[i] = dot(weights[rows[i]], readout[first_column + columns[i]])
                    else:
                        values[i] = widened(tile[rows[i], columns[i]])
                for i in range(count):
                    column, value = first_column + columns[i], -values[i] if direction else values[i]
                    if value >= thresholds[direction, column]:
                        key = key_of(value, first_row + rows[i])
                        thresholds[direction, column] = insert(lists[direction, column], key)


@compiled(parallel=True)
def seed_columns(tile, row_bound, column_bound, rounding, first_column, lists, limits):
    """Raise each column's limits to a value that k entries of its list and of this tile surely reach. This saves most
    offers while few rows have been seen, when a list's own k-th value is low.

    tile [row, column] float32 or bfloat16 as uint16; bounds as in `scan_tile`; rounding: relative error of the tile's
    own values; lists as in `offer_columns`; limits [2, column] float32, the second for negated values (in and out).
    """
    rows, columns = tile.shape
    k = lists.shape[2]
    # The greatest of a few rows represents them: fewer values to search, and k groups that reach a value hold k
    # entries.
    group = max(1, rows // (4 * k))
    groups = rows // group
    size = (groups + k + WIDTH - 1) // WIDTH * WIDTH
    for chunk in prange(columns // WIDTH):
        surely = np.empty((2, WIDTH, size), dtype=np.float32)
        most = np.empty((2, WIDTH), dtype=np.float32)
        surely[:, :, groups:] = -np.inf
        for index in range(groups):
            most[:] = -np.inf
            for row in range(index * group, (index + 1) * group):
                error = row_bound[0, row] * column_bound[0, chunk] + row_bound[1, row] * column_bound[1, chunk] + TINY
                for j in range(WIDTH):
                    value = widened(tile[row, chunk * WIDTH + j])
                    off = abs(value) * rounding + error
                    most[0, j] = max(most[0, j], value - off)
                    most[1, j] = max(most[1, j], -value - off)
            for j in range(WIDTH):
                surely[0, j, index] = most[0, j]
                surely[1, j, index] = most[1, j]
        for direction in range(2):
            for j in range(WIDTH):
                local = chunk * WIDTH + j
                filled = 0
                if first_column + local < lists.shape[1]:
                    for place in range(k):
                        value = value_of(lists[direction, first_column + local, place])
                        if value > -np.inf:
                            surely[direction, j, groups + filled] = value
                            filled += 1
                if groups + filled >= k:
                    least = surely_reached(surely[direction, j], groups + filled, k)
                    limits[direction, local] = max(limits[direction, local], least)
