"""The pass over a tile of products while it is in the cache: extremes of chunks, entries for columns, powers."""

from __future__ import annotations

import numpy as np
from numba import prange

from ingest.congruence.kernels.lists import TINY
from ingest.congruence.kernels.vectors import WIDTH, each_at_least, each_at_most, extremes
from ingest.process.numba_compiler import compiled


# Sums go in many float32 lanes, which is faster and more exact than one; a tile's row is short.
@compiled(parallel=True, fastmath={"reassoc", "contract", "nsz", "nnan"})
def scan_tile(tile, row_bound, column_bound, limits, first_chunk, chunk_best, reached, mean, real, powers):
    """Scan a tile of products.

    tile [row, column] float32 or bfloat16 as uint16, a multiple of WIDTH columns; row_bound [2, row] and column_bound
    [2, chunk] float32: an exact product differs from the tile's by at most the sum over the first axis of their
    products; limits [2, column] float32: an exact product that is at least the first or at most the second may enter
    that column's list; first_chunk: the tile's first; chunk_best [2, row, chunk of all tiles] (out): greatest value of
    a chunk, and greatest of the negated values; reached [2, chunk, row] uint64 (out): the columns of a chunk whose
    limit may be reached, a bit each, unless there are no chunks; mean [row] float32; powers [2, row] float64: sums of
    third and fourth powers of (value - mean) over the first `real` columns are added, unless there are no rows.
    """
    rows, columns = tile.shape
    for row in prange(rows):
        values = tile[row]
        for chunk in range(columns // WIDTH):
            start = chunk * WIDTH
            high, low = extremes(values, start)
            chunk_best[0, row, first_chunk + chunk] = high
            chunk_best[1, row, first_chunk + chunk] = -low
            if reached.shape[1] > 0:
                error = row_bound[0, row] * column_bound[0, chunk] + row_bound[1, row] * column_bound[1, chunk] + TINY
                reached[0, chunk, row] = each_at_least(values, limits[0], start, -error)
                reached[1, chunk, row] = each_at_most(values, limits[1], start, error)
        if powers.shape[1] > 0:
            shift = mean[row]
            third, fourth = np.float32(0.0), np.float32(0.0)
            for column in range(real):
                centred = values[column] - shift
                square = centred * centred
                third += square * centred
                fourth += square * square
            powers[0, row] += third
            powers[1, row] += fourth
