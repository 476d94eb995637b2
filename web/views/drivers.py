"""`/{slug}/drivers`: neurons that oppose, or support, the prediction of a token most."""

from __future__ import annotations

from typing import Any

from atlas import Atlas
from atlas.core.info import AtlasInfo
from atlas.topics.attribution import attributed_positions
from atlas.topics.driver import DRIVER_SORTS, drivers, ranked_drivers
from atlas.topics.reliability import reliability, reliability_words
from web.views.ranking import Choice, Column, Ranking, Sentence, Words
from web.views.ranking_page import ranking_page

COLUMNS = (
    Column("place", "place", "place"),
    Column("neuron", "neuron", "curve"),
    Column("token", "token", "token"),
    Column("attribution", "attribution ± s.e.", "estimate"),
    Column("direct", "direct part", "signed"),
    Column("congruence", "congruence", "signed", "The pair’s congruence, from the weights"),
    Column("n", "positions"),
    Column("n_predicted", "predicted", title="Positions of the whole dataset at which the token is predicted"),
)

_ENDS = (("bottom", "opposes it"), ("top", "supports it"))
_NONE = "This atlas has no attributions: `atlas attribute FILE` adds them."


def _words(_info: AtlasInfo, chosen: dict[str, Any]) -> Words:
    verb = "opposes" if chosen["direction"] == "bottom" else "supports"
    return Words(
        lede=Sentence(
            f"Where the model predicts a token, which neuron {verb} it most? Attribution: how many logits the token "
            "would lose if the neuron were set to its mean, to first order.",
            "What is caused, over all pairs",
            "prediction",
        ),
    )


def _more(atlas: Atlas, ranking: Ranking, asked: Any, listing: Any) -> dict[str, Any]:
    """How well the estimates hold, or how to get them; and the title of the direction."""
    words = ranking.words(atlas.info, asked.chosen)
    title = ranking.title if asked.chosen["direction"] == "bottom" else "Neurons that support the prediction"
    note = Sentence(reliability_words(reliability(atlas)) if attributed_positions(atlas) else _NONE)
    return {"words": Words(lede=words.lede, note=note), "title": title}


RANKING = Ranking(
    name="drivers",
    title="Neurons that oppose the prediction",
    rows="drivers",
    counted="neurons and tokens",
    table="token_driver",
    score="attribution",
    score_label="|attribution| at least",
    choices=lambda _: (Choice("direction", _ENDS),),
    sorts=lambda _: DRIVER_SORTS,
    columns=lambda *_: COLUMNS,
    words=_words,
    where=lambda asked: (asked.chosen["direction"], asked.where),
    listing=drivers,
    statement=ranked_drivers,
    csv="neuron neuron_id token token_id direction rank attribution standard_error direct congruence n n_predicted",
    chunk=5000,
    more=_more,
    data=lambda page: {"direction": page.asked.chosen["direction"]},
)

blueprint = ranking_page(RANKING)
