"""`/{slug}/pairs`: exclusive pairs, and the curves of the first five."""

from __future__ import annotations

from functools import partial
from typing import Any

from atlas import Atlas
from atlas.core.info import AtlasInfo
from atlas.core.units import Listing
from atlas.topics.curve import CURVES, of_pairs, pair_curves
from atlas.topics.family import family_pairs
from atlas.topics.pair import PAIR_SORTS, exclusive_pairs, ranked_pairs
from atlas.topics.pair_metric.effects import pair_figures
from web.charts.curve import curves_chart
from web.sections.curves import pair_label
from web.views.ranking import Asked, Choice, Column, Ranking, Sentence, Words
from web.views.ranking_page import RankingPage, ranking_page

MAX_CURVES = 5

COLUMNS = (
    Column("rank", "rank"),
    Column("neuron", "neuron", "neuron"),
    Column("token", "token", "token"),
    Column("score", "score"),
    Column("congruence", "congruence", "signed"),
    Column("token_gap", "token gap"),
    Column(
        "family_gap",
        "family gap",
        "family",
        "The token gap with other spellings of the token set aside: they differ in case and surrounding space only",
    ),
    Column("neuron_gap", "neuron gap"),
    Column("n_predicted", "predicted", title="Counted positions at which the token is the model’s top prediction"),
    Column("n_actual", "actual", title="Counted positions whose actual next token it is"),
)

_ENDS = (("top", "best"), ("bottom", "worst"))


def _choices(info: AtlasInfo) -> tuple[Choice, ...]:
    return (Choice("direction", _ENDS) if info.gated else Choice("direction", _ENDS[:1], also=("bottom",)),)


def _words(_info: AtlasInfo, chosen: dict[str, Any]) -> Words:
    end = dict(_ENDS)[chosen["direction"]]
    return Words(
        lede=Sentence(
            f"A neuron and a token that are mutual {end} matches. The score is the token gap times the neuron gap: by "
            "how far each leads the other’s runner-up."
        ),
        note=Sentence(
            "Ranks count every exclusive pair, also those with special tokens and tokens that never occur in these "
            "texts, which are left out below unless every token is asked for."
        ),
        footnote=Sentence(
            "AUROC and AP (average precision): how well the neuron’s activation finds the positions at which the token "
            "is predicted.",
            "These pairs by metric.",
            "predictive",
            {"exclusive": chosen["direction"]},
        ),
    )


def _more(atlas: Atlas, ranking: Ranking, asked: Asked, listing: Listing) -> dict[str, Any]:
    """Figures of the pairs, and the curves of the first pairs of the selection, whatever the page."""
    first = listing if asked.page == 1 else ranking.find(atlas, asked, MAX_CURVES, 0)
    curves = tuple(pair_curves(atlas, first.rows[:MAX_CURVES]))
    ids = [(pair.neuron.neuron_id, pair.token.token_id, pair.congruence) for pair in listing.rows]
    more = {
        "figures": tuple(pair_figures(atlas, ids)),
        "families": tuple(family_pairs(atlas, listing.rows)),
        "curves": curves,
    }
    if not curves:
        return more
    title = f"Predictions of the first {len(curves)} exclusive pairs against the neuron’s activation"
    return more | {
        "curves_chart": curves_chart("pairs", curves, title=title, label=pair_label("pair")),
        "panels": {"curves": CURVES.shown(**of_pairs(curve.candidate for curve in curves))},
    }


def _data(page: RankingPage) -> dict[str, Any]:
    gated = len(page.asked.choices[0].options) == 2
    return {
        "gated": gated,
        "direction": page.asked.chosen["direction"],
        "figures": page.figures,
        "families": page.families,
        "curves": page.curves,
    }


RANKING = Ranking(
    name="pairs",
    title="Exclusive pairs",
    rows="pairs",
    counted="pairs",
    table="exclusive_pair",
    score="score",
    score_label="score from",
    choices=_choices,
    sorts=lambda _: PAIR_SORTS,
    columns=lambda *_: COLUMNS,
    words=_words,
    where=lambda asked: (asked.chosen["direction"], asked.where),
    listing=exclusive_pairs,
    statement=partial(ranked_pairs, figures=True),
    csv="direction rank neuron neuron_id token token_id score congruence token_gap neuron_gap n_predicted n_actual",
    chunk=5000,
    more=_more,
    data=_data,
)

blueprint = ranking_page(RANKING)
