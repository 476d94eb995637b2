"""Calls about studies: the experiments that an atlas records."""

from __future__ import annotations

from typing import Annotated

from atlas import queries
from atlas.api.call import Page, call
from atlas.api.kinds import AfterRow, Limit, Most, NeuronId
from atlas.api.parameter import Choice, Text
from atlas.db import Atlas
from atlas.records import Listing, Study, StudyNeurons, StudyPrompt, StudyStep

_STUDY = "atlases/{atlas}/studies/{study}"

StudyName = Annotated[str, Text("Name of a study.", least=1, most=200)]
StepKind = Annotated[str, Choice("Only steps of this kind.", queries.STEP_KINDS)]
Variant = Annotated[str, Choice("Only steps of this variant.", queries.STEP_VARIANTS)]


@call("atlases/{atlas}/studies", python="demo.studies()")
def studies(atlas: Atlas) -> tuple[Study, ...]:
    """The experiments that are recorded, by name."""
    return queries.studies(atlas)


@call(_STUDY, python='demo.study("{study}").record')
def study(atlas: Atlas, study: StudyName) -> Study:
    """One study: its row of the table `study`."""
    return queries.study(atlas, study)


@call(_STUDY + "/prompts", python='demo.study("{study}").prompts(limit=20)', limit=20)
def study_prompts(atlas: Atlas, study: StudyName, after: AfterRow = 0, limit: Limit = 100) -> Page[StudyPrompt]:
    """The pairs of prompts of a study, and what is predicted after each."""
    queries.study(atlas, study)
    return _page(queries.study_prompts(atlas, study, limit=limit, offset=after))


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
    queries.study(atlas, study)
    return _page(
        queries.study_steps(atlas, study, kind=kind, variant=variant, neuron_id=neuron, limit=limit, offset=after)
    )


@call(_STUDY + "/neurons", python='demo.study("{study}").neurons()')
def study_neurons(atlas: Atlas, study: StudyName, limit: Most = 50) -> StudyNeurons:
    """The neurons that a study patched: those of greatest recovery and those found, and all in numbers."""
    return queries.study_neurons(atlas, queries.study(atlas, study), limit)


def _page(listing: Listing) -> Page:
    end = listing.offset + len(listing.rows)
    return Page(listing.rows, listing.total, str(end) if listing.rows and end < listing.total else None)
