"""Sentences of charts about a suite of prompt pairs: values are means with bootstrap intervals."""

from __future__ import annotations

from atlas.core.display import show_number
from atlas.topics.study.records import Study, StudyNeuron, StudyStep


def means(study: Study, marks: str = "") -> str:
    """End of a caption: what the values are, and which marks are their intervals. Empty for a single pair."""
    if not study.is_suite:
        return ""
    return f" Means over {study.n_prompts:,} pairs{f', {marks} their 95% bootstrap intervals' if marks else ''}."


def interval_heads(study: Study) -> tuple[str, ...]:
    """Heads of the columns of `interval_cells`."""
    return ("low", "high") if study.is_suite else ()


def interval_cells(study: Study, item: StudyStep | StudyNeuron) -> tuple[str, ...]:
    """The ends of an item's interval as cells of a table."""
    return (show_number(item.low), show_number(item.high)) if study.is_suite else ()
