"""What is computed from an atlas's rows when they are read: intervals, thresholds, likeness of texts. No queries."""

from atlas.measures.guard import illusion_guard
from atlas.measures.lens import lens_depth, lens_jumps
from atlas.measures.likeness import Group, group_alike
from atlas.measures.rank import bootstrap_spearman, interval, spearman
from atlas.measures.threshold import thresholds
from atlas.measures.wilson import Z_95, wilson

__all__ = [
    "Z_95",
    "Group",
    "bootstrap_spearman",
    "group_alike",
    "illusion_guard",
    "interval",
    "lens_depth",
    "lens_jumps",
    "spearman",
    "thresholds",
    "wilson",
]
