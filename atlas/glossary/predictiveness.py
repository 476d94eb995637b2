"""Terms of how well activation predicts, and of what weights promise about it."""

from __future__ import annotations

from atlas.glossary.term import BEST, POST, Term

_OF_BEST = "FROM best JOIN pair_metric USING (neuron_id, token_id) WHERE side = 'positive'"


def _metric(columns: str) -> str:
    return f"{BEST}SELECT neuron, token, {columns}\n{_OF_BEST}"


PREDICTIVENESS = (
    Term(
        "Support",
        "support",
        "What a pair must have before anything is said of how well its neuron predicts its token: at least 10 counted "
        "positions with the outcome, 10 without, and 10 at which the neuron fires on the side. Below, metrics are "
        "NULL.",
        "SELECT side, count(*) AS pairs, count(auroc_predicted) AS with_support FROM pair_metric GROUP BY side "
        "ORDER BY side DESC",
    ),
    Term(
        "AUROC",
        "auroc",
        "Area under the ROC curve of the activation as a predictor of the positions at which a token is predicted (or "
        "really comes): the probability that such a position has a higher activation than another, so that 0.5 says "
        "nothing and 0 the opposite. Positions of one bin tie; the error is what that leaves open.",
        _metric("auroc_predicted, auroc_predicted_error"),
        "Hanley and McNeil, Radiology 143 (1982), 29",
    ),
    Term(
        "Average precision",
        "average-precision",
        "Mean, over the positions at which the token is predicted, of the precision from their activation on. Unlike "
        "AUROC it asks that firing be rarely wrong; chance gives the base rate.",
        _metric("average_precision_predicted, base_rate_predicted"),
    ),
    Term(
        "Best F1",
        "best-f",
        "Greatest harmonic mean of precision and recall that a threshold at a bin's edge reaches.",
        _metric("best_f1_predicted, best_threshold_predicted, precision_predicted, recall_predicted"),
    ),
    Term(
        "Top 0.1%",
        "top-thousandth",
        "Of the 0.1% of positions of highest activation, the proportion at which the token is predicted; its lift is "
        "that over the base rate.",
        _metric("top_thousandth_predicted, lift_predicted"),
    ),
    Term(
        "Mutual information",
        "mutual-information",
        "Bits that the level of the activation tells about whether the token is predicted. Small for rare tokens, "
        "about which there is little to tell.",
        _metric("mutual_information_predicted"),
        "Shannon, Bell System Technical Journal 27 (1948), 379",
    ),
    Term(
        "Monotonicity",
        "monotonicity",
        "Share of the prediction curve's variance that the nearest never-falling curve has: 1 if more activation "
        "never makes the token less likely, 0 if it only falls.",
        _metric("monotonicity_predicted"),
    ),
    Term(
        "Gaps of any pair",
        "pair-gaps",
        "For the pairs that are compared over the whole model: the congruence less the neuron's greatest other (token "
        "gap), or less the token's greatest other (neuron gap). Above 0 for the best alone, and then the usual gaps. "
        "The score is the product where both are above 0, else the lesser of the two.",
        f"""{BEST}SELECT neuron, token,
       c.congruence - CASE n.best_token_id WHEN c.token_id THEN n.best_congruence - n.token_gap
                      ELSE n.best_congruence END AS token_gap,
       c.congruence - CASE t.best_neuron_id WHEN c.neuron_id THEN t.best_congruence - t.neuron_gap
                      ELSE t.best_congruence END AS neuron_gap
FROM best JOIN candidate_pair AS c USING (neuron_id, token_id)
JOIN neuron AS n USING (neuron_id) JOIN token AS t USING (token_id)""",
        POST,
    ),
    Term(
        "Rank correlation",
        "rank-correlation",
        "Spearman's coefficient: the correlation of ranks, 1 where one number always rises with the other, equal "
        "values sharing their mean rank. Its intervals here come from drawing neurons anew, each with all its pairs.",
        """WITH pair AS (
    SELECT congruence, auroc_predicted AS metric
    FROM pair_metric JOIN candidate_pair USING (neuron_id, token_id) JOIN token AS t USING (token_id)
    WHERE side = 'positive' AND auroc_predicted IS NOT NULL AND NOT t.special AND t.n_actual > 0
),
ranked AS (
    SELECT rank() OVER (ORDER BY congruence) + (count(*) OVER (PARTITION BY congruence) - 1) / 2 AS a,
           rank() OVER (ORDER BY metric) + (count(*) OVER (PARTITION BY metric) - 1) / 2 AS b
    FROM pair
)
SELECT corr(a, b) AS rank_correlation, count(*) AS pairs FROM ranked""",
        "Spearman, American Journal of Psychology 15 (1904), 72",
    ),
    Term(
        "Effect of ablation",
        "ablation-effect",
        "What becomes of a token's probability, rank and logit at positions where a neuron fires if its activation is "
        "set to its mean: cause, where prediction curves show only correlation. Measured by `atlas effects` for some "
        "pairs.",
        "SELECT count(*) AS pairs, avg(probability_change) AS mean_probability_change FROM pair_effect",
    ),
)
