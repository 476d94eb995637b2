"""Words for what the activations do."""

from __future__ import annotations

from atlas.glossary.term import BEST, POST, Term

_CURVE = (
    BEST.rstrip("\n").removesuffix(")")
    + """), curve AS (
    SELECT b.bin, b.lower, b.upper, h.n, coalesce(p.n_predicted, 0) AS n_predicted, coalesce(p.n_actual, 0) AS n_actual
    FROM best
    JOIN activation_histogram AS h USING (neuron_id)
    JOIN histogram_bin AS b USING (bin)
    LEFT JOIN prediction_histogram AS p
        ON p.neuron_id = best.neuron_id AND p.token_id = best.token_id AND p.bin = h.bin
)
"""
)

_BEYOND = (
    _CURVE.rstrip("\n").removesuffix(")")
    + """), beyond AS (
    SELECT sum(n) AS n, sum(n_predicted) AS k FROM curve WHERE lower >= 1
), everywhere AS (
    SELECT sum(n) AS n, sum(n_predicted) AS k FROM curve
)
"""
)

_FIRED = (
    BEST.rstrip("\n").removesuffix(")")
    + """), fired AS (
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

ACTIVITY = (
    Term(
        "Activation",
        "activation",
        "The number that multiplies a neuron's output weights at a position: TransformerLens' hook_post. In a gated "
        "MLP it is act(gate) × in, which has either sign; otherwise it is the activation function's value, which for "
        "GELU is never below −0.17.",
        "SELECT act_fn, gated, hook FROM atlas",
    ),
    Term(
        "Position",
        "position",
        "A place in a text, BOS being 0. Every number is over the counted positions: all positions of all texts that "
        "were read, without the BOS unless the atlas says that it is counted.",
        "SELECT n_texts, n_positions, bos_counted FROM atlas",
    ),
    Term(
        "Activation histogram",
        "histogram",
        "How often a neuron's activation falls in each bin. Bins are the same for all neurons, four an octave, from a "
        "float's own bits: one bin for magnitudes below 1/64, the outermost (512 and more) open.",
        BEST + "SELECT b.lower, b.upper, h.n\n"
        "FROM activation_histogram AS h JOIN histogram_bin AS b USING (bin)\n"
        "WHERE h.neuron_id = (SELECT neuron_id FROM best) ORDER BY b.bin DESC LIMIT 3",
    ),
    Term(
        "Moments of activation",
        "activation-moments",
        "Mean, standard deviation, skewness and kurtosis (3 for a normal distribution) of a neuron's activation over "
        "the counted positions, exact, not from the histogram. Kurtosis in the hundreds: it fires rarely and hard.",
        BEST + "SELECT activation_mean, activation_std, activation_skewness, activation_kurtosis\n"
        "FROM neuron WHERE neuron_id = (SELECT neuron_id FROM best)",
    ),
    Term(
        "Positive fraction",
        "positive-fraction",
        "Fraction of the counted positions at which the activation is above 0. In a gated MLP about a half is usual.",
        "SELECT min(positive_fraction) AS least, median(positive_fraction) AS median, "
        "max(positive_fraction) AS greatest\nFROM neuron",
    ),
    Term(
        "Dead",
        "dead",
        "Said of a neuron whose every counted activation lies in the zero bin: its magnitude was never 1/64 or more "
        "in these texts. Other texts may wake it.",
        "SELECT count(*) FILTER (dead) AS dead, count(*) AS neurons FROM neuron",
    ),
    Term(
        "Maximum-activating text",
        "maximum-text",
        "One of the texts with a neuron's greatest maximum activation, one position a text, shown as a window around "
        "it. Gated models have minimum texts too, which are the same at the other end.",
        BEST + "SELECT kind, count(*) AS texts, max(activation) AS greatest, min(activation) AS least\n"
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
        "Predicted",
        "predicted",
        "Counted positions at which the token is the model's top prediction: the greatest of its logits (with readout "
        "'embed', of that readout's scores).",
        'SELECT "text" AS token, n_predicted FROM token ORDER BY n_predicted DESC, token_id LIMIT 3',
    ),
    Term(
        "Actual",
        "actual",
        "Counted positions after which the token really comes next in the text. The last position of a text has no "
        "next token, so it counts as a position and for no token.",
        'SELECT "text" AS token, n_actual FROM token ORDER BY n_actual DESC, token_id LIMIT 3',
    ),
    Term(
        "Candidate pair",
        "candidate",
        "A neuron and a token whose predictions were counted: each neuron's K best tokens, each token's K best "
        "neurons (in gated models the worst too), all exclusive pairs, and those the user asked for. Pairs that are "
        "no candidates have no curve.",
        "SELECT count(*) AS candidates, any_value(pair_candidates) AS k FROM candidate_pair, atlas",
    ),
    Term(
        "Prediction curve",
        "prediction-curve",
        "Of a candidate pair: in each bin of the neuron's activation, the fraction of positions at which the token is "
        "predicted, and after which it really comes. If firing goes with the prediction, the curve rises.",
        _CURVE + "SELECT lower, upper, n, n_predicted / n AS predicted_fraction, n_actual / n AS actual_fraction\n"
        "FROM curve ORDER BY bin DESC LIMIT 3",
        POST,
    ),
    Term(
        "Wilson interval",
        "wilson",
        "95% score interval of a fraction k of n: what it may be, were n many more. It holds for independent "
        "positions; those of one text are not, so the truth is less certain.",
        _BEYOND + "SELECT k, n, 1.959964 ** 2 AS z2, (k + z2 / 2) / (n + z2) AS centre,\n"
        "       1.959964 * sqrt(k * (n - k) / n + z2 / 4) / (n + z2) AS half,\n"
        "       greatest(0, centre - half) AS lower, least(1, centre + half) AS upper\nFROM everywhere",
        "Wilson, JASA 22 (1927), 209",
    ),
    Term(
        "Threshold",
        "threshold",
        "A bin's edge taken as a rule: where the activation is beyond it, say that the token is predicted. Counts are "
        "of whole bins, so they are exact.",
        _BEYOND + "SELECT 1 AS threshold, n AS positions, k AS predicted FROM beyond",
    ),
    Term(
        "Precision",
        "precision",
        "Of a threshold: the fraction of the positions beyond it at which the token is predicted.",
        _BEYOND + "SELECT k / n AS precision FROM beyond",
    ),
    Term(
        "Recall",
        "recall",
        "Of a threshold: the fraction of the token's predictions that lie beyond it. Most predictions may happen "
        "without the neuron.",
        _BEYOND + "SELECT beyond.k / nullif(everywhere.k, 0) AS recall FROM beyond, everywhere",
    ),
    Term(
        "Lift",
        "lift",
        "Of a threshold: its precision over the fraction of all positions at which the token is predicted. 1: the "
        "activation says nothing.",
        _BEYOND + "SELECT (beyond.k / beyond.n) / nullif(everywhere.k / everywhere.n, 0) AS lift "
        "FROM beyond, everywhere",
    ),
    Term(
        "Rise",
        "rise",
        "What notable neurons are chosen by: the fraction predicted in the activation's tail (whole bins from the "
        "pair's end until they hold 20 positions and as many as there are predictions) less the fraction anywhere.",
        _CURVE.rstrip("\n").removesuffix(")")
        + """), tail AS (
    SELECT n, n_predicted, sum(n) OVER (ORDER BY bin DESC) - n AS before, sum(n_predicted) OVER () AS wanted FROM curve
)
SELECT sum(n_predicted) / sum(n) - any_value(wanted) / (SELECT sum(n) FROM curve) AS rise
FROM tail WHERE before < greatest(wanted, 20)""",
    ),
    Term(
        "Illusion guard",
        "illusion-guard",
        "How far the tokens at which a neuron fires in its maximum texts differ from those in ordinary texts: total "
        "variation distance, 0 (the same) to 1 (nothing in common), spaces and case aside. Near 1, the maximum texts "
        "mislead about what it ordinarily does.",
        _FIRED + "SELECT 1 - sum(least(maximum, ordinary)) AS distance FROM share",
        "Bolukbasi et al., An Interpretability Illusion for BERT, 2021",
    ),
)
