"""Sections of a report from the weights: the atlas itself, exclusive pairs, hubs, kinds of neurons."""

from __future__ import annotations

from atlas import Atlas
from atlas.core.display import show_number, show_share
from atlas.core.info import count_words, unfinished_words
from atlas.core.parameter import MOST_ROWS
from atlas.topics.centring import CENTRING, LOOKED_AT, measure_centring
from atlas.topics.family import family_pairs
from atlas.topics.hub import (
    DISTRIBUTION,
    HUB_NEURONS,
    HUB_TOKENS,
    hub_neurons,
    hub_tokens,
    neuron_occurrence,
    token_occurrence,
)
from atlas.topics.kind import LAYER_KINDS, layer_kinds
from atlas.topics.pair import exclusive_pairs as read_exclusive_pairs
from atlas.topics.pair import ranked_pairs
from web.charts.occurrence import occurrence_chart
from web.report.block import Section, panel

_COUNTS = """SELECT direction, count(*) AS pairs,
       count(*) FILTER (NOT special AND n_actual > 0) AS of_ordinary_tokens_that_occur
FROM pair
GROUP BY direction
ORDER BY direction DESC"""


def what_it_is(atlas: Atlas) -> str:
    """The model and the data, in a sentence or two."""
    info, note = atlas.info, unfinished_words(atlas.info)
    return (f"{note} " if note else "") + (
        f"{info.model_name}: {info.n_layers:,} layers of {info.d_mlp:,} MLP neurons and {info.d_vocab:,} tokens, read "
        f"over {info.n_positions:,} counted positions of {info.n_texts:,} texts of {info.dataset}. Every figure "
        "below is about this model over these texts only."
    )


def provenance(atlas: Atlas) -> Section:
    """The settings of the run."""
    info, unfinished = atlas.info, unfinished_words(atlas.info)
    gated = (
        " Its MLP is gated: activations have signs, and a neuron writes its worst tokens where it is negative."
        if info.gated
        else ""
    )
    return Section(
        "What this atlas is",
        (
            f"Build {info.build_id}: readout {info.readout!r}, computed in {info.dtype} on {info.device}.{gated}",
            *(
                [f"{unfinished} The run had read {count_words(info)} texts when this build was written."]
                if unfinished
                else []
            ),
        ),
        (panel(atlas, "Provenance", "SELECT * EXCLUDE (readout_mean, versions, command) FROM atlas"),),
    )


def exclusive_pairs(atlas: Atlas) -> Section:
    """Neurons and tokens that are mutual best matches."""
    counts = {direction: (n, ordinary) for direction, n, ordinary in atlas.rows(_COUNTS)}
    n, ordinary = counts.get("top", (0, 0))
    sentences = [
        f"{n:,} neurons and tokens are mutual best matches, {ordinary:,} of them with an ordinary token that occurs: "
        "no token is more congruent with the neuron, and no neuron with the token."
    ]
    finding = f"{n:,} neurons and tokens are mutual best matches (exclusive pairs)."
    best = read_exclusive_pairs(atlas, "top", limit=MOST_ROWS).rows
    if best:
        first = best[0]
        pair, family = min(zip(best, family_pairs(atlas, best), strict=True), key=lambda item: item[1].family_rank)
        if family.family_gap is not None:
            finding = finding[:-1] + (
                f"; with other spellings of the token set aside, the strongest with an ordinary token is "
                f"{pair.neuron.name} with “{pair.token.shown}”, ahead of all other tokens by "
                f"{show_number(family.family_gap, 3)} and of all other neurons by {show_number(pair.neuron_gap, 3)}."
            )
        sentences.append(
            f"By score, the product of both leads over the runner-up, the first is {first.neuron.name} with "
            f"{first.token.shown} ({show_number(first.token_gap)} × {show_number(first.neuron_gap)} = "
            f"{show_number(first.score)})."
        )
    return Section(
        "Exclusive pairs",
        tuple(sentences),
        (
            panel(atlas, "How many", _COUNTS),
            panel(atlas, "The best by score", ranked_pairs(atlas, limit=20).shown()),
        ),
        finding,
    )


def hubs(atlas: Atlas) -> Section:
    """Neurons and tokens that are best for many, and the effect of centring on them."""
    k = 10
    neurons, tokens = hub_neurons(atlas, k), hub_tokens(atlas, k)
    sentences, finding = [], ""
    if neurons and tokens:
        sentences.append(
            f"{neurons[0].neuron.name} is the best neuron of {show_share(neurons[0].share)} of all tokens, "
            f"{tokens[0].token.shown} the best token of {show_share(tokens[0].share)} of all neurons. A hub is "
            "congruent with many, so its congruence with one says little."
        )
        finding = f"{neurons[0].neuron.name} is a hub: the best neuron of {show_share(neurons[0].share)} of all tokens."
    occurrence = occurrence_chart(neuron_occurrence(atlas, k), token_occurrence(atlas, k))
    panels = [
        panel(atlas, "Neurons", HUB_NEURONS.shown(k=k, limit=10)),
        panel(atlas, "Tokens", HUB_TOKENS.shown(k=k, limit=10)),
        panel(
            atlas,
            f"In how many lists of the {k} best each is",
            DISTRIBUTION.shown(k=k),
            charts=(occurrence,),
            table=False,
        ),
    ]
    if not atlas.info.has_weights:
        sentences.append("The effect of centring the readout cannot be computed: this atlas holds no weights.")
        return Section("Hubs, and what centring does", tuple(sentences), tuple(panels), finding)
    centring = measure_centring(atlas)
    if centring.uncentred and centring.centred:
        before, after = centring.uncentred[0], centring.centred[0]
        finding += (
            f" Without centring the readout, {before.neuron.name} is that of "
            f"{show_share(before.n_uncentred / centring.n_tokens)}."
        )
        sentences.append(
            f"Without centring the readout over the vocabulary, {before.neuron.name} is the best neuron of "
            f"{show_share(before.n_uncentred / centring.n_tokens)} of all tokens; with it, the greatest hub is "
            f"{after.neuron.name} with {show_share(after.n_centred / centring.n_tokens)}. Softmax cannot tell the two "
            f"apart. This atlas’s readout is {'centred' if centring.applied else 'not centred'}; the other case is "
            f"computed, and {centring.n_uncertified:,} of {centring.n_tokens:,} tokens could have another best neuron."
        )
    panels += [
        panel(atlas, f"Greatest hubs, {label}", CENTRING[by].shown(looked_at=LOOKED_AT, limit=10))
        for by, label in (("centred", "centred"), ("uncentred", "not centred"))
    ]
    return Section("Hubs, and what centring does", tuple(sentences), tuple(panels), finding)


def kinds(atlas: Atlas) -> Section:
    """Prediction, suppression and partition neurons, hubs, token detectors."""
    layers, n = layer_kinds(atlas), atlas.info.n_neurons
    counts = {
        word: sum(getattr(layer, word) for layer in layers) for word in ("prediction", "suppression", "partition")
    }
    sentence = (
        f"Of {n:,} neurons {counts['prediction']:,} are prediction neurons (they raise a few tokens), "
        f"{counts['suppression']:,} suppression neurons (they lower a few) and {counts['partition']:,} partition "
        "neurons (they raise one half of the vocabulary against the other), by the moments of their congruence."
    )
    return Section("Kinds of neurons", (sentence,), (panel(atlas, "By layer", LAYER_KINDS.shown()),))
