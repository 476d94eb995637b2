"""Calls about studies: the experiments that an atlas records."""

from __future__ import annotations

from typing import Annotated

from atlas.core.call import Page, call
from atlas.core.db import Atlas
from atlas.core.parameter import AfterRow, Choice, Limit, Most, NeuronId, Text
from atlas.core.units import Listing
from atlas.topics.study.neurons import study_neurons as read_study_neurons
from atlas.topics.study.records import Study, StudyNeurons, StudyPrompt, StudyStep
from atlas.topics.study.study import STEP_KINDS, STEP_VARIANTS, find_study, list_studies
from atlas.topics.study.study import study_prompts as read_study_prompts
from atlas.topics.study.study import study_steps as read_study_steps

_STUDY = "atlases/{atlas}/studies/{study}"

StudyName = Annotated[str, Text("Name of a study.", least=1, most=200)]
StepKind = Annotated[str, Choice("Only steps of this kind.", STEP_KINDS)]
Variant = Annotated[str, Choice("Only steps of this variant.", STEP_VARIANTS)]


@call("atlases/{atlas}/studies", python="demo.studies()")
def studies(atlas: Atlas) -> tuple[Study, ...]:
    """The experiments that are recorded, by name."""
    return list_studies(atlas)


@call(_STUDY, python='demo.study("{study}").record')
def study(atlas: Atlas, study: StudyName) -> Study:
    """One study: its row of the table `study`."""
    return find_study(atlas, study)


@call(_STUDY + "/prompts", python='demo.study("{study}").prompts(limit=20)', limit=20)
def study_prompts(atlas: Atlas, study: StudyName, after: AfterRow = 0, limit: Limit = 100) -> Page[StudyPrompt]:
    """The pairs of prompts of a study, and what is predicted after each."""
    find_study(atlas, study)
    return _page(read_study_prompts(atlas, study, limit=limit, offset=after))


@call(_STUDY + "/steps", python='demo.study("{study}").steps(kind="logit_lens", limit=20)', kind="logit_lens", limit=20)
def study_steps(
    atlas: Atlas,
    study: StudyName,
    kind: StepKind | None = None,
    variant: Variant | None = None,
    neuron: NeuronId | None = None,
    after: AfterRow = 0,
    limit: Limit = 100,
) -> Page[StudyStep]:
    """Every number that a study measured: those for which everything that is given holds."""
    find_study(atlas, study)
    return _page(
        read_study_steps(atlas, study, kind=kind, variant=variant, neuron_id=neuron, limit=limit, offset=after)
    )


@call(_STUDY + "/neurons", python='demo.study("{study}").neurons()')
def study_neurons(atlas: Atlas, study: StudyName, limit: Most = 50) -> StudyNeurons:
    """The neurons that a study patched: those of greatest recovery and those found, and all in numbers."""
    return read_study_neurons(atlas, find_study(atlas, study), limit)


def _page(listing: Listing) -> Page:
    end = listing.offset + len(listing.rows)
    return Page(listing.rows, listing.total, str(end) if listing.rows and end < listing.total else None)
