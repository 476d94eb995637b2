"""Studies: the list, a study's prompts and steps, and the studies of a neuron or a token."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Annotated

import sqlalchemy as sa

from atlas.core.call import OF_ATLAS, call
from atlas.core.db import Atlas
from atlas.core.errors import StudyNameError
from atlas.core.parameter import Choice, Limit, Most, NeuronId, Offset, Text
from atlas.core.statements import Composed, Statement, wrapped
from atlas.core.units import Listing, field_names, neuron_ref
from atlas.topics.pair import NAME_TABLE
from atlas.topics.study.neurons import study_neurons
from atlas.topics.study.records import (
    StandsOut,
    Study,
    StudyNeurons,
    StudyPrediction,
    StudyPrompt,
    StudyStep,
)

STEP_KINDS = (
    "logit_lens",
    "patch_resid_pre",
    "patch_attn_out",
    "patch_mlp_out",
    "attribution",
    "patch_neuron",
    "direct_effect",
    "ablation",
)
"""Kinds of steps, in the order of the page."""

STEP_VARIANTS = ("own_norm", "final_norm", "clean", "corrupt", "zero", "mean", "negate")

OF_STUDY = OF_ATLAS + "/studies/{study}"
StudyName = Annotated[str, Text("Name of a study.", least=1, most=200, name="study")]
_Kind = Annotated[str, Choice("Only steps of this kind.", STEP_KINDS)]
_Variant = Annotated[str, Choice("Only steps of this variant.", STEP_VARIANTS)]

_RESOLVED = {"answer_token": "answer_token_id", "other_token": "other_token_id", "found_neurons": "found_neuron_ids"}
_STUDY_COLUMNS = [_RESOLVED.get(name, name) for name in field_names(Study)]

STUDIES = Statement(f"""SELECT {wrapped((f"s.{name}" for name in _STUDY_COLUMNS), 7)},
       a."text" AS answer, o."text" AS other
FROM study AS s
JOIN token AS a ON a.token_id = s.answer_token_id
JOIN token AS o ON o.token_id = s.other_token_id
ORDER BY s.name""")
"""The studies by name."""

STUDY = Statement("SELECT * FROM study WHERE name = $study")
"""One of them, which `studies` has in memory."""

PROMPTS = Statement("""SELECT p.prompt, p.clean, p.corrupt, a."text" AS answer, o."text" AS other,
       p.clean_logit_diff, p.corrupt_logit_diff, p.p_answer_clean, p.p_answer_corrupt, p.p_other_clean,
       p.p_other_corrupt, p.clean_token_ids, p.corrupt_token_ids, p.answer_token_id, p.other_token_id
FROM study_prompt AS p
JOIN token AS a ON a.token_id = p.answer_token_id
JOIN token AS o ON o.token_id = p.other_token_id
WHERE p.study = $study
ORDER BY p.prompt
LIMIT $limit OFFSET $offset""")
"""Pairs of prompts of a study."""

PREDICTIONS = Statement("""SELECT p.prompt, p.side, p.rank, t."text" AS token, p.logit, p.probability, p.token_id
FROM study_prediction AS p JOIN token AS t USING (token_id)
WHERE p.study = $study AND p.prompt BETWEEN $first AND $last
ORDER BY p.prompt, p.side, p.rank""")
"""The predictions after them."""

STANDS_OUT = Statement("""SELECT study, rank, recovery, direct_effect_clean, direct_effect_corrupt
FROM study_neuron
WHERE neuron_id = $neuron AND found
ORDER BY study""")
"""Studies that a neuron stands out in, which `stands_out` has in memory for all neurons."""

ASKS_FOR = Statement("""SELECT DISTINCT p.study, a."text" AS answer, o."text" AS other,
       p.answer_token_id, p.other_token_id
FROM study_prompt AS p
JOIN token AS a ON a.token_id = p.answer_token_id
JOIN token AS o ON o.token_id = p.other_token_id
WHERE $token IN (p.answer_token_id, p.other_token_id)
ORDER BY ALL""")
"""Studies that compare a token with another, which `token_studies` has in memory for all tokens."""

_STEP_COLUMNS = ("kind", "variant", "site", "layer", "position", "neuron_id", "value", "low", "high", "n_prompts")
_STEP = sa.table("study_step", *map(sa.column, ("study", *_STEP_COLUMNS))).alias("s")
_ORDER = [_STEP.c.kind, *(_STEP.c[name].nulls_last() for name in ("variant", "site", "layer", "position", "neuron_id"))]


@call(OF_ATLAS + "/studies", name="studies", python="demo.studies()")
def list_studies(atlas: Atlas) -> tuple[Study, ...]:
    """The recorded experiments, by name."""
    return atlas.remembered("studies", lambda: tuple(_read_studies(atlas)))


def _read_studies(atlas: Atlas) -> list[Study]:
    read = []
    for row in STUDIES.rows(atlas):
        values = dict(zip(_STUDY_COLUMNS, row[: len(_STUDY_COLUMNS)], strict=True))
        values["answer_token"] = atlas.tokens[values.pop("answer_token_id")]
        values["other_token"] = atlas.tokens[values.pop("other_token_id")]
        values["found_neurons"] = tuple(neuron_ref(atlas, n) for n in values.pop("found_neuron_ids"))
        values["patched_layers"] = tuple(values["patched_layers"])
        read.append(Study(**values))
    return read


@call(OF_STUDY, name="study", python='demo.study("{study}").record')
def find_study(atlas: Atlas, name: StudyName) -> Study:
    """One study: its row of the table `study`.

    Raises:
        StudyNameError: there is none; the message lists the existing names.
    """
    there = list_studies(atlas)
    for study in there:
        if study.name == name:
            return study
    names = ", ".join(study.name for study in there[:20]) or "none: `atlas study` runs and records one"
    raise StudyNameError(f"There is no study {name!r} in {atlas.info.slug!r}; there is {names}.")


@call(OF_STUDY + "/prompts", python='demo.study("{study}").prompts(limit=20)', limit=20)
def study_prompts(atlas: Atlas, name: StudyName, *, offset: Offset = 0, limit: Limit = 100) -> Listing[StudyPrompt]:
    """The pairs of prompts of a study, and the predictions after each.

    Raises:
        StudyNameError: there is no such study.
    """
    find_study(atlas, name)
    rows = PROMPTS.rows(atlas, study=name, limit=limit, offset=offset)
    predicted = defaultdict(list)
    if rows:
        predictions = PREDICTIONS.rows(atlas, study=name, first=rows[0][0], last=rows[-1][0])
        for prompt, side, rank, _, logit, probability, token_id in predictions:
            predicted[prompt].append(StudyPrediction(side, rank, atlas.tokens[token_id], logit, probability))
    prompts = []
    for prompt, clean, corrupt, _, _, *numbers, clean_ids, corrupt_ids, answer, other in rows:
        tokens = (atlas.tokens.many(clean_ids), atlas.tokens.many(corrupt_ids))
        pair = (atlas.tokens[answer], atlas.tokens[other])
        prompts.append(StudyPrompt(prompt, clean, corrupt, *tokens, *pair, *numbers, tuple(predicted[prompt])))
    total = atlas.rows("SELECT count(*) FROM study_prompt WHERE study = ?", name)[0][0]
    return Listing(tuple(prompts), total, offset, limit)


@call(
    OF_STUDY + "/steps", python='demo.study("{study}").steps(kind="logit_lens", limit=20)', kind="logit_lens", limit=20
)
def study_steps(
    atlas: Atlas,
    name: StudyName,
    *,
    kind: _Kind | None = None,
    variant: _Variant | None = None,
    neuron_id: NeuronId | None = None,
    offset: Offset = 0,
    limit: Limit = 100,
) -> Listing[StudyStep]:
    """The numbers that a study measured, filtered by the parameters.

    They are sorted by kind, variant, site, layer, position and neuron.

    Raises:
        StudyNameError: there is no such study.
    """
    find_study(atlas, name)
    kinds = () if kind is None else (kind,)
    statement = steps_statement(name, kinds, variant=variant, neuron_id=neuron_id, limit=limit, offset=offset)
    where = statement.select.whereclause
    total = atlas.select(sa.select(sa.func.count()).select_from(_STEP).where(where))[0][0]
    return Listing(_steps(atlas, statement), total, offset, limit)


def steps_statement(
    name: str,
    kinds: Sequence[str],
    columns: Sequence[str] = (),
    *,
    variant: str | None = None,
    neuron_id: int | None = None,
    limit: int | None = None,
    offset: int = 0,
) -> Composed:
    """A study's measurements of some kinds; none: of all. None does not filter. The SQL for people shows `columns` of
    `study_step`, and 'neuron', its name."""
    s, n = _STEP.c, NAME_TABLE.alias("n").c
    filters = {"study": name, "variant": variant, "neuron_id": neuron_id}
    where = [s[column] == value for column, value in filters.items() if value is not None]
    steps = (
        sa.select(*(s[column] for column in _STEP_COLUMNS))
        .where(*where, *([s.kind.in_(kinds)] if kinds else []))
        .order_by(*_ORDER)
        .limit(limit)
        .offset(offset or None)
    )
    named = steps.with_only_columns(*(n.name.label("neuron") if c == "neuron" else s[c] for c in columns))
    if "neuron" in columns:
        named = named.select_from(_STEP.outerjoin(n.name.table, n.neuron_id == s.neuron_id))
    return Composed(steps, named if columns else None)


def steps_of(atlas: Atlas, name: str, *kinds: str) -> tuple[StudyStep, ...]:
    """All steps of some kinds, ordered as in `study_steps`; not meant for kinds with a step for each of many
    neurons."""
    return _steps(atlas, steps_statement(name, kinds))


def _steps(atlas: Atlas, statement: Composed) -> tuple[StudyStep, ...]:
    return tuple(
        StudyStep(*place, None if neuron_id is None else neuron_ref(atlas, neuron_id), *numbers)
        for (*place, neuron_id), numbers in ((row[:6], row[6:]) for row in statement.rows(atlas))
    )


@call(OF_STUDY + "/neurons", name="study_neurons", python='demo.study("{study}").neurons()')
def neurons_of_study(atlas: Atlas, name: StudyName, limit: Most = 50) -> StudyNeurons:
    """The neurons that a study patched: those of greatest recovery, those that stood out, and a summary of all."""
    return study_neurons(atlas, find_study(atlas, name), limit)


def stands_out(atlas: Atlas, neuron_id: int) -> tuple[StandsOut, ...]:
    """The studies in which a neuron stands out, by name; the first call reads them for all neurons."""
    return atlas.remembered("neurons that stand out", lambda: _stand_out(atlas)).get(neuron_id, ())


def _stand_out(atlas: Atlas) -> dict[int, tuple[StandsOut, ...]]:
    by_neuron: dict[int, tuple[StandsOut, ...]] = {}
    for item in list_studies(atlas):
        for row in study_neurons(atlas, item, limit=0).top:
            number = row.neuron.neuron_id
            by_neuron[number] = (*by_neuron.get(number, ()), StandsOut(item, row))
    return by_neuron


def token_studies(atlas: Atlas, token_id: int) -> list[Study]:
    """The studies in which a token is the answer or the other token, by name."""
    names = atlas.remembered("tokens of studies", lambda: _names_by_token(atlas)).get(token_id, ())
    return [item for item in list_studies(atlas) if item.name in names]


def _names_by_token(atlas: Atlas) -> dict[int, set[str]]:
    names: dict[int, set[str]] = {}
    sql = "SELECT study, answer_token_id, other_token_id FROM study_prompt GROUP BY ALL"
    for name, *token_ids in atlas.rows(sql):
        for token_id in token_ids:
            names.setdefault(token_id, set()).add(name)
    return names
