"""Does activation predict? Figures of every candidate pair, from histograms alone.

`levels` turns bins into levels of a score; `ranking`, `average_precision` and `curve` measure how well the score parts
positions that have an outcome from those that have not; `proportion` says how sure a proportion is; `table` makes the
rows of the table `pair_metric`, and `arrow` (which needs pyarrow, and is imported by itself) makes them from other
tables: at ingest, after a merge, for files that are upgraded. Rows are pairs, and nothing loops over them.
"""

from atlas.metrics.table import COLUMNS, MIN_SUPPORT, OUTCOMES, SIDES, SUPPORT, Cells, metric_rows, metric_sides

__all__ = ["COLUMNS", "MIN_SUPPORT", "OUTCOMES", "SIDES", "SUPPORT", "Cells", "metric_rows", "metric_sides"]
