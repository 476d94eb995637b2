"""Sections of a report for the recorded studies."""

from __future__ import annotations

from typing import Any

from atlas import Atlas
from atlas.core.parameter import MOST_ROWS
from atlas.topics.study.edges import study_edges
from atlas.topics.study.lens import lens_jumps
from atlas.topics.study.neurons import study_neurons
from atlas.topics.study.records import Study
from atlas.topics.study.study import list_studies, study_prompts
from web.charts.ablation import ablation_chart
from web.charts.heat import KINDS, heat_chart, reach_of
from web.charts.lens import lens_chart
from web.charts.recovery import direct_chart, distribution_chart, estimate_chart, recovery_chart
from web.charts.study_graph import graph_chart
from web.report.block import Panel, Section, panel
from web.views.study import layer_steps, position_labels, study_panels
from web.views.study_words import say

_PATCHING = frozenset(name for name, _, _ in KINDS.values())


def _nowhere(*_: Any) -> str:
    """Charts of a report have no links."""
    return ""


def studies(atlas: Atlas) -> list[Section]:
    """A section for each study, or one that says that there is none."""
    recorded = list_studies(atlas)
    if not recorded:
        note = "This atlas records no study: `atlas study FILE` runs one (predictions, logit lens, patching, ablation)."
        return [Section("Studies", (note,))]
    return [_section(atlas, study) for study in recorded]


def _section(atlas: Atlas, study: Study) -> Section:
    name, model, n_layers = study.name, atlas.info.model_name, atlas.info.n_layers
    prompts = study_prompts(atlas, name, limit=MOST_ROWS).rows
    lens, patches, ablations = layer_steps(atlas, name)
    jumps = lens_jumps(lens)
    neurons = study_neurons(atlas, study, 20)
    edges = study_edges(atlas, name)
    sayings = say(study, jumps, patches, neurons, ablations, edges)
    labels = position_labels(study, prompts, {step.position for steps in patches.values() for step in steps})
    reach = reach_of(list(patches.values()))
    sql = study_panels(study, prompts)

    def part(title: str, query: str, sentence: str, *charts: Any, table: bool = False) -> Panel:
        return panel(
            atlas,
            title,
            sql[query if query not in _PATCHING else "patching"],
            *([sentence] if sentence else []),
            charts=charts,
            table=table,
        )

    panels = [part("Predictions", "predictions", sayings.predictions, table=True)]
    if lens:
        panels.append(part("Logit lens", "lens", sayings.lens, lens_chart(study, lens, jumps, model, n_layers)))
    panels += [
        part(
            KINDS[kind][1],
            KINDS[kind][0],
            sayings.patching if kind == "patch_resid_pre" else "",
            heat_chart(study, kind, steps, labels, reach, model, n_layers),
        )
        for kind, steps in patches.items()
        if steps
    ]
    if neurons.n:
        charts = [recovery_chart(study, neurons, model, _nowhere), distribution_chart(neurons, model, _nowhere)]
        panels.append(part("Neurons", "neurons", sayings.neurons, *charts, table=True))
    if neurons.agreement:
        chart = estimate_chart(neurons, neurons.agreement, model, _nowhere)
        panels.append(part("Attribution", "attribution", sayings.agreement, chart))
    if edges:
        chart = graph_chart(study, edges, [item for item in neurons.top if item.found], model, _nowhere)
        panels.append(part("Edges", "edges", sayings.edges, chart, table=True))
    if neurons.cells:
        panels.append(part("Direct effect", "direct", "", direct_chart(study, neurons, model, _nowhere)))
    if ablations:
        chart = ablation_chart(study, ablations, model, _nowhere)
        panels.append(part("Ablation", "ablation", sayings.ablation, chart, table=True))
    sentence = f"Clean: {study.clean!r}. Corrupt: {study.corrupt!r}. Pairs of prompts: {study.n_prompts:,}."
    title = (
        f"Study {name}" if study.is_suite else f"Study {name}: {study.answer_token.shown} or {study.other_token.shown}?"
    )
    finding = sayings.claim(study)
    short = f"{study.found_neurons[0].name} {sayings.finding}" if sayings.finding else finding
    return Section(title, (finding, sentence), tuple(panels), f"Study {name}: {short}")
