"""The list of topics, from which every call, every term of the glossary and every option of ingest is collected."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from importlib import import_module

from atlas.core.call import Call, call, calls_of
from atlas.core.db import Atlas
from atlas.core.option import IngestOption
from atlas.core.term import Term

TOPICS = tuple(
    import_module(f"atlas.topics.{name}")
    for name in (
        "verdict",
        "neuron",
        "token",
        "overview",
        "pair",
        "hub",
        "centring",
        "reduced",
        "kind",
        "percentile",
        "family",
        "neurons",
        "layer",
        "spread",
        "connection",
        "search",
        "collection",
        "curve",
        "threshold",
        "example",
        "sign_case",
        "pair_metric.measures",
        "pair_metric.ranked",
        "pair_metric.effects",
        "attribution",
        "driver",
        "reliability",
        "causal",
        "law",
        "predictiveness",
        "study.study",
        "study.edges",
        "bridge",
    )
)
"""Every topic that has calls, terms or an option, in the order of the glossary: a new one needs a line here."""

TERMS: tuple[Term, ...] = tuple(term for topic in TOPICS for term in getattr(topic, "TERMS", ()))
"""Every term of the glossary."""

OPTIONS: tuple[IngestOption, ...] = tuple(topic.OPTION for topic in TOPICS if hasattr(topic, "OPTION"))
"""Every option that adds a topic's tables."""


@call("glossary", python="demo.glossary()")
def glossary(served: Mapping[str, Atlas]) -> tuple[Term, ...]:
    """The meaning of every number, and the SQL that computes it."""
    return TERMS


CALLS: dict[str, Call] = {item.name: item for module in (*TOPICS, sys.modules[__name__]) for item in calls_of(module)}
"""Every call by its name."""
