"""Neurons at a glance: verdict, tokens, area under ROC and what fires them, for lists of neurons."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from textwrap import indent
from typing import Any

from atlas.core.db import Atlas
from atlas.core.statements import Statement
from atlas.core.texts import texts_by_id
from atlas.core.units import Token
from atlas.topics.attribution import attribution_magnitudes
from atlas.topics.neuron import CongruentToken, Neuron
from atlas.topics.pair_metric.effects import pair_figures
from atlas.topics.verdict import Verdict, verdicts

FEWEST = 3
"""Fewest top texts that must fire a neuron on the same token."""

LISTED = 8
"""Tokens of a neuron that are listed."""

FIRING = 3
"""Firing tokens of a neuron that are listed."""

LISTED_TOKENS = Statement("""SELECT /*+n.name AS neuron, t."text" AS token,
       */l.neuron_id, l.direction, l.rank, l.token_id, l.congruence
FROM neuron_token AS l/*+ JOIN token AS t USING (token_id) JOIN neuron AS n USING (neuron_id)*/
WHERE l.neuron_id IN (SELECT unnest($neuron_ids)) AND l.rank <= $limit/*+
ORDER BY list_position($neuron_ids, l.neuron_id), l.direction DESC, l.rank*/""")
"""The ends of several neurons' lists of tokens."""


@dataclass(frozen=True)
class Glance:
    """A neuron at a glance: its row, the verdict on it, what it writes and what fires it on the side of the verdict.

    `tokens` are from the top of its list, or from the bottom where the verdict's side is 'negative'.
    """

    neuron: Neuron
    verdict: Verdict
    tokens: tuple[CongruentToken, ...]
    auroc: float | None
    """Area under ROC of its activation as a predictor of the verdict's token. None: no token, or too little support."""
    fires_on: Token | None
    """The token on which it fires in most of its top texts, on the verdict's side; None: in fewer than FEWEST."""
    n_fires_on: int
    """Top texts in which it fires on that token; 0 where there is none."""
    firing_tokens: tuple[Token, ...]
    """The tokens on which it fires in its top texts, those of most texts first, at most FIRING."""
    attribution: float | None
    """Mean magnitude of its attribution (`neuron_attribution.attribution_abs_mean`); None: attribution was off."""

    @property
    def own_token(self) -> Token:
        """The verdict's token; where it has none, the first of its tokens."""
        return self.verdict.token or self.tokens[0].token

    @property
    def kind_of_text(self) -> str:
        """The kind of its strongest texts on the side of the verdict, 'max' or 'min'."""
        return "min" if self.verdict.side == "negative" else "max"

    @property
    def headline(self) -> str:
        """The verdict in a few words."""
        return self.verdict.headline


_SHOWN = """WITH page AS (
{page}
),
fired AS (
    SELECT e.neuron_id, e.kind, x.token_ids[e.position + 1] AS token_id, count(*) AS n, min(e.rank) AS rank
    FROM example AS e JOIN "text" AS x USING (text_id) JOIN neuron AS n ON n.neuron_id = e.neuron_id
    WHERE n.name IN (SELECT neuron FROM page) AND e.kind IN ('max', 'min')
    GROUP BY ALL
),
top AS (
    FROM fired QUALIFY row_number() OVER (PARTITION BY neuron_id, kind ORDER BY n DESC, rank) = 1
)
SELECT n.name AS neuron, p.token AS predicted_token, p.predicts, p.auroc, top.kind, t."text" AS fires_on,
       top.n AS texts, c.attribution_abs_mean AS attribution
FROM neuron AS n
LEFT JOIN neuron_prediction AS p USING (neuron_id)
LEFT JOIN neuron_attribution AS c USING (neuron_id)
LEFT JOIN top ON top.neuron_id = n.neuron_id
LEFT JOIN token AS t ON t.token_id = top.token_id
WHERE n.name IN (SELECT neuron FROM page)
ORDER BY n.neuron_id, top.kind"""

_FIRED = """
SELECT neuron_id, kind, text_id, position FROM example
WHERE neuron_id IN (SELECT unnest(?)) AND kind IN ('max', 'min')
ORDER BY rank
"""


def glances_sql(page: str) -> str:
    """The query behind the glances of a page's neurons, which the query `page` lists by name: the token that each
    predicts best, and that on which it fires in most of its top ('max') and bottom ('min') texts."""
    return _SHOWN.format(page=indent(page, "    "))


def glances(atlas: Atlas, neurons: Sequence[Neuron]) -> list[Glance]:
    """Neurons at a glance, in their order: three queries for all."""
    known, neuron_ids = verdicts(atlas, neurons), [neuron.neuron_id for neuron in neurons]
    aurocs = _aurocs(atlas, neurons, known)
    counts, tokens = _firing_tokens(atlas, neuron_ids), _listed_tokens(atlas, neuron_ids)
    magnitudes = attribution_magnitudes(atlas, neuron_ids)
    return [
        Glance(
            neuron,
            verdict,
            tuple(tokens[neuron.neuron_id, "bottom" if verdict.side == "negative" else "top"]),
            aurocs.get(neuron.neuron_id),
            **_fired(atlas, counts[neuron.neuron_id, _kind(verdict)]),
            attribution=magnitude,
        )
        for neuron, magnitude in zip(neurons, magnitudes, strict=True)
        for verdict in (known[neuron.neuron_id],)
    ]


def _kind(verdict: Verdict) -> str | None:
    return None if verdict.side is None else "min" if verdict.side == "negative" else "max"


def _fired(atlas: Atlas, counts: Counter[int]) -> dict[str, Any]:
    """The fields of a Glance about the tokens that fire it."""
    # Equal counts stay in the order in which they came: the higher rank first.
    most = counts.most_common(FIRING)
    tokens = tuple(atlas.tokens[token_id] for token_id, _ in most)
    clear = bool(most) and most[0][1] >= FEWEST
    return {
        "fires_on": tokens[0] if clear else None,
        "n_fires_on": most[0][1] if clear else 0,
        "firing_tokens": tokens,
    }


def _aurocs(atlas: Atlas, neurons: Sequence[Neuron], known: dict[int, Verdict]) -> dict[int, float | None]:
    aurocs, others = {}, []
    for neuron in neurons:
        verdict = known[neuron.neuron_id]
        if verdict.prediction is not None and verdict.prediction.token == verdict.token:
            aurocs[neuron.neuron_id] = verdict.prediction.auroc
        elif verdict.token is not None:
            congruence = neuron.worst_congruence if verdict.side == "negative" else neuron.best_congruence
            others.append((neuron.neuron_id, verdict.token.token_id, congruence))
    figures = pair_figures(atlas, others)
    return aurocs | {pair[0]: item.auroc_predicted for pair, item in zip(others, figures, strict=True)}


def _firing_tokens(atlas: Atlas, neuron_ids: list[int]) -> dict[tuple[int, str | None], Counter[int]]:
    """How often each token is the firing one in the top or bottom texts of a neuron, by neuron and kind."""
    rows = atlas.rows(_FIRED, neuron_ids)
    texts = texts_by_id(atlas, (row[2] for row in rows))
    counts: dict[tuple[int, str | None], Counter[int]] = defaultdict(Counter)
    for neuron_id, kind, text_id, position in rows:
        counts[neuron_id, kind][texts[text_id][position]] += 1
    return counts


def _listed_tokens(atlas: Atlas, neuron_ids: list[int]) -> dict[tuple[int, str], list[CongruentToken]]:
    """The first LISTED of each list of tokens, by neuron and direction."""
    lists: dict[tuple[int, str], list[CongruentToken]] = defaultdict(list)
    for neuron_id, end, rank, token_id, congruence in LISTED_TOKENS.rows(atlas, neuron_ids=neuron_ids, limit=LISTED):
        lists[neuron_id, end].append(CongruentToken(end, rank, atlas.tokens[token_id], congruence))
    for tokens in lists.values():
        tokens.sort(key=lambda item: item.rank)
    return lists
