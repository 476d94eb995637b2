"""Lists of rows (neurons): picked from a whole block of products once its last tile is done, in three passes.

Entries are marked row by row, valued column by column (what a column needs is fetched once), ranked row by row.
"""

from __future__ import annotations

import numpy as np
from numba import njit, prange

from ingest.congruence.kernels.lists import TINY, key_of, surely_reached
from ingest.congruence.kernels.vectors import WIDTH, at_least, at_most, bits_in, dot, lowest_bit, widened
from ingest.process.numba_compiler import compiled


@njit(inline="always")
def _start(rows, row, chunk, chunks, tile_width):
    """The start of a row's chunk in the tiles, which lie one after another, each [row, column]."""
    first = chunk * WIDTH // tile_width * tile_width
    return rows * first + row * min(tile_width, chunks * WIDTH - first) + chunk * WIDTH - first


@compiled(parallel=True)
def mark_rows(products, chunk_best, row_bound, column_bound, rounding, tile_width, real, k, marked, slot, count):
    """Mark the entries that may be among the k best of their row: at least k entries surely reach a bound.

    products: the tiles one after another, each [row, column] with `tile_width` columns (the last one what is left),
    float32 or bfloat16 as uint16; chunk_best, row_bound, column_bound (of all chunks) as in `scan_tile`; rounding:
    relative error of the products themselves; real: columns that are tokens, the rest repeats the last. Out: marked
    [2, chunk, row] uint64, a bit an entry, given as zeros; slot [2, chunk, row] int32, the row's marked entries before
    the chunk, if the chunk has any; count [2, row] int64, all of the row's.
    """
    rows, chunks = chunk_best.shape[1:]
    for row in prange(rows):
        errors = np.empty(chunks, dtype=np.float32)
        for chunk in range(chunks):
            errors[chunk] = (
                row_bound[0, row] * column_bound[0, chunk] + row_bound[1, row] * column_bound[1, chunk] + TINY
            )
        surely = np.full((chunks + WIDTH - 1) // WIDTH * WIDTH, -np.inf, dtype=np.float32)
        for direction in range(2):
            best = chunk_best[direction, row]
            bound = np.float32(-np.inf)
            if k <= chunks:  # So many chunks have an entry that surely reaches it.
                for chunk in range(chunks):
                    surely[chunk] = best[chunk] - abs(best[chunk]) * rounding - errors[chunk]
                bound = surely_reached(surely, chunks, k)
            n_marked = 0
            for chunk in range(chunks):
                least = bound
                if k <= chunks:
                    least -= errors[chunk]
                    least -= abs(least) * rounding
                if best[chunk] >= least:
                    start = _start(rows, row, chunk, chunks, tile_width)
                    if direction == 0:
                        mask = at_least(products, start, np.float32(least))
                    else:
                        mask = at_most(products, start, np.float32(-least))
                    if real < (chunk + 1) * WIDTH:
                        mask &= (np.uint64(1) << np.uint64(real - chunk * WIDTH)) - np.uint64(1)
                    slot[direction, chunk, row] = n_marked
                    n_marked += bits_in(mask)
                    marked[direction, chunk, row] = mask
            count[direction, row] = n_marked


@compiled(parallel=True)
def value_rows(marked, slot, offset, products, exact, tile_width, weights, readout, ids, keys):
    """Give each marked entry its key, at its place: keys[offset[direction, row] + slot + place in the chunk].

    exact, weights, readout as in `offer_columns`; ids [column]; the rest as in `mark_rows`.
    """
    chunks, rows = marked.shape[1:]
    for chunk in prange(chunks):
        for direction in range(2):
            sign = np.float32(1.0 - 2.0 * direction)
            for row in range(rows):
                mask = marked[direction, chunk, row]
                place = offset[direction, row] + slot[direction, chunk, row]
                while mask != 0:
                    bit = lowest_bit(mask)
                    column = chunk * WIDTH + bit
                    mask &= mask - np.uint64(1)
                    if exact:
                        product = np.float32(dot(weights[row], readout[column]))
                    else:
                        product = widened(products[_start(rows, row, chunk, chunks, tile_width) + bit])
                    keys[place] = key_of(sign * product, ids[column])
                    place += 1


@compiled(parallel=True)
def rank_rows(keys, offset, count, first_row, lists):
    """Keep each row's k best keys, best first.

    keys, offset, count as in `value_rows` and `mark_rows`; lists [2, row of the model, k] (out, from `first_row`).
    """
    k = lists.shape[2]
    for row in prange(count.shape[1]):
        for direction in range(2):
            start = offset[direction, row]
            ranked = np.sort(keys[start : start + count[direction, row]])
            for place in range(min(k, ranked.shape[0])):
                lists[direction, first_row + row, place] = ranked[ranked.shape[0] - 1 - place]
