"""`/{slug}/exclusive`: tokens by how far their best neuron leads the second."""

from __future__ import annotations

from atlas.topics.pair import EXCLUSIVITY_SORTS, ranked_tokens, token_exclusivities
from web.views.ranking import Column, Ranking, Sentence, Words
from web.views.ranking_page import ranking_page

COLUMNS = (
    Column("place", "place", "place"),
    Column("token", "token", "token", title=""),
    Column("neuron", "best neuron", "neuron"),
    Column("second_neuron", "second", "neuron"),
    Column("neuron_gap", "neuron gap"),
    Column("congruence", "congruence", "signed"),
    Column("n_predicted", "predicted"),
    Column("n_actual", "actual"),
)

RANKING = Ranking(
    name="exclusive",
    title="Exclusive tokens",
    rows="tokens",
    counted="tokens",
    table="token_exclusivity",
    score="gap",
    score_label="neuron gap from",
    choices=lambda _: (),
    sorts=lambda _: EXCLUSIVITY_SORTS,
    columns=lambda *_: COLUMNS,
    words=lambda *_: Words(
        lede=Sentence("Tokens by how far their best neuron leads the second, over all neurons of the model.")
    ),
    where=lambda asked: (asked.where,),
    listing=token_exclusivities,
    statement=ranked_tokens,
    csv="token token_id neuron neuron_id second_neuron neuron_gap congruence n_predicted n_actual",
    chunk=50_000,  # each query sorts the whole vocabulary again
)

blueprint = ranking_page(RANKING)
