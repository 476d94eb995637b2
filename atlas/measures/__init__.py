"""What is computed from an atlas's rows when they are read: intervals, thresholds, likeness of texts. No queries."""

from atlas.measures.guard import illusion_guard
from atlas.measures.likeness import Group, group_alike
from atlas.measures.threshold import thresholds
from atlas.measures.wilson import wilson

__all__ = ["Group", "group_alike", "illusion_guard", "thresholds", "wilson"]
