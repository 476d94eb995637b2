"""Sentences about a study's findings; every figure is read from its rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from atlas.core.display import show_number, show_share
from atlas.core.units import Token
from atlas.topics.study.records import LensJump, Study, StudyEdge, StudyNeurons, StudyPrompt, StudyStep
from web.charts.ablation import VARIANTS
from web.charts.lens import part_name

_AGAINST = 0.02
"""Least share that a neuron takes away to be named."""


@dataclass(frozen=True)
class Sayings:
    """Sentences of a study, by what they tell of; empty where nothing was measured."""

    finding: str
    """What the neuron that stood out most does, a sentence that goes on from its name; empty: none stood out."""
    predictions: str
    lens: str
    patching: str
    neurons: str
    agreement: str
    """How well the estimates hold by which the patched neurons were chosen."""
    edges: str
    ablation: str

    def claim(self, study: Study) -> str:
        """The study in two or three sentences, its finding first."""
        finding = f"{study.found_neurons[0].name} {self.finding}" if self.finding else ""
        return " ".join(filter(None, (finding, self.predictions, self.patching)))


@dataclass(frozen=True)
class PromptPart:
    """A part of a pair of prompts: the text of both, or where they differ the text of each."""

    clean: str
    corrupt: str | None = None


def prompt_parts(prompt: StudyPrompt) -> tuple[PromptPart, ...]:
    """A pair of prompts as one line: the tokens before the first that differs, both versions, the tokens after."""
    clean, corrupt = prompt.clean_tokens, prompt.corrupt_tokens
    least = min(len(clean), len(corrupt))
    before = next((place for place in range(least) if clean[place] != corrupt[place]), least)
    after = next((n for n in range(least - before) if clean[-1 - n] != corrupt[-1 - n]), least - before)

    def text(tokens: Sequence[Token], start: int, stop: int) -> str:
        return "".join(token.in_text for token in tokens[start:stop] if not token.special)

    parts = (
        PromptPart(text(clean, 0, before)),
        PromptPart(text(clean, before, len(clean) - after), text(corrupt, before, len(corrupt) - after)),
        PromptPart(text(clean, len(clean) - after, len(clean))),
    )
    return tuple(part for part in parts if part.clean or part.corrupt)


def say(
    study: Study,
    jumps: Sequence[LensJump],
    maps: Mapping[str, Sequence[StudyStep]],
    neurons: StudyNeurons,
    ablations: Sequence[StudyStep],
    edges: Sequence[StudyEdge],
) -> Sayings:
    """What a study's rows say. `maps` are the patching steps by kind."""
    return Sayings(
        finding=_finding(study, neurons, ablations),
        predictions=_predictions(study),
        lens=_lens(jumps),
        patching=_patching(study, maps),
        neurons=_neurons(study, neurons),
        agreement=_agreement(neurons),
        edges=_edges(edges),
        ablation=_ablation(study, ablations),
    )


def _finding(study: Study, neurons: StudyNeurons, ablations: Sequence[StudyStep]) -> str:
    if not study.found_neurons or not neurons.n:
        return ""
    best, answer = study.found_neurons[0], study.answer_token.shown
    first = next(item for item in neurons.top if item.neuron == best)
    mean = " on average" if study.is_suite else ""
    text = (
        f"alone recovers {show_share(first.recovery, 2)} of the logit difference between “{answer}” and "
        f"“{study.other_token.shown}”{mean}"
    )
    if first.direct_effect_clean is not None and first.direct_effect_corrupt is not None:
        text += (
            f"; by itself it adds {show_number(first.direct_effect_clean, 2)} logits to that difference after the "
            f"clean prompt and {show_number(first.direct_effect_corrupt, 2)} after the corrupt one"
        )
    changes = {step.variant: step.value for step in ablations if step.neuron == best}
    variant = next((name for name in ("mean", "zero") if name in changes), None)
    if variant is not None:
        before, after = study.p_answer_clean, study.p_answer_clean + changes[variant]
        text += (
            f"; with it {VARIANTS[variant]} the probability of “{answer}” goes from {show_share(before, 2)} to "
            f"{show_share(after, 2)}{mean}"
        )
    return text + "."


def _predictions(study: Study) -> str:
    answer, other = study.answer_token.shown, study.other_token.shown
    if study.is_suite:
        return (
            f"Over {study.n_prompts:,} pairs of prompts, the logit of the answer less that of the other token is "
            f"{show_number(study.clean_logit_diff, 3)} on average after the clean prompt and "
            f"{show_number(study.corrupt_logit_diff, 3)} after the corrupt one."
        )
    return (
        f"After the clean prompt {answer} has probability {show_share(study.p_answer_clean, 2)} and {other} "
        f"{show_share(study.p_other_clean, 2)}; after the corrupt one {show_share(study.p_answer_corrupt, 2)} and "
        f"{show_share(study.p_other_corrupt, 2)}."
    )


def _lens(jumps: Sequence[LensJump]) -> str:
    if not jumps:
        return ""
    # The post's way first: there a step is what the part itself adds.
    first, *others = sorted(jumps, key=lambda jump: jump.variant != "final_norm")
    how = {
        "final_norm": "read with the final norm’s scale everywhere",
        "own_norm": "the final norm applied at each site",
    }
    text = (
        f"The answer’s lead rises most in one step at the {part_name(first)}, from {show_number(first.before, 3)} to "
        f"{show_number(first.after, 3)} ({how[first.variant]})."
    )
    for jump in others:
        same = (jump.layer, jump.part) == (first.layer, first.part)
        where = "the step is the same one" if same else f"it is at the {part_name(jump)}"
        text += (
            f" With {how[jump.variant]}, {where}, from {show_number(jump.before, 3)} to {show_number(jump.after, 3)}."
        )
    return text


def _patching(study: Study, maps: Mapping[str, Sequence[StudyStep]]) -> str:
    parts = []
    for kind, what in (("patch_mlp_out", "MLP"), ("patch_attn_out", "attention")):
        steps = maps.get(kind, ())
        last = max((step.position for step in steps), default=None)
        here = [step for step in steps if step.position == last]
        if here:
            best = max(here, key=lambda step: (step.value, -step.layer))
            parts.append((best, what))
    if not parts:
        return ""
    (best, what), *others = parts
    text = (
        f"Patching layer {best.layer}’s {what} at the last position recovers {show_share(best.value, 2)} of the clean "
        "logit difference, the most of any layer there"
    )
    for step, _ in others:
        text += f"; of attention outputs layer {step.layer}’s recovers most, {show_share(step.value, 2)}"
    return text + (" (on average over the pairs)." if study.is_suite else ".")


def _neurons(study: Study, neurons: StudyNeurons) -> str:
    if not neurons.n:
        return ""
    ordered = sorted(neurons.top, key=lambda item: -item.recovery)
    first, *others = ordered
    text = f"{neurons.n:,} neurons were patched one at a time"
    if neurons.n_estimated:
        which = f"the {neurons.n:,} of greatest attribution"
        if study.patched_layers:
            layers = ", ".join(map(str, study.patched_layers))
            which = f"{neurons.n:,}, all of layer {layers} and those of greatest attribution,"
        text = f"Of the model’s {neurons.n_estimated:,} neurons, {which} were patched one at a time"
    text += f": {first.neuron.name} alone recovers {show_share(first.recovery, 2)}"
    if study.is_suite and first.low is not None:
        text += f" (95% interval {show_share(first.low, 2)} to {show_share(first.high, 2)})"
    if others:
        text += f"; the next, {others[0].neuron.name}, {show_share(others[0].recovery, 2)}"
    if ordered[-1].recovery < -_AGAINST:
        text += f"; {ordered[-1].neuron.name} does most against it, {show_share(ordered[-1].recovery, 2)}"
    return text + "."


def _agreement(neurons: StudyNeurons) -> str:
    item = neurons.agreement
    if item is None or item.pearson is None or item.spearman is None:
        return ""
    worst, pearson, ranks = item.worst, show_number(item.pearson, 3), show_number(item.spearman, 3)
    return (
        f"Attribution estimates each neuron’s recovery from one backward pass. Over the {neurons.n:,} patched neurons "
        f"its correlation with patching is {pearson} (of ranks, {ranks}); it is furthest off for {worst.neuron.name}, "
        f"{show_share(worst.attribution, 2)} for {show_share(worst.recovery, 2)}."
    )


def _edges(edges: Sequence[StudyEdge]) -> str:
    if not edges:
        return ""
    first = max(edges, key=lambda edge: abs(edge.value))
    text = (
        f"The most goes from {first.source.name} through {first.target.name}: {show_share(first.value, 2)} of the "
        "logit difference"
    )
    checked = [edge for edge in edges if edge.exact is not None]
    if checked:
        worst = max(checked, key=lambda edge: abs(edge.estimate - edge.value))
        text += (
            f". The {len(checked)} strongest lines are measured exactly; the estimate of {worst.source.name} through "
            f"{worst.target.name} is furthest off, {show_share(worst.estimate, 2)} for {show_share(worst.value, 2)}"
        )
    return text + "."


def _ablation(study: Study, ablations: Sequence[StudyStep]) -> str:
    if not study.found_neurons or not ablations:
        return "No neuron stood out, so none was ablated." if not study.found_neurons else ""
    best, p = study.found_neurons[0], study.p_answer_clean
    parts = [
        f"{VARIANTS[step.variant]} {show_share(p + step.value, 2)}"
        for variant in VARIANTS
        for step in ablations
        if step.neuron == best and step.variant == variant
    ]
    if not parts:
        return ""
    what = "the answer has, on average," if study.is_suite else f"{study.answer_token.shown} has"
    return f"After the clean prompt {what} probability {show_share(p, 2)}; with {best.name} {', '.join(parts)}."
