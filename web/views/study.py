"""`/{slug}/study/{name}`: a recorded experiment. `/{slug}/studies`: all of them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

from flask import g

from atlas import Atlas
from atlas.core.display import show_number
from atlas.core.parameter import MOST_ROWS
from atlas.core.units import NeuronRef
from atlas.topics.curve import CURVES, Curve, neuron_candidates, token_curves
from atlas.topics.neuron import Neuron, find_neuron
from atlas.topics.pair_standing import PLACES, PairStanding, pair_standing
from atlas.topics.study.edges import EDGES, study_edges
from atlas.topics.study.lens import lens_jumps
from atlas.topics.study.neurons import ATTRIBUTION, DIRECT, PATCHED, direct_share, study_neurons
from atlas.topics.study.records import LensJump, Study, StudyEdge, StudyNeurons, StudyPrompt, StudyStep
from atlas.topics.study.study import (
    PREDICTIONS,
    PROMPTS,
    STUDIES,
    STUDY,
    find_study,
    list_studies,
    steps_of,
    steps_statement,
    study_prompts,
)
from atlas.topics.tables import column_comments
from web.cards.study import study_card
from web.cards.svg import Card
from web.charts.ablation import ablation_chart
from web.charts.chart import Chart
from web.charts.curve import curve_charts
from web.charts.heat import KINDS, heat_chart, reach_of
from web.charts.lens import lens_chart
from web.charts.recovery import direct_chart, distribution_chart, estimate_chart, recovery_chart
from web.charts.study_graph import graph_chart
from web.sections.curves import pair_label
from web.site import urls
from web.site.page import AtlasPage, atlas_fields, doc, page
from web.site.urls import Blueprint
from web.views.study_words import PromptPart, Sayings, prompt_parts, say

blueprint = Blueprint("study", __name__)

NEURONS = 50
"""Neurons listed, by |recovery|."""


@dataclass(frozen=True, kw_only=True)
class StudiesPage(AtlasPage, template="studies.html"):
    """The studies that an atlas records."""

    studies: tuple[Study, ...] = field(metadata=doc("The studies, by name."))
    definitions: dict[str, str] = field(metadata=doc("What the schema says of each column of `study`.", json=False))
    panels: dict[str, str] = field(metadata=doc("The SQL behind the list."))


@dataclass(frozen=True)
class BestNeuron:
    """The neuron that a study found first: what its weights and the data say of it and the study's two tokens."""

    neuron: Neuron
    answer: PairStanding
    other: PairStanding
    curves: tuple[Curve, ...]


@dataclass(frozen=True, kw_only=True)
class StudyPage(AtlasPage, template="study.html"):
    """A recorded experiment, in the order in which it is told."""

    study: Study = field(metadata=doc("The row of the table `study`."))
    versions: dict[str, Any] = field(metadata=doc("Versions of the program and the libraries that ran it."))
    definitions: dict[str, str] = field(metadata=doc("What the schema says of each column of `study`.", json=False))
    sayings: Sayings = field(metadata=doc("What was found, in words."))
    prompts: tuple[StudyPrompt, ...] = field(metadata=doc("The pairs of prompts and what is predicted after each."))
    parts: tuple[PromptPart, ...] = field(metadata=doc("The first pair of prompts as one line.", json=False))
    lens: tuple[StudyStep, ...] = field(metadata=doc("The logit lens, both variants."))
    jumps: tuple[LensJump, ...] = field(metadata=doc("The greatest single rise of each variant of the lens."))
    lens_charts: tuple[Chart, ...] = field(metadata=doc("The lens drawn, if it was measured.", json=False))
    patches: dict[str, tuple[StudyStep, ...]] = field(
        metadata=doc("By kind: recovery of each (layer, position) of the residual stream, attention and MLP outputs.")
    )
    heat_charts: tuple[Chart, ...] = field(metadata=doc("The heat maps.", json=False))
    neurons: StudyNeurons = field(metadata=doc("The neurons that were patched: the greatest, and all in numbers."))
    shares: dict[str, float | None] = field(metadata=doc("By name: the direct share of each neuron listed."))
    neuron_charts: tuple[Chart, ...] = field(metadata=doc("Recovery by neuron, and of all neurons.", json=False))
    estimate_charts: tuple[Chart, ...] = field(metadata=doc("Recovery against attribution.", json=False))
    edges: tuple[StudyEdge, ...] = field(metadata=doc("How the neurons that stand out act through each other."))
    graph_charts: tuple[Chart, ...] = field(metadata=doc("The edges as a graph.", json=False))
    direct_charts: tuple[Chart, ...] = field(metadata=doc("Recovery against direct effect.", json=False))
    ablations: tuple[StudyStep, ...] = field(metadata=doc("What became of the answer without the found neurons."))
    ablation_charts: tuple[Chart, ...] = field(metadata=doc("The ablations drawn, if any were made.", json=False))
    best: BestNeuron | None = field(metadata=doc("The first neuron found; null: none stood out."))
    curve_charts: tuple[Chart, ...] = field(metadata=doc("Its prediction curves for the two tokens.", json=False))
    panels: dict[str, str] = field(metadata=doc("The SQL behind each part of the page."))

    def card(self) -> Card:
        """The lens and the neurons, the claim in words."""
        return study_card(
            self.study, self.lens, self.jumps, self.neurons, self.sayings.claim(self.study), self._footer()
        )


@page(blueprint, "/<atlas:ref>/studies")
def studies(atlas: Atlas) -> StudiesPage:
    """The studies that an atlas records."""
    found = list_studies(atlas)
    names = ", ".join(item.name for item in found[:8])
    return StudiesPage(
        title="Studies",
        url=urls.to("studies", g.ref),
        **atlas_fields(atlas),
        description=(
            f"Recorded experiments on {atlas.info.model_name}: predictions, logit lens, activation patching, direct "
            f"effects and ablations. {len(found)} here{': ' + names if found else ''}."
        ),
        studies=found,
        definitions=column_comments(atlas, "study"),
        panels={"studies": STUDIES.shown()},
    )


@page(blueprint, "/<atlas:ref>/study/<name>")
def study(atlas: Atlas, name: str) -> StudyPage:
    """A recorded experiment."""
    found = find_study(atlas, name)
    prompts = study_prompts(atlas, name, limit=MOST_ROWS).rows
    lens, patches, ablations = layer_steps(atlas, name)
    jumps = lens_jumps(lens)
    neurons, edges = study_neurons(atlas, found, NEURONS), study_edges(atlas, name)
    sayings = say(found, jumps, patches, neurons, ablations, edges)
    best = _best(atlas, found)
    listed = {item.neuron.name: item for item in (*neurons.top, *neurons.direct)}
    return StudyPage(
        title=study_title(found),
        url=urls.to("study", g.ref, name),
        **atlas_fields(atlas),
        description=sayings.claim(found),
        study=found,
        versions=json.loads(found.versions),
        definitions=column_comments(atlas, "study"),
        sayings=sayings,
        prompts=prompts,
        parts=prompt_parts(prompts[0]) if prompts else (),
        lens=lens,
        jumps=jumps,
        patches=patches,
        neurons=neurons,
        edges=edges,
        shares={
            name: direct_share(found, item.direct_effect_clean, item.direct_effect_corrupt)
            for name, item in listed.items()
        },
        ablations=ablations,
        best=best,
        panels=study_panels(found, prompts, best),
        **_charts(atlas, found, prompts, lens, jumps, patches, neurons, ablations, edges),
        curve_charts=curve_charts(
            best.curves if best else (),
            f"Tokens predicted by activation of {best.neuron.name}, {atlas.info.model_name}" if best else "",
            pair_label("token"),
        ),
    )


def study_title(study: Study) -> str:
    """A study by its question, or by its name where it has many."""
    if study.is_suite:
        return f"Study: {study.name}"
    return f"Study: {study.answer_token.shown} or {study.other_token.shown}?"


def layer_steps(
    atlas: Atlas, name: str
) -> tuple[tuple[StudyStep, ...], dict[str, tuple[StudyStep, ...]], tuple[StudyStep, ...]]:
    """The steps of a study's logit lens, those of each kind of patch, and those of its ablations, read at once."""
    by_kind: dict[str, tuple[StudyStep, ...]] = dict.fromkeys(("logit_lens", *KINDS, "ablation"), ())
    steps = steps_of(atlas, name, *by_kind)
    by_kind |= {kind: tuple(group) for kind, group in groupby(steps, key=lambda step: step.kind)}
    return by_kind.pop("logit_lens"), {kind: by_kind[kind] for kind in KINDS}, by_kind["ablation"]


def study_panels(study: Study, prompts: Sequence[StudyPrompt], best: BestNeuron | None = None) -> dict[str, str]:
    """SQL of what a study's page shows, by panel; of the neuron that it found first, if there is one."""
    name, tokens = study.name, [study.answer_token.token_id, study.other_token.token_id]
    ends = {"first": prompts[0].prompt, "last": prompts[-1].prompt} if prompts else {"first": 0, "last": 0}
    values = ("value", "low", "high")
    panels = {
        "predictions": PREDICTIONS.shown(study=name, **ends),
        "prompts": PROMPTS.shown(study=name, limit=len(prompts), offset=0),
        "lens": steps_statement(name, ["logit_lens"], ("variant", "layer", "site", *values)).shown(),
        "patching": steps_statement(name, list(KINDS), ("kind", "layer", "position", *values)).shown(),
        "neurons": PATCHED.shown(study=name, limit=NEURONS),
        "attribution": ATTRIBUTION.shown(study=name, limit=NEURONS),
        "edges": EDGES.shown(study=name),
        "direct": DIRECT.shown(study=name, limit=NEURONS),
        "ablation": steps_statement(name, ["ablation"], ("neuron", "variant", *values)).shown(),
        "numbers": STUDY.shown(study=name),
    }
    if best is not None:
        panels["best"] = PLACES.shown(neuron=best.neuron.neuron_id, tokens=tokens)
        panels["curve"] = CURVES.shown(
            neuron_ids=[best.neuron.neuron_id],
            token_ids=tokens,
            pairs=[[best.neuron.neuron_id, token_id] for token_id in tokens],
        )
    return panels


def _url(neuron: NeuronRef) -> str:
    return urls.to("neuron", g.ref, neuron.name)


def _charts(
    atlas: Atlas,
    found: Study,
    prompts: Sequence[StudyPrompt],
    lens: tuple[StudyStep, ...],
    jumps: tuple[LensJump, ...],
    patches: dict[str, tuple[StudyStep, ...]],
    neurons: StudyNeurons,
    ablations: tuple[StudyStep, ...],
    edges: tuple[StudyEdge, ...],
) -> dict[str, Any]:
    """The charts of what was measured, by field of the page."""
    model, n_layers = atlas.info.model_name, atlas.info.n_layers
    labels = position_labels(found, prompts, {step.position for steps in patches.values() for step in steps})
    reach = reach_of(list(patches.values()))
    return {
        "lens_charts": (lens_chart(found, lens, jumps, model, n_layers),) if lens else (),
        "heat_charts": tuple(
            heat_chart(found, kind, steps, labels, reach, model, n_layers) for kind, steps in patches.items() if steps
        ),
        "neuron_charts": (recovery_chart(found, neurons, model, _url), distribution_chart(neurons, model, _url))
        if neurons.n
        else (),
        "estimate_charts": (estimate_chart(neurons, neurons.agreement, model, _url),) if neurons.agreement else (),
        "graph_charts": (graph_chart(found, edges, [item for item in neurons.top if item.found], model, _url),)
        if edges
        else (),
        "direct_charts": (direct_chart(found, neurons, model, _url),) if neurons.cells else (),
        "ablation_charts": (ablation_chart(found, ablations, model, _url),) if ablations else (),
    }


def position_labels(
    found: Study, prompts: Sequence[StudyPrompt], positions: set[int]
) -> dict[int, tuple[str, str, str]]:
    """By position: what stands on an axis, the clean and the corrupt token.

    A place at which the pairs of a suite have different tokens has its number alone.
    """
    labels = {}
    for position in sorted(positions):
        at = {
            (prompt.clean_tokens[position].shown, prompt.corrupt_tokens[position].shown)
            for prompt in prompts
            if -len(prompt.clean_tokens) <= position < len(prompt.clean_tokens)
        }
        number = show_number(position)
        if len(at) != 1:
            labels[position] = (number, "various", "various")
            continue
        clean, corrupt = at.pop()
        labels[position] = (f"{number} {clean if clean == corrupt else f'{clean} | {corrupt}'}", clean, corrupt)
    return labels


def _best(atlas: Atlas, found: Study) -> BestNeuron | None:
    if not found.found_neurons:
        return None
    neuron_id = found.found_neurons[0].neuron_id
    tokens = [found.answer_token, found.other_token]
    counted = [c for c in neuron_candidates(atlas, neuron_id) if c.token in tokens]
    counted.sort(key=lambda candidate: tokens.index(candidate.token))
    return BestNeuron(
        find_neuron(atlas, neuron_id),
        pair_standing(atlas, neuron_id, tokens[0].token_id),
        pair_standing(atlas, neuron_id, tokens[1].token_id),
        tuple(token_curves(atlas, counted)),
    )
