"""Lists that are cut: tables with the ends of a ranking or with chosen pairs, whose absent rows are not zeros.

An answer that read one says so, and names the macro that asks every neuron or token.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass

from atlas.core.db import Atlas
from atlas.core.errors import QueryError
from atlas.core.info import AtlasInfo
from atlas.core.reads import SERIALIZE, Reads, reads
from atlas.core.sql_text import with_dollars


@dataclass(frozen=True)
class Note:
    """What a reader of an answer must know of what it read."""

    text: str
    """One or two sentences."""
    sql: str | None = None
    """A query without that limit. None: there is none."""


_ABSENT = "pairs outside are absent, not zero."


def _neuron_lists(info: AtlasInfo) -> str:
    return f"each neuron's {info.top_tokens} highest and {info.top_tokens} lowest tokens; {_ABSENT}"


def _token_lists(info: AtlasInfo) -> str:
    return f"each token's {info.top_neurons} highest and {info.top_neurons} lowest neurons; {_ABSENT}"


def _both_lists(info: AtlasInfo) -> str:
    return (
        f"each neuron's {info.top_tokens} highest tokens and each token's {info.top_neurons} highest neurons; {_ABSENT}"
    )


def _candidates(info: AtlasInfo) -> str:
    k = info.pair_candidates
    ends = "highest and lowest" if info.gated else "highest"
    return (
        f"candidate pairs only (each neuron's {k} {ends} tokens, each token's {k} {ends} neurons, the "
        f"exclusive pairs, and pairs asked for at ingest); {_ABSENT}"
    )


def _texts(info: AtlasInfo) -> str:
    ends = "highest and lowest" if info.gated else "highest"
    return (
        f"each neuron's {info.top_texts} {ends} texts and a sample of ordinary ones, of {info.n_texts:,} texts "
        "read; a text that is absent may fire the neuron too."
    )


def _effects(_: AtlasInfo) -> str:
    return "the pairs chosen for ablation; pairs outside were not measured, their effect is not zero."


def _drivers(_: AtlasInfo) -> str:
    return (
        "the 50 neurons that support and the 50 that oppose each token predicted at 10 positions or more of the texts "
        "that `atlas attribute` read; others are absent, not zero."
    )


def _attributed(_: AtlasInfo) -> str:
    return f"candidate pairs whose token is predicted in the texts that `atlas attribute` read; {_ABSENT}"


def _checked(_: AtlasInfo) -> str:
    return "a sample of positions and neurons, half of them the strongest at their position."


def _found(_: AtlasInfo) -> str:
    return (
        "the neurons that stand out in a study, each with those of later layers; of other neurons the edges were not "
        "measured, they are not zero."
    )


def _patched(_: AtlasInfo) -> str:
    return (
        "the neurons that each study patched, those of greatest |attribution|; of the others `study_step` has the "
        "estimate alone (kind 'attribution')."
    )


def _connected(_: AtlasInfo) -> str:
    return f"each neuron's 20 highest and 20 lowest neurons of later (or earlier) layers, by side; {_ABSENT}"


CUT: dict[str, Callable[[AtlasInfo], str]] = {
    "neuron_token": _neuron_lists,
    "congruence": _neuron_lists,
    "neuron_page": _neuron_lists,
    "neuron_input_token": _neuron_lists,
    "token_neuron": _token_lists,
    "neuron_downstream": _connected,
    "neuron_upstream": _connected,
    "reduced_congruence": _both_lists,
    "candidate_pair": _candidates,
    "prediction_histogram": _candidates,
    "prediction_curve": _candidates,
    "family_histogram": _candidates,
    "family_curve": _candidates,
    "pair_metric": _candidates,
    "pair_prediction": _candidates,
    "token_prediction": _candidates,
    "neuron_prediction": _candidates,
    "prediction_above": _candidates,
    "example": _texts,
    "max_activating_example": _texts,
    "pair_effect": _effects,
    "token_driver": _drivers,
    "pair_attribution": _attributed,
    "attribution_check": _checked,
    "study_edge": _found,
    "study_neuron": _patched,
}
"""By table, view or macro: what it holds."""

COMPLETE = frozenset({"token_exclusivity", "pair", "neuron_kind", "token_detector"})
"""Views whose answers are complete: what they read of a list that is cut (the first ranks) is always stored."""

_ASKS_ALL = ("congruence", "neuron_token", "token_neuron", "reduced_congruence")
"""Lists whose question the macros answer for every neuron or token."""

_WEIGHT_MACROS = frozenset({"congruence_with", "congruence_with_direction", "neuron_congruence", "similar_neurons"})


def notes_of(info: AtlasInfo, statement: Reads) -> tuple[Note, ...]:
    """What a reader of the statement's answer must know; one note for all lists that are cut in the same way."""
    if not info.has_weights and _WEIGHT_MACROS & set(statement.macros):
        return (Note("This atlas was built with --no-weights: it has no congruence beyond the stored lists."),)
    names: dict[str, list[str]] = {}
    for name in (*statement.tables, *statement.macros):
        if name in CUT:
            names.setdefault(CUT[name](info), []).append(name)
    return tuple(
        Note(
            f"{' and '.join(lists)} {'stores' if len(lists) == 1 else 'store'} {text}",
            _whole(info, statement) if set(lists) & set(_ASKS_ALL) else None,
        )
        for text, lists in names.items()
    )


def _whole(info: AtlasInfo, statement: Reads) -> str | None:
    """A query that asks every neuron or token the same, as far as the statement's values tell."""
    if not info.has_weights:
        return None
    if len(statement.tokens) == 2:
        return (
            f"FROM congruence_with_direction({', '.join(statement.tokens)})  -- the first minus the second\n"
            "ORDER BY rank\nLIMIT 50"
        )
    if len(statement.tokens) == 1:
        return f"FROM congruence_with({statement.tokens[0]})\nORDER BY rank\nLIMIT 50"
    if len(statement.neurons) == 1:
        return f"FROM neuron_congruence({statement.neurons[0]})\nORDER BY rank\nLIMIT 50"
    return None


def statement_notes(atlas: Atlas, sql: str) -> tuple[Note, ...]:
    """The notes on a statement about an atlas; none for one that DuckDB cannot describe, such as EXPLAIN."""
    try:
        ((description,),) = atlas.rows(SERIALIZE, with_dollars(sql))
    except QueryError:
        return ()
    record = json.loads(description)
    if record.get("error") or len(record["statements"]) != 1:
        return ()
    return notes_of(atlas.info, reads(record["statements"][0]))
