"""The closing summary of `atlas study`."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table
from rich.text import Text

from atlas.core.db import open_atlas
from ingest.study.record import Recorded

_STEPS = """
SELECT n.name, r.value, c.value, t."text"
FROM study_step AS r
JOIN neuron AS n USING (neuron_id)
LEFT JOIN token AS t ON t.token_id = n.best_token_id
LEFT JOIN study_step AS c ON c.study = r.study AND c.kind = 'direct_effect' AND c.variant = 'clean'
     AND c.neuron_id = r.neuron_id
WHERE r.study = ? AND r.kind = 'patch_neuron'
ORDER BY r.value DESC, r.neuron_id LIMIT 8"""

_ABLATION = """
SELECT coalesce(n.name, 'together'), s.variant, s.value
FROM study_step AS s LEFT JOIN neuron AS n USING (neuron_id)
WHERE s.study = ? AND s.kind = 'ablation'
ORDER BY s.neuron_id NULLS LAST, s.variant"""


def print_study(recorded: Recorded, console: Console) -> None:
    """Print the difference, the layers whose MLP recovers most, the neurons found, and their ablations."""
    console.print(Text("\n") + Text(str(recorded.out), "bold") + Text(f"  build {recorded.build_id}"), soft_wrap=True)
    with open_atlas(recorded.out) as atlas:
        ((clean, corrupt, p_clean, p_corrupt, n),) = atlas.rows(
            "SELECT clean_logit_diff, corrupt_logit_diff, p_answer_clean, p_answer_corrupt, n_prompts FROM study "
            "WHERE name = ?",
            recorded.name,
        )
        pairs = "" if n == 1 else f", means over {n} pairs"
        console.print(
            f"Study {recorded.name}: logit difference {clean:.3f} clean, {corrupt:.3f} corrupt; probability of the "
            f"answer {p_clean:.1%} clean, {p_corrupt:.1%} corrupt{pairs}.",
            markup=False,
        )
        layers = atlas.rows(
            "SELECT layer, value FROM study_step WHERE study = ? AND kind = 'patch_mlp_out' AND position = "
            "(SELECT max(position) FROM study_step WHERE study = ? AND kind = 'patch_mlp_out') "
            "ORDER BY value DESC, layer LIMIT 4",
            recorded.name,
            recorded.name,
        )
        steps, ablations = atlas.rows(_STEPS, recorded.name), atlas.rows(_ABLATION, recorded.name)
    best = ", ".join(f"L{layer} {value:.1%}" for layer, value in layers)
    console.print(f"MLPs that recover most at the last position: {best}", markup=False)
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("neuron", "recovery", "direct effect", "best token"):
        table.add_column(heading, justify="right" if heading in ("recovery", "direct effect") else "left")
    for name, recovery, effect, token in steps:
        table.add_row(name, f"{recovery:.1%}", "–" if effect is None else f"{effect:.3f}", Text(repr(token)))
    console.print(table)
    for name, variant, change in ablations:
        console.print(f"  {name} {variant}: probability of the answer {change:+.1%}", markup=False)
    times = ", ".join(f"{phase} {seconds:.1f} s" for phase, seconds in recorded.seconds.items())
    console.print(f"{times}", markup=False)
