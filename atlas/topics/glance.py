"""Neurons at a glance: verdict, area under ROC and firing token, for lists of neurons."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from textwrap import indent

from atlas.core.db import Atlas
from atlas.core.texts import texts_by_id
from atlas.core.units import Token
from atlas.topics.attribution import attribution_magnitudes
from atlas.topics.neuron import Neuron
from atlas.topics.pair_metric.effects import pair_figures
from atlas.topics.verdict import Verdict, verdicts

FEWEST = 3
"""Fewest top texts that must fire a neuron on the same token."""


@dataclass(frozen=True)
class NeuronGlance:
    """What a list says of a neuron besides its numbers."""

    verdict: str
    """Its verdict in a few words."""
    auroc: float | None
    """Area under ROC of its activation as a predictor of the verdict's token. None: no token, or too little support."""
    fires_on: Token | None
    """The token on which it fires in most of its top texts, on the verdict's side; None: in fewer than FEWEST."""
    n_fires_on: int
    """Top texts in which it fires on that token; 0 where there is none."""
    attribution: float | None
    """Mean magnitude of its attribution (`neuron_attribution.attribution_abs_mean`); None: attribution was off."""


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


def glances(atlas: Atlas, neurons: Sequence[Neuron]) -> list[NeuronGlance]:
    """What a list says of neurons, in their order: two queries for all."""
    known = verdicts(atlas, neurons)
    aurocs = _aurocs(atlas, neurons, known)
    counts = _firing_tokens(atlas, [neuron.neuron_id for neuron in neurons])
    magnitudes = attribution_magnitudes(atlas, [neuron.neuron_id for neuron in neurons])
    found = []
    for neuron, magnitude in zip(neurons, magnitudes, strict=True):
        verdict = known[neuron.neuron_id]
        kind = None if verdict.side is None else "min" if verdict.side == "negative" else "max"
        # Equal counts stay in the order in which they came: the higher rank first.
        [(token_id, n)] = counts[neuron.neuron_id, kind].most_common(1) or [(0, 0)]
        token = atlas.tokens[token_id] if n >= FEWEST else None
        found.append(NeuronGlance(verdict.headline, aurocs.get(neuron.neuron_id), token, n if token else 0, magnitude))
    return found


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
