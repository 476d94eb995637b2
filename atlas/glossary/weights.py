"""Words for what the weights say."""

from __future__ import annotations

from atlas.glossary.term import BEST, POST, Term

WEIGHTS = (
    Term(
        "Neuron",
        "neuron",
        "One hidden unit of one layer's MLP. L31N892 is layer 31, index 892, both from 0; its neuron_id is "
        "layer × d_mlp + index.",
        'SELECT neuron_id, name, layer, "index" FROM neuron ORDER BY neuron_id LIMIT 3',
    ),
    Term(
        "Token",
        "token",
        "A piece of text that the model reads and writes as one, shown with ␣ for a space at either end. Special "
        "tokens (BOS, chat marks) and rows that pad the vocabulary beyond the tokenizer are tokens too, and lists "
        "that leave them out say so.",
        "SELECT count(*) AS tokens, count(*) FILTER (special) AS special, "
        "count(*) FILTER (NOT in_tokenizer) AS padding FROM token",
    ),
    Term(
        "Readout",
        "readout",
        "The matrix that turns the final residual stream into one score a token. 'unembed' is the unembedding with "
        "the final norm's gain folded in, centred over the vocabulary; 'embed' is the embedding transposed, not "
        "folded and not centred, as in the post.",
        "SELECT readout, normalization, d_model, d_vocab FROM atlas",
        POST,
    ),
    Term(
        "Congruence",
        "congruence",
        "Dot product of a neuron's output weights with a token's readout column: what one unit of the neuron's "
        "activation adds to the token's score along the direct path, before the final norm divides. It has no unit, "
        "and paths through later layers are not in it.",
        BEST + "SELECT best.neuron, best.token, array_inner_product(n.w_out, t.readout) AS congruence\n"
        "FROM best JOIN neuron_weight AS n USING (neuron_id) JOIN token_weight AS t USING (token_id)",
        POST,
    ),
    Term(
        "Top and bottom",
        "direction",
        "The two ends of a congruence: 'top' is the highest first, 'bottom' the lowest first. In a gated MLP the sign "
        "of a neuron is arbitrary, so the bottom means as much as the top; otherwise activations are hardly ever "
        "negative and only the top is of use.",
        BEST + 'SELECT nt.direction, nt.rank, t."text" AS token, nt.congruence\n'
        "FROM best JOIN neuron_token AS nt USING (neuron_id) JOIN token AS t ON t.token_id = nt.token_id\n"
        "WHERE nt.rank <= 2 ORDER BY nt.direction DESC, nt.rank",
    ),
    Term(
        "Rank",
        "rank",
        "Place in a list, from 1; equal values are ordered by the lower id. The rank of an exclusive pair is by score "
        "and counts pairs with special tokens too, also on pages that leave those out.",
        "SELECT rank, neuron, token, score FROM pair WHERE direction = 'top' ORDER BY rank LIMIT 3",
    ),
    Term(
        "Token gap",
        "token-gap",
        "Of a neuron: its best congruence minus its second best, over all tokens of the vocabulary. Large: it writes "
        "one token more than any other.",
        BEST + "SELECT max(congruence) FILTER (rank = 1) - max(congruence) FILTER (rank = 2) AS token_gap\n"
        "FROM neuron_token WHERE direction = 'top' AND rank <= 2 AND neuron_id = (SELECT neuron_id FROM best)",
    ),
    Term(
        "Neuron gap",
        "neuron-gap",
        "Of a token: its best congruence minus its second best, over all neurons of the model. Large: one neuron "
        "writes it more than any other does.",
        BEST + "SELECT max(congruence) FILTER (rank = 1) - max(congruence) FILTER (rank = 2) AS neuron_gap\n"
        "FROM token_neuron WHERE direction = 'top' AND rank <= 2 AND token_id = (SELECT token_id FROM best)",
        POST,
    ),
    Term(
        "Exclusive pair",
        "exclusive-pair",
        "A neuron and a token that are each other's best: no other token is more congruent with the neuron, and no "
        "other neuron with the token. In gated models also a pair that is each other's worst (direction 'bottom').",
        "SELECT count(*) AS exclusive_pairs\n"
        "FROM neuron AS n JOIN token AS t ON t.token_id = n.best_token_id AND t.best_neuron_id = n.neuron_id",
        POST,
    ),
    Term(
        "Score",
        "score",
        "Of an exclusive pair: token gap × neuron gap. It is high where the neuron is clear about the token and the "
        "token about the neuron; pairs are ranked by it.",
        "SELECT neuron, token, token_gap, neuron_gap, token_gap * neuron_gap AS score\n"
        "FROM pair WHERE direction = 'top' ORDER BY rank LIMIT 3",
    ),
    Term(
        "Hub count",
        "hub-count",
        "Of a neuron: how many tokens have it as their best neuron. Of a token: how many neurons have it as their "
        "best token. A hub is a neuron or token of which that is very many, so that being its best says little.",
        "SELECT n.name AS neuron, count(*) AS hub_count\n"
        "FROM token AS t JOIN neuron AS n ON n.neuron_id = t.best_neuron_id\n"
        "GROUP BY ALL ORDER BY hub_count DESC, neuron LIMIT 3",
    ),
    Term(
        "k-occurrence",
        "k-occurrence",
        "Of a neuron: in how many tokens' lists of the k best neurons it is; of a token: in how many neurons' lists of "
        "the k best tokens. The mean is fixed by k, so hubs are at the expense of all others.",
        "SELECT n.name AS neuron, count(*) AS occurrence\n"
        "FROM token_neuron AS l JOIN neuron AS n USING (neuron_id)\n"
        "WHERE l.direction = 'top' AND l.rank <= 10 GROUP BY ALL ORDER BY occurrence DESC, neuron LIMIT 3",
        "Radovanović, Nanopoulos and Ivanović, Hubs in Space, JMLR 11 (2010)",
    ),
    Term(
        "Hubness",
        "hubness",
        "Skewness of the k-occurrence: the third standardised moment of its distribution over all neurons (or all "
        "tokens). 0 where none is favoured; tens or hundreds where a few are in nearly every list.",
        "WITH occurrence AS (\n"
        "    SELECT count(l.neuron_id) AS n\n"
        "    FROM neuron LEFT JOIN (FROM token_neuron WHERE direction = 'top' AND rank <= 10) AS l USING (neuron_id)\n"
        "    GROUP BY neuron_id\n"
        "), moment AS (SELECT avg(n) AS mean, stddev_pop(n) AS std FROM occurrence)\n"
        "SELECT avg(((n - mean) / std) ** 3) AS skewness FROM occurrence, moment WHERE std > 0",
        "Radovanović, Nanopoulos and Ivanović, Hubs in Space, JMLR 11 (2010)",
    ),
    Term(
        "Mean congruence",
        "mean-congruence",
        "Dot product of a neuron's output weights with the mean of the readout's columns: the part of its congruence "
        "that all tokens share. Softmax cannot see it; readout 'unembed' has it removed, and most hubs with it.",
        "SELECT name AS neuron, mean_congruence FROM neuron ORDER BY mean_congruence DESC, neuron_id LIMIT 3",
    ),
    Term(
        "Moments of congruence",
        "congruence-moments",
        "Mean, standard deviation, skewness and kurtosis (3 for a normal distribution) of a neuron's congruence over "
        "the whole vocabulary. High kurtosis: a few tokens stand far out from the rest.",
        BEST + "SELECT name AS neuron, congruence_mean, congruence_std, congruence_skewness, congruence_kurtosis\n"
        "FROM neuron WHERE neuron_id = (SELECT neuron_id FROM best)",
    ),
    Term(
        "Norm",
        "norm",
        "Euclidean length of a neuron's input, gate or output weights, after the norm's gain is folded into input and "
        "gate. Congruence grows with the norm of the output weights.",
        BEST + "SELECT name AS neuron, w_in_norm, w_gate_norm, w_out_norm\n"
        "FROM neuron WHERE neuron_id = (SELECT neuron_id FROM best)",
    ),
    Term(
        "Cosine",
        "cosine",
        "Dot product of two weight vectors over the product of their norms, −1 to 1. Between a neuron's input (or "
        "gate) and output weights it tells whether the neuron strengthens or weakens what it reads; between two "
        "neurons' vectors, whether they do alike.",
        BEST + "SELECT name AS neuron, in_out_cosine, gate_out_cosine\n"
        "FROM neuron WHERE neuron_id = (SELECT neuron_id FROM best)",
    ),
    Term(
        "Input tokens",
        "input-tokens",
        "The tokens whose embedding a neuron's input weights (or gate) read most and least, by dot product. Only the "
        "embedding: what attention and earlier layers add to the residual stream is not in it.",
        BEST + 'SELECT i.side, i.rank, t."text" AS token, i.value\n'
        "FROM neuron_input_token AS i JOIN token AS t USING (token_id)\n"
        "WHERE i.neuron_id = (SELECT neuron_id FROM best) AND i.direction = 'top' AND i.rank = 1 ORDER BY i.side DESC",
    ),
    Term(
        "Percentile",
        "percentile",
        "Of a number of a neuron: the fraction of the model's (or its layer's) neurons whose number is lower. p99.9 of "
        "the token gap: one neuron in a thousand has one as large.",
        BEST + "SELECT avg(CASE WHEN n.token_gap < chosen.token_gap THEN 1.0 ELSE 0.0 END) AS percentile\n"
        "FROM neuron AS n, (FROM neuron WHERE neuron_id = (SELECT neuron_id FROM best)) AS chosen",
    ),
)
