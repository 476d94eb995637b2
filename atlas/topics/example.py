"""Texts that fire a neuron: examples by kind, groups of similar ones, and the illusion guard."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, TypedDict

from atlas.core.bins import interval_edges
from atlas.core.call import OF_NEURON, call
from atlas.core.db import Atlas
from atlas.core.display import show_range
from atlas.core.parameter import Kind, NeuronId
from atlas.core.statements import Statement
from atlas.core.term import BEST_PAIR, Term
from atlas.core.texts import texts_by_id
from atlas.core.units import Token, field_names


class ExampleJson(TypedDict):
    """A text's window around the position where it fires the neuron most (kind 'min': least); the window's tokens are
    `token_ids` and their texts `tokens`, which is a fifth of the size of whole tokens."""

    kind: str
    interval: int | None
    rank: int
    text_id: int
    position: int
    activation: float
    predicted: Token
    actual: Token | None
    window_start: int
    text_length: int
    activations: tuple[float, ...]
    token_ids: list[int]
    tokens: list[str | None]


@dataclass(frozen=True)
class Example:
    """A text's window around the position where it fires the neuron most (kind 'min': least)."""

    TABLE = "example"

    kind: str
    interval: int | None
    rank: int
    text_id: int
    position: int
    activation: float
    predicted: Token
    actual: Token | None
    window_start: int
    text_length: int
    tokens: tuple[Token, ...]
    activations: tuple[float, ...]

    def as_json(self) -> ExampleJson:
        """The example as JSON."""
        data: Any = {name: getattr(self, name) for name in field_names(Example) if name != "tokens"}
        data["token_ids"] = [token.token_id for token in self.tokens]
        data["tokens"] = [token.text for token in self.tokens]
        return data


@dataclass(frozen=True)
class IntervalExamples:
    """Ordinary texts: those whose maximum activation lies in one octave; None is an open end."""

    interval: int
    lower: float | None
    upper: float | None
    examples: tuple[Example, ...]

    @property
    def range(self) -> str:
        """The octave's range in words."""
        return show_range(self.lower, self.upper)


@dataclass(frozen=True)
class IntervalShare:
    """Ordinary texts `n` of one octave, and how many of them share their firing token with a maximum text."""

    interval: int
    n: int
    n_shared: int


@dataclass(frozen=True)
class IllusionGuard:
    """Firing tokens of the maximum texts against those of ordinary texts, without spaces and case.

    Distances are total variation distances, 0 (the same distribution) to 1 (nothing in common), of the firing tokens
    and of the tokens predicted there.
    """

    n_maximum: int
    n_ordinary: int
    distinct_maximum: int
    distinct_ordinary: int
    distance: float
    predicted_distance: float
    shares: tuple[IntervalShare, ...]


_ROW = """kind, "interval", rank, text_id, position, activation, predicted_token_id, window_start, window_activations,
       window_scale"""

_EXAMPLES = Statement(
    f"SELECT {_ROW} FROM example WHERE neuron_id = $neuron_id AND ($kind IS NULL OR kind = $kind)", each="neuron_id"
)

_FIRST = f"""SELECT neuron_id, {_ROW}
FROM example
WHERE neuron_id IN (SELECT unnest(?)) AND rank = 1 AND kind IN ('max', 'min')"""

TEXTS = Statement("""SELECT kind, "interval", rank, activation, right(before, 80) AS before, token,
       left(after, 40) AS after, predicted
FROM max_activating_example
WHERE neuron_id = $neuron_id
ORDER BY kind, "interval" DESC, rank""")
"""The rows of `examples`, which decodes them with the texts and the vocabulary in memory."""

# Equal but for spaces around and case is the same token here.
GUARD = Statement("""WITH fired AS (
    SELECT kind, unnest(['token it fires on', 'token predicted there']) AS what, unnest([token, predicted]) AS token
    FROM max_activating_example
    WHERE neuron_id = $neuron_id AND kind IN ('max', 'interval')
),
share AS (
    SELECT what, coalesce(nullif(lower(trim(token)), ''), token, '') AS token,
           count(*) FILTER (kind = 'max') AS n_maximum, count(*) FILTER (kind = 'interval') AS n_ordinary
    FROM fired
    GROUP BY ALL
),
total AS (SELECT what, sum(n_maximum) AS maximum, sum(n_ordinary) AS ordinary FROM share GROUP BY what)
SELECT what, maximum AS n_maximum, count(*) FILTER (n_maximum > 0) AS distinct_maximum,
       ordinary AS n_ordinary, count(*) FILTER (n_ordinary > 0) AS distinct_ordinary,
       1 - sum(least(n_maximum / maximum, n_ordinary / ordinary)) AS distance
FROM share JOIN total USING (what)
GROUP BY ALL
ORDER BY what""")
"""The illusion guard; the page measures it on the examples that it has read."""


@call(OF_NEURON + "/examples", name="examples", python='demo.neuron("{neuron}").examples()', title="texts", kind="max")
def neuron_examples(atlas: Atlas, neuron_id: NeuronId, kind: Kind | None = None) -> list[Example]:
    """The texts stored for a neuron, each with the activation at every token of a window.

    They are sorted by kind ('interval', 'max', 'min'), within 'interval' by octave, then by rank.
    """
    examples = _decoded(atlas, _EXAMPLES.rows(atlas, neuron_id=neuron_id, kind=kind))
    return sorted(examples, key=lambda example: (example.kind, example.interval or 0, example.rank))


def first_examples(atlas: Atlas, neuron_ids: Sequence[int]) -> dict[int, dict[str, Example]]:
    """The first text of each extreme kind ('max', 'min') of several neurons, by neuron_id and kind."""
    examples: dict[int, dict[str, Example]] = {}
    rows = atlas.rows(_FIRST, list(neuron_ids))
    for (neuron_id, *_), example in zip(rows, _decoded(atlas, [row[1:] for row in rows]), strict=True):
        examples.setdefault(neuron_id, {})[example.kind] = example
    return examples


def _decoded(atlas: Atlas, rows: Sequence[Sequence[Any]]) -> list[Example]:
    """The examples of some rows of the table `example`, in their order; columns as in `_EXAMPLES`."""
    tokens = atlas.tokens
    texts = texts_by_id(atlas, (row[3] for row in rows))
    examples = []
    for kind, interval, rank, text_id, position, activation, predicted, start, values, scale in rows:
        text = texts[text_id]
        examples.append(
            Example(
                kind=kind,
                interval=interval,
                rank=rank,
                text_id=text_id,
                position=position,
                activation=activation,
                predicted=tokens[predicted],
                actual=tokens[text[position + 1]] if position + 1 < len(text) else None,
                window_start=start,
                text_length=len(text),
                tokens=tokens.many(text[start : start + len(values)]),
                activations=tuple([value * scale for value in values]),
            )
        )
    return examples


def interval_examples(examples: Iterable[Example]) -> list[IntervalExamples]:
    """The examples of kind 'interval', grouped by octave from the highest down."""
    ordinary = sorted(
        (example for example in examples if example.kind == "interval"), key=lambda e: (-e.interval, e.rank)
    )
    groups = []
    for interval, members in groupby(ordinary, key=lambda example: example.interval):
        lower, upper = (None if math.isinf(edge) else edge for edge in interval_edges(interval))
        groups.append(IntervalExamples(interval, lower, upper, tuple(members)))
    return groups


def whole_texts(atlas: Atlas, text_ids: Iterable[int]) -> dict[int, tuple[Token, ...]]:
    """All tokens of some texts, BOS included, by text_id."""
    texts = texts_by_id(atlas, text_ids)
    return {text_id: atlas.tokens.many(token_ids) for text_id, token_ids in texts.items()}


def family(token: Token | None) -> str:
    """A token's key for comparison: its text without spaces and case; its id where it has no text."""
    if token is None:
        return "#end"
    text = (token.text or "").strip().casefold()
    return text or f"#{token.token_id}"


def _distance(one: Counter[str], other: Counter[str]) -> float:
    """Total variation distance of two distributions given as counts: 0 the same, 1 nothing in common."""
    return 1.0 - sum(min(n / one.total(), other[key] / other.total()) for key, n in one.items())


def firing_token(example: Example) -> Token:
    """The token on which the example's neuron fires."""
    return example.tokens[example.position - example.window_start]


def illusion_guard(maximum: Sequence[Example], ordinary: Iterable[Example]) -> IllusionGuard | None:
    """How far the firing tokens of the maximum texts differ from those of ordinary ones; None where there are none.

    Texts that are both a maximum and a sample count on both sides. Samples are stratified: a few for each octave of
    the text's greatest activation, so that `shares` by octave says more than the distance over all of them.
    """
    ordinary = [example for example in ordinary if example.kind == "interval"]
    if not maximum or not ordinary:
        return None
    tops = Counter(family(firing_token(example)) for example in maximum)
    rest = Counter(family(firing_token(example)) for example in ordinary)
    shares = []
    for interval in sorted({example.interval for example in ordinary}, reverse=True):
        members = [example for example in ordinary if example.interval == interval]
        shared = sum(family(firing_token(example)) in tops for example in members)
        shares.append(IntervalShare(interval, len(members), shared))
    return IllusionGuard(
        n_maximum=len(maximum),
        n_ordinary=len(ordinary),
        distinct_maximum=len(tops),
        distinct_ordinary=len(rest),
        distance=_distance(tops, rest),
        predicted_distance=_distance(
            Counter(family(example.predicted) for example in maximum),
            Counter(family(example.predicted) for example in ordinary),
        ),
        shares=tuple(shares),
    )


BEFORE = 8
"""Tokens before the firing one that must agree, with it, for two texts to be alike."""


@dataclass(frozen=True)
class Group:
    """An example, and the later ones with the same tokens up to the firing one."""

    shown: Example
    alike: tuple[Example, ...]


def _key(example: Example) -> tuple[int, ...]:
    peak = example.position - example.window_start
    return tuple(token.token_id for token in example.tokens[max(0, peak - BEFORE) : peak + 1])


def group_alike(examples: Iterable[Example]) -> list[Group]:
    """The examples in their order, each with the later similar ones. This is for display only; nothing is dropped."""
    groups: dict[tuple[int, ...], list[Example]] = {}
    for example in examples:
        groups.setdefault(_key(example), []).append(example)
    return [Group(members[0], tuple(members[1:])) for members in groups.values()]


_FIRED = (
    BEST_PAIR.rstrip()
    + """, fired AS (
    SELECT e.kind, lower(trim(t."text")) AS word
    FROM example AS e JOIN "text" AS x USING (text_id) JOIN token AS t ON t.token_id = x.token_ids[e.position + 1]
    WHERE e.neuron_id = (SELECT neuron_id FROM best) AND e.kind IN ('max', 'interval')
), share AS (
    SELECT word, count(*) FILTER (kind = 'max') / (SELECT count(*) FROM fired WHERE kind = 'max') AS maximum,
           count(*) FILTER (kind = 'interval') / (SELECT count(*) FROM fired WHERE kind = 'interval') AS ordinary
    FROM fired GROUP BY word
)
"""
)

TERMS = (
    Term(
        "Maximum-activating text",
        "maximum-text",
        "One of the texts with a neuron's greatest maximum activation, one position a text, shown as a window around "
        "it. Gated models have minimum texts too, which are the same at the other end.",
        BEST_PAIR + "SELECT kind, count(*) AS texts, max(activation) AS greatest, min(activation) AS least\n"
        "FROM example WHERE neuron_id = (SELECT neuron_id FROM best) GROUP BY kind ORDER BY kind",
    ),
    Term(
        "Interval",
        "interval",
        "An octave of activation: 1 is [1/64, 1/32), 16 is 512 and more, negative ones likewise below zero. Texts of "
        "an interval are ordinary ones, chosen by hash among those whose greatest activation lies in it.",
        'SELECT "interval", min(lower) AS lower, max(upper) AS upper\n'
        'FROM histogram_bin WHERE "interval" BETWEEN 1 AND 3 GROUP BY ALL ORDER BY ALL',
    ),
    Term(
        "Illusion guard",
        "illusion-guard",
        "How far the tokens at which a neuron fires in its maximum texts differ from those in ordinary texts: total "
        "variation distance, 0 (the same) to 1 (nothing in common), spaces and case aside. Near 1, the maximum texts "
        "mislead about its ordinary behaviour.",
        _FIRED + "SELECT 1 - sum(least(maximum, ordinary)) AS distance FROM share",
        "Bolukbasi et al., An Interpretability Illusion for BERT, 2021",
    ),
)
