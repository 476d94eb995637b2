"""The SQL behind each panel of a study's page, for people: it runs as it is, on the file or in the console."""

from __future__ import annotations

from atlas.panels.literal import text

STUDIES_PANELS = {
    "studies": """SELECT s.name, s.clean, s.corrupt, a."text" AS answer, o."text" AS other, s.clean_logit_diff,
       s.corrupt_logit_diff, s.n_prompts
FROM study AS s
JOIN token AS a ON a.token_id = s.answer_token_id
JOIN token AS o ON o.token_id = s.other_token_id
ORDER BY s.name"""
}
"""SQL of the list of studies."""

_STANDS_OUT = """SELECT study, rank, recovery, direct_effect_clean, direct_effect_corrupt
FROM study_neuron
WHERE neuron_id = {neuron} AND found
ORDER BY study"""

_ASKS_FOR = """SELECT name, clean, corrupt, answer_token_id, other_token_id
FROM study
WHERE {token} IN (answer_token_id, other_token_id)
ORDER BY name"""


def stands_out_panel(neuron_id: int) -> str:
    """SQL of the studies in which a neuron stands out."""
    return _STANDS_OUT.format(neuron=neuron_id)


def asks_for_panel(token_id: int) -> str:
    """SQL of the studies that weigh a token against another."""
    return _ASKS_FOR.format(token=token_id)


_PANELS = {
    "predictions": """SELECT p.prompt, p.side, p.rank, t."text" AS token, p.logit, p.probability
FROM study_prediction AS p JOIN token AS t USING (token_id)
WHERE p.study = {study}
ORDER BY p.prompt, p.side, p.rank""",
    "prompts": """SELECT prompt, clean, corrupt, clean_logit_diff, corrupt_logit_diff, p_answer_clean, p_answer_corrupt
FROM study_prompt
WHERE study = {study}
ORDER BY prompt""",
    "lens": """SELECT variant, layer, site, value, low, high
FROM study_step
WHERE study = {study} AND kind = 'logit_lens'
ORDER BY variant, layer, CASE site WHEN 'pre' THEN 0 WHEN 'mid' THEN 1 ELSE 2 END""",
    "patching": """SELECT kind, layer, position, value AS recovery, low, high
FROM study_step
WHERE study = {study} AND kind IN ('patch_resid_pre', 'patch_attn_out', 'patch_mlp_out')
ORDER BY kind, layer, position""",
    "neurons": """SELECT rank, neuron, recovery, low, high, direct_effect_clean, direct_effect_corrupt, found,
       best_token
FROM study_neuron
WHERE study = {study}
ORDER BY rank
LIMIT 50""",
    "direct": """SELECT n.neuron, n.recovery,
       (n.direct_effect_clean - n.direct_effect_corrupt) / (s.clean_logit_diff - s.corrupt_logit_diff) AS direct_share
FROM study_neuron AS n JOIN study AS s ON s.name = n.study
WHERE n.study = {study}
ORDER BY abs(direct_share) DESC, n.neuron_id
LIMIT 50""",
    "ablation": """SELECT coalesce(n.name, 'all together') AS neuron, s.variant, s.value AS change, s.low, s.high
FROM study_step AS s LEFT JOIN neuron AS n USING (neuron_id)
WHERE s.study = {study} AND s.kind = 'ablation'
ORDER BY s.neuron_id NULLS LAST, s.variant""",
    "numbers": "SELECT * FROM study WHERE name = {study}",
}

_BEST = """SELECT l.direction, l.rank, t."text" AS token, l.congruence
FROM neuron_token AS l JOIN token AS t USING (token_id)
WHERE l.neuron_id = {neuron}
ORDER BY l.direction DESC, l.rank"""

_CURVE = """SELECT lower, upper, n, n_predicted, n_actual, predicted_fraction, actual_fraction
FROM prediction_curve
WHERE neuron_id = {neuron} AND token_id = {token}
ORDER BY bin"""


def study_panels(name: str, neuron_id: int | None = None, token_id: int | None = None) -> dict[str, str]:
    """SQL of a study's page by panel; `neuron_id` is the neuron that it found first, `token_id` the answer."""
    panels = {panel: sql.format(study=text(name)) for panel, sql in _PANELS.items()}
    if neuron_id is not None:
        panels["best"] = _BEST.format(neuron=neuron_id)
        panels["curve"] = _CURVE.format(neuron=neuron_id, token=token_id)
    return panels
