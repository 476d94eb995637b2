"""Studies: which there are, one with its prompts and its steps, and those that a neuron or a token is in."""

from __future__ import annotations

from collections import defaultdict

import sqlalchemy as sa

from atlas.core.db import Atlas
from atlas.core.errors import StudyNameError
from atlas.core.units import Listing, field_names, neuron_ref
from atlas.topics.study.neurons import study_neurons
from atlas.topics.study.records import StandsOut, Study, StudyPrediction, StudyPrompt, StudyStep

STEP_KINDS = (
    "logit_lens",
    "patch_resid_pre",
    "patch_attn_out",
    "patch_mlp_out",
    "patch_neuron",
    "direct_effect",
    "ablation",
)
"""What a step can be, in the order in which the experiments are told."""

STEP_VARIANTS = ("own_norm", "final_norm", "clean", "corrupt", "zero", "mean", "negate")

_RESOLVED = {"answer_token": "answer_token_id", "other_token": "other_token_id", "found_neurons": "found_neuron_ids"}
_STUDY_COLUMNS = [_RESOLVED.get(name, name) for name in field_names(Study)]

_PROMPT_COLUMNS = (
    "prompt, clean, corrupt, clean_token_ids, corrupt_token_ids, answer_token_id, other_token_id, "
    "clean_logit_diff, corrupt_logit_diff, p_answer_clean, p_answer_corrupt, p_other_clean, p_other_corrupt"
)

_STEP = sa.table(
    "study_step",
    *map(
        sa.column,
        ["study", "kind", "variant", "site", "layer", "position", "neuron_id", "value", "low", "high", "n_prompts"],
    ),
)
_ORDER = tuple(_STEP.c[name].asc().nulls_last() for name in ["variant", "site", "layer", "position", "neuron_id"])


def list_studies(atlas: Atlas) -> tuple[Study, ...]:
    """The studies that an atlas records, by name."""
    return atlas.remembered("studies", lambda: tuple(_read_studies(atlas)))


def _read_studies(atlas: Atlas) -> list[Study]:
    found = []
    for row in atlas.rows(f"SELECT {', '.join(_STUDY_COLUMNS)} FROM study ORDER BY name"):
        values = dict(zip(_STUDY_COLUMNS, row, strict=True))
        values["answer_token"] = atlas.tokens[values.pop("answer_token_id")]
        values["other_token"] = atlas.tokens[values.pop("other_token_id")]
        values["found_neurons"] = tuple(neuron_ref(atlas, n) for n in values.pop("found_neuron_ids"))
        values["patched_layers"] = tuple(values["patched_layers"])
        found.append(Study(**values))
    return found


def find_study(atlas: Atlas, name: str) -> Study:
    """The study of a name.

    Raises:
        StudyNameError: there is none; the text names those there are.
    """
    there = list_studies(atlas)
    for found in there:
        if found.name == name:
            return found
    names = ", ".join(found.name for found in there[:20]) or "none: `atlas study` runs and records one"
    raise StudyNameError(f"There is no study {name!r} in {atlas.info.slug!r}; there is {names}.")


def study_prompts(atlas: Atlas, name: str, *, limit: int = 1000, offset: int = 0) -> Listing:
    """The prompt pairs of a study in order, as a Listing of StudyPrompt."""
    rows = atlas.rows(
        f"SELECT {_PROMPT_COLUMNS} FROM study_prompt WHERE study = ? ORDER BY prompt LIMIT ? OFFSET ?",
        name, limit, offset,
    )  # fmt: skip
    predicted = defaultdict(list)
    if rows:
        sql = (
            "SELECT prompt, side, rank, token_id, logit, probability FROM study_prediction "
            "WHERE study = ? AND prompt BETWEEN ? AND ? ORDER BY prompt, side, rank"
        )
        for prompt, side, rank, token_id, logit, probability in atlas.rows(sql, name, rows[0][0], rows[-1][0]):
            predicted[prompt].append(StudyPrediction(side, rank, atlas.tokens[token_id], logit, probability))
    prompts = []
    for prompt, clean, corrupt, clean_ids, corrupt_ids, answer, other, *numbers in rows:
        tokens = (atlas.tokens.many(clean_ids), atlas.tokens.many(corrupt_ids))
        pair = (atlas.tokens[answer], atlas.tokens[other])
        prompts.append(StudyPrompt(prompt, clean, corrupt, *tokens, *pair, *numbers, tuple(predicted[prompt])))
    total = atlas.rows("SELECT count(*) FROM study_prompt WHERE study = ?", name)[0][0]
    return Listing(tuple(prompts), total, offset, limit)


def study_steps(
    atlas: Atlas,
    name: str,
    *,
    kind: str | None = None,
    variant: str | None = None,
    neuron_id: int | None = None,
    limit: int = 1000,
    offset: int = 0,
) -> Listing:
    """What a study measured, as a Listing of StudyStep: kinds by name, then by variant, site, layer, position, neuron.

    What is None does not filter.
    """
    wanted = {"study": name, "kind": kind, "variant": variant, "neuron_id": neuron_id}
    where = [_STEP.c[column] == value for column, value in wanted.items() if value is not None]
    columns = [column for column in _STEP.c if column.name != "study"]
    rows = atlas.select(sa.select(*columns).where(*where).order_by(_STEP.c.kind, *_ORDER).limit(limit).offset(offset))
    total = atlas.select(sa.select(sa.func.count()).select_from(_STEP).where(*where))[0][0]
    return Listing(tuple(_step(atlas, tuple(row)) for row in rows), total, offset, limit)


def steps_of(atlas: Atlas, name: str, kind: str) -> tuple[StudyStep, ...]:
    """All steps of one kind, ordered as in `study_steps`: not for the kinds that have one for each of many neurons."""
    return study_steps(atlas, name, kind=kind, limit=1_000_000).rows


def _step(atlas: Atlas, row: tuple) -> StudyStep:
    kind, variant, site, layer, position, neuron_id, *numbers = row
    neuron = None if neuron_id is None else neuron_ref(atlas, neuron_id)
    return StudyStep(kind, variant, site, layer, position, neuron, *numbers)


def stands_out(atlas: Atlas, neuron_id: int) -> tuple[StandsOut, ...]:
    """The studies that a neuron stands out in, by name: looked up for all neurons at once, at the first that asks."""
    return atlas.remembered("neurons that stand out", lambda: _stand_out(atlas)).get(neuron_id, ())


def _stand_out(atlas: Atlas) -> dict[int, tuple[StandsOut, ...]]:
    found: dict[int, tuple[StandsOut, ...]] = {}
    for item in list_studies(atlas):
        for row in study_neurons(atlas, item, limit=0).top:
            number = row.neuron.neuron_id
            found[number] = (*found.get(number, ()), StandsOut(item, row))
    return found


def token_studies(atlas: Atlas, token_id: int) -> list[Study]:
    """The studies in which a token is an answer, or what an answer is weighed against, by name."""
    names = atlas.remembered("tokens of studies", lambda: _names_by_token(atlas)).get(token_id, ())
    return [item for item in list_studies(atlas) if item.name in names]


def _names_by_token(atlas: Atlas) -> dict[int, set[str]]:
    names: dict[int, set[str]] = {}
    sql = "SELECT study, answer_token_id, other_token_id FROM study_prompt GROUP BY ALL"
    for name, *token_ids in atlas.rows(sql):
        for token_id in token_ids:
            names.setdefault(token_id, set()).add(name)
    return names
