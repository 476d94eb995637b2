"""The same token in several atlases, and the data that atlases share."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Annotated

from atlas.core.call import call
from atlas.core.db import Atlas
from atlas.core.display import read_shown
from atlas.core.names import database_name
from atlas.core.parameter import Text
from atlas.core.statements import Statement
from atlas.core.units import Token
from atlas.topics.curve import Curve, token_candidates, token_curves
from atlas.topics.example import Example, neuron_examples
from atlas.topics.neuron import neuron_tokens
from atlas.topics.pair import ExclusivePair
from atlas.topics.pair_metric.ranked import PairMetric, token_metrics
from atlas.topics.search import token_index, tokens_by_text
from atlas.topics.token import CongruentNeuron, TokenRow, token_neurons, token_pairs, token_row


@dataclass(frozen=True)
class BridgeToken:
    """One atlas's data on a text: its token's numbers, best neurons, exclusive pairs, and how well the best neuron
    predicts it; or, where the text is not a token, the tokens with the most similar spelling."""

    slug: str
    """The atlas."""
    build_id: str
    """Its build."""
    model_name: str
    """Its model."""
    tokens: tuple[Token, ...]
    """Tokens of exactly the text: none, one, or several whose bytes are not UTF-8 by themselves."""
    row: TokenRow | None
    """Numbers of the first of them, which the fields below describe; None: there is none."""
    best_neurons: tuple[CongruentNeuron, ...]
    """Neurons most congruent with it, best first."""
    pairs: tuple[ExclusivePair, ...]
    """Exclusive pairs of the token, at most one of each direction."""
    curve: Curve | None
    """How often it is predicted and comes next, by the activation of its best neuron; None: the pair was not
    counted."""
    metrics: tuple[PairMetric, ...]
    """How well its best neuron predicts it, one row for each side of zero; empty where the pair has no metrics."""
    nearest: tuple[Token, ...]
    """Where there is no such token: those with the same letters, ignoring spaces and case, the shortest first."""


@dataclass(frozen=True)
class SharedSpelling:
    """A text that is a token in the lists of several neurons, each of its own model: by neuron its token and their
    congruence, None where it is in no list of that neuron."""

    text: str
    tokens: tuple[Token | None, ...]
    congruences: tuple[float | None, ...]


@dataclass(frozen=True)
class SharedRow:
    """A row of one dataset of which several neurons, each of its own atlas, have an example: in their order, None where
    a neuron has none. Tokens and positions are each model's own."""

    source_row: int
    examples: tuple[Example | None, ...]


@dataclass(frozen=True)
class AtlasPair:
    """Two atlases: whether the model's weights, the data set and the build are the same, and how many texts are a token
    of both."""

    first: str
    second: str
    same_model: bool
    same_dataset: bool
    same_build: bool
    tokens: int


NEAREST = 12
"""Most tokens of the same letters that are offered where a text is not a token."""

_PART = "�"
"""Replacement in a token's text for bytes that are not a character by themselves."""

Placed = tuple[Atlas, int]
"""A neuron of an atlas, by its id."""


# The pages read one file after the other; the SQL for people reads all files at once, attached under their slugs, as in
# the
# site's console and in `atlas sql --with`.
_TOKEN_PANELS = {
    "numbers": """SELECT '{slug}' AS atlas, t."text" AS token, t.n_input, t.n_actual, t.n_predicted,
       n.name AS best_neuron, t.best_congruence, t.neuron_gap, t.token_id
FROM {database}.token AS t JOIN {database}.neuron AS n ON n.neuron_id = t.best_neuron_id
WHERE t."text" = $text""",
    "neurons": """SELECT '{slug}' AS atlas, l.rank, n.name AS neuron, l.congruence
FROM {database}.token_neuron AS l
JOIN {database}.neuron AS n USING (neuron_id)
JOIN {database}.token AS t USING (token_id)
WHERE t."text" = $text AND l.direction = 'top'""",
    "curves": """SELECT '{slug}' AS atlas, c.neuron, c.lower, c.upper, c.n, c.n_predicted, c.n_actual,
       c.predicted_fraction, c.actual_fraction
FROM {database}.prediction_curve AS c
JOIN {database}.token AS t ON t.token_id = c.token_id AND t.best_neuron_id = c.neuron_id
WHERE t."text" = $text""",
    "metrics": """SELECT '{slug}' AS atlas, n.name AS neuron, m.* EXCLUDE (neuron_id, token_id)
FROM {database}.pair_metric AS m
JOIN {database}.token AS t ON t.token_id = m.token_id AND t.best_neuron_id = m.neuron_id
JOIN {database}.neuron AS n ON n.neuron_id = m.neuron_id
WHERE t."text" = $text""",
}

_COMPARE_PANELS = {
    "numbers": """SELECT '{slug}' AS atlas, n.name AS neuron, {columns}
FROM {database}.neuron AS n
WHERE n.neuron_id IN ({neurons})""",
    "histograms": """SELECT '{slug}' AS atlas, n.name AS neuron, b.lower, b.upper, h.n
FROM {database}.activation_histogram AS h
JOIN {database}.histogram_bin AS b USING (bin)
JOIN {database}.neuron AS n USING (neuron_id)
WHERE h.neuron_id IN ({neurons})""",
    "tokens": """SELECT '{slug}' AS atlas, n.name AS neuron, t."text" AS token, l.direction, l.rank, l.congruence
FROM {database}.neuron_token AS l
JOIN {database}.neuron AS n USING (neuron_id)
JOIN {database}.token AS t USING (token_id)
WHERE l.neuron_id IN ({neurons})""",
    "curves": """SELECT '{slug}' AS atlas, c.neuron, c.lower, c.upper, c.n, c.n_predicted, c.n_actual
FROM {database}.prediction_curve AS c
JOIN {database}.token AS t USING (token_id)
WHERE c.neuron_id IN ({neurons}) AND t."text" = $text""",
}


def bridge_token_panels(slugs: Iterable[str], text: str) -> dict[str, str]:
    """SQL of the results of `bridge_token` in several atlases, by panel."""
    panels = _unions(_TOKEN_PANELS, dict.fromkeys(slugs, ()), text)
    panels["neurons"] += "\nORDER BY atlas, rank"
    panels["curves"] += "\nORDER BY atlas, lower NULLS FIRST"
    return panels


def bridge_compare_panels(
    neurons: Iterable[tuple[str, int]], columns: Iterable[str], text: str | None
) -> dict[str, str]:
    """SQL of neurons (slug, neuron_id) of several atlases, by panel: `columns` of `neuron`, their lists, and their
    curves with the token of a text, if there is one."""
    by_slug: dict[str, list[int]] = {}
    for slug, neuron_id in neurons:
        by_slug.setdefault(slug, []).append(neuron_id)
    panels = {name: sql for name, sql in _COMPARE_PANELS.items() if name != "curves" or text is not None}
    return _unions(panels, by_slug, text, ", ".join(f"n.{column}" for column in columns))


def _unions(
    panels: dict[str, str], neurons: Mapping[str, Sequence[int]], text: str | None, columns: str = ""
) -> dict[str, str]:
    """Each panel's rows of every atlas; neurons by slug."""
    databases = {slug: f'"{database_name(slug)}"' for slug in neurons}
    return {
        name: "\nUNION ALL\n".join(
            Statement(
                sql.format(slug=slug, database=databases[slug], neurons=", ".join(map(str, ids)), columns=columns)
            ).shown(text=text)
            for slug, ids in neurons.items()
        )
        for name, sql in panels.items()
    }


def bridge_token(atlas: Atlas, text: str) -> BridgeToken:
    """An atlas's data on a text, taken literally or as a copied token (`␣an`)."""
    info = atlas.info
    tokens = tokens_by_text(atlas, text) or tokens_by_text(atlas, read_shown(text))
    if not tokens:
        nearest = tuple(token_index(atlas).same_letters(text)[:NEAREST])
        return BridgeToken(info.slug, info.build_id, info.model_name, (), None, (), (), None, (), nearest)
    token_id = tokens[0].token_id
    row = token_row(atlas, token_id)
    best = row.best_neuron
    counted = [candidate for candidate in token_candidates(atlas, token_id) if candidate.neuron == best]
    return BridgeToken(
        info.slug,
        info.build_id,
        info.model_name,
        tuple(tokens),
        row,
        tuple(token_neurons(atlas, token_id, "top")),
        tuple(token_pairs(atlas, token_id)),
        next(iter(token_curves(atlas, counted)), None),
        tuple(item for item in token_metrics(atlas, token_id) if item.neuron == best),
        (),
    )


_Spelling = Annotated[str, Text("The token's text, with its leading space if it has one.", least=1, most=1000)]


@call("bridge/token", name="bridge_token", python='atlas.bridge([demo], " an")', text=" an")
def bridge_tokens(served: Mapping[str, Atlas], text: _Spelling) -> list[BridgeToken]:
    """The same token, by its text, in every served atlas: its best neurons, exclusive pairs, counts, and how well its
    best neuron predicts it; where it is not a token, tokens with a similar spelling."""
    return [bridge_token(atlas, text) for atlas in served.values()]


def atlas_pairs(served: Mapping[str, Atlas]) -> list[AtlasPair]:
    """Comparison of every two atlases, in their order."""
    return [
        AtlasPair(
            first,
            second,
            one.info.model_fingerprint == other.info.model_fingerprint,
            _dataset(one) == _dataset(other),
            one.info.build_id == other.info.build_id,
            len(_texts(one) & _texts(other)),
        )
        for (first, one), (second, other) in combinations(served.items(), 2)
    ]


def shared_spellings(neurons: Sequence[Placed], limit: int = 40) -> list[SharedSpelling]:
    """Texts in the lists (most or least congruent) of at least two of the neurons: in most lists first, then by text.

    Of several tokens with one text the most congruent counts. Congruences of different models have no common unit, so
    they do not affect the order.
    """
    by_text: dict[str, list[tuple[Token, float] | None]] = defaultdict(lambda: [None] * len(neurons))
    for place, (atlas, neuron_id) in enumerate(neurons):
        for item in neuron_tokens(atlas, neuron_id):
            if not is_spelt(item.token):
                continue
            best = by_text[item.token.text][place]
            if best is None or item.congruence > best[1]:
                by_text[item.token.text][place] = (item.token, item.congruence)
    shared = [
        SharedSpelling(
            text,
            tuple(item and item[0] for item in items),
            tuple(item and item[1] for item in items),
        )
        for text, items in by_text.items()
        if sum(item is not None for item in items) > 1
    ]
    return sorted(shared, key=lambda item: (-sum(token is not None for token in item.tokens), item.text))[:limit]


def shared_rows(neurons: Sequence[Placed], limit: int = 20) -> list[SharedRow]:
    """Rows of a data set of which at least two of the neurons have an example: of most neurons first, then by row.

    Of each neuron the example with the greatest |activation| is taken. Rows are the same only where the atlases' data
    sets are, by their fingerprints.
    """
    by_row: dict[tuple[Hashable, int], list[Example | None]] = defaultdict(lambda: [None] * len(neurons))
    for place, (atlas, neuron_id) in enumerate(neurons):
        stored = neuron_examples(atlas, neuron_id)
        rows = _source_rows(atlas, [example.text_id for example in stored])
        for example in stored:
            key = (_dataset(atlas), rows[example.text_id])
            best = by_row[key][place]
            if best is None or abs(example.activation) > abs(best.activation):
                by_row[key][place] = example
    shared = [SharedRow(row, tuple(best)) for (_, row), best in by_row.items() if sum(e is not None for e in best) > 1]
    return sorted(shared, key=lambda item: (-sum(e is not None for e in item.examples), item.source_row))[:limit]


def is_spelt(token: Token) -> bool:
    """Whether a token's text identifies it: not where it is part of a character, or empty."""
    return bool(token.text) and _PART not in token.text


def same_dataset(atlases: Sequence[Atlas]) -> bool:
    """Whether all of them read the same data set."""
    return len({_dataset(atlas) for atlas in atlases}) == 1


def _dataset(atlas: Atlas) -> Hashable:
    return atlas.info.dataset_fingerprint, atlas.info.text_column


def _texts(atlas: Atlas) -> frozenset[str]:
    """Texts of the vocabulary."""
    tokens = atlas.tokens
    return atlas.remembered(
        "token texts",
        lambda: frozenset(text for token_id in range(len(tokens)) if (text := tokens[token_id].text) is not None),
    )


def _source_rows(atlas: Atlas, text_ids: Sequence[int]) -> dict[int, int]:
    ids = sorted(set(text_ids))
    return dict(atlas.rows('SELECT text_id, source_row FROM "text" WHERE list_contains(?, text_id)', ids))
