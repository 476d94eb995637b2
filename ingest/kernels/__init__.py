"""Compiled CPU kernels of the congruence search: what torch would need several passes over a tile for, in one."""

from ingest.kernels.columns import offer_columns, seed_columns
from ingest.kernels.rows import mark_rows, rank_rows, value_rows
from ingest.kernels.tiles import scan_tile
from ingest.kernels.vectors import LANES, WIDTH

__all__ = [
    "LANES", "WIDTH", "mark_rows", "offer_columns", "rank_rows", "scan_tile", "seed_columns", "value_rows",
]  # fmt: skip
