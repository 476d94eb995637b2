"""Words for kinds of neurons, families of tokens, and congruence with hubs discounted."""

from __future__ import annotations

from atlas.glossary.term import BEST, POST, Term

GURNEE = "Gurnee et al., Universal Neurons in GPT2 Language Models, 2024; the thresholds are conventions of this atlas"
HUBS = "Radovanović, Nanopoulos and Ivanović, Hubs in Space, JMLR 11 (2010)"
CONNEAU = "Conneau et al., Word Translation Without Parallel Data, 2018"
GLUSCOPE = (
    "Gerstner and Schütze, Understanding Gated Neurons in Transformers from Their Input-Output Functionality, 2025"
)

KINDS = (
    Term(
        "Kind of neuron",
        "kind",
        "By the moments of its congruence over the vocabulary. Kurtosis above 10, so that a few tokens stand far "
        "out: a prediction neuron if they do so above (skewness above 0), a suppression neuron if below; kurtosis "
        "at most 4 and a spread above 1.5, a partition neuron, which raises one half of the vocabulary against the "
        "other. In gated models the sign of a neuron is arbitrary, so its skewness is taken on the side on which it "
        "fires strongly (with the opposite sign where its activation is skewed downwards).",
        "SELECT kind, count(*) AS neurons, min(layer) AS first, median(layer) AS middle, max(layer) AS last\n"
        "FROM neuron_kind GROUP BY kind ORDER BY kind",
        GURNEE,
    ),
    Term(
        "Spread",
        "spread",
        "Standard deviation of a neuron's congruence over the vocabulary for an output norm of 1, over the mean of "
        "that over all neurons of the model. 1 is usual; large, its output weights lie where tokens differ most.",
        "SELECT neuron, spread, kurtosis FROM neuron_kind ORDER BY spread DESC NULLS LAST, neuron_id LIMIT 3",
        GURNEE,
    ),
    Term(
        "Token detector",
        "detector",
        "A neuron whose input weights, or gate, read the embedding of one token far more than of any other: its "
        "lead over the second is more than three times what the second leads the twentieth by. About one list in "
        "400 does that by chance, so a few detectors among many neurons say nothing. What attention and earlier "
        "layers add is not in it.",
        "SELECT count(*) AS detectors, max(lead) AS greatest_lead, arg_max(neuron, lead) AS neuron,\n"
        "       arg_max(token, lead) AS token\nFROM token_detector",
    ),
    Term(
        "Hub",
        "hub",
        "A neuron that is the best neuron of more tokens than the mean over the model's neurons by more than two "
        "standard deviations. That it is a token's best says little about the token.",
        "SELECT count(*) AS hubs, sum(hub_count) AS best_of, max(hub_count) AS greatest FROM neuron_kind WHERE hub",
        HUBS,
    ),
    Term(
        "Reduced congruence",
        "reduced-congruence",
        "Congruence with hubs discounted: twice the congruence of a neuron with a token, less the neuron's mean "
        "congruence with its ten best tokens and the token's with its ten best neurons. Above 0, the pair is beyond "
        "what is usual for both. Ranked over the stored lists; of congruence and not of cosine, since the lists are "
        "exact for it and what norms add is part of what is taken off.",
        BEST + "SELECT r.neuron, r.token, r.reduced, r.congruence, r.neuron_mean, r.token_mean\n"
        "FROM reduced_congruence AS r JOIN best USING (neuron_id)\n"
        "WHERE r.list = 'neuron' ORDER BY r.reduced DESC, r.token_id LIMIT 3",
        CONNEAU,
    ),
    Term(
        "Family",
        "family",
        "Tokens that differ in spelling alone: equal after stripping space at both ends and letter case (' an', "
        "'an', ' An'). A neuron that writes one is likely to write the others, which looks like noise in the curve "
        "of one. Of each neuron's best token the predictions of the whole family are counted too: a position counts "
        "once if any member is predicted.",
        'SELECT count(*) AS members, list(t."text" ORDER BY t.token_id)[:8] AS tokens, sum(n_predicted) AS predicted\n'
        "FROM token_family AS f JOIN token AS t USING (token_id)\n"
        "GROUP BY f.family_id ORDER BY predicted DESC, f.family_id LIMIT 3",
        POST,
    ),
    Term(
        "Kin",
        "kin",
        "Tokens that share at least two of their five best neurons, as the post found ' though' and ' however' to "
        "do. How alike they are is the weighted Jaccard index of the two lists, 0 to 1: a neuron weighs the "
        "logarithm of the vocabulary's size over the number of tokens in whose lists it is, so that hubs count "
        "little.",
        BEST + "SELECT count(*) AS kin FROM (\n"
        "    SELECT other.token_id FROM best JOIN token_neuron AS own USING (token_id)\n"
        "    JOIN token_neuron AS other ON other.neuron_id = own.neuron_id AND other.token_id <> own.token_id\n"
        "    WHERE own.direction = 'top' AND own.rank <= 5 AND other.direction = 'top' AND other.rank <= 5\n"
        "    GROUP BY other.token_id HAVING count(*) >= 2\n)",
        POST,
    ),
    Term(
        "Sign case",
        "sign-case",
        "The activation of a gated neuron is act(gate) × input. Each of the two is above 0 or not: four cases, "
        "which differ in how often they are and how large the activation is. Counted by atlas ingest --sign-cases.",
        "SELECT sum(n) FILTER (gate_positive AND in_positive) / sum(n) AS both_positive,\n"
        "       sum(n) FILTER (gate_positive AND NOT in_positive) / sum(n) AS gate_alone,\n"
        "       sum(n) FILTER (NOT gate_positive AND in_positive) / sum(n) AS input_alone,\n"
        "       sum(n) FILTER (NOT gate_positive AND NOT in_positive) / sum(n) AS neither\nFROM sign_case",
        GLUSCOPE,
    ),
)
