"""A study for the terminal: predictions, logit lens, patched neurons, ablations."""

from __future__ import annotations

from dataclasses import dataclass

from rich.columns import Columns
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from atlas.cli.terminal import sparkline
from atlas.core.db import Atlas
from atlas.core.display import show_number, show_running, show_share
from atlas.topics.study.lens import lens_depth, lens_jumps
from atlas.topics.study.neurons import study_neurons
from atlas.topics.study.records import Study, StudyNeurons, StudyPrompt, StudyStep
from atlas.topics.study.study import find_study, steps_of, study_prompts


def _table(title: str, *heads: str) -> Table:
    table = Table(title=title, box=None, header_style="dim", padding=(0, 2, 0, 0), title_justify="left")
    for place, head in enumerate(heads):
        table.add_column(head, justify="left" if place == 0 else "right")
    return table


@dataclass(frozen=True)
class StudyView:
    """The view of a study that `atlas show --study` and `rich.print(study)` print."""

    study: Study
    prompt: StudyPrompt | None
    lens: tuple[StudyStep, ...]
    mlp: tuple[StudyStep, ...]
    neurons: StudyNeurons
    ablations: tuple[StudyStep, ...]

    def __rich__(self) -> RenderableType:
        study = self.study
        lines: list[RenderableType] = [
            Text(study.name, "bold") + Text(f"  {show_number(study.n_prompts)} pair(s) of prompts", "dim"),
            Text("clean    ", "dim") + Text(show_running(study.clean)),
            Text("corrupt  ", "dim") + Text(show_running(study.corrupt)),
            Text(f"logit({study.answer_token.shown}) - logit({study.other_token.shown}): ")
            + Text(f"{show_number(study.clean_logit_diff)} clean, {show_number(study.corrupt_logit_diff)} corrupt"),
            Text(),
        ]
        if self.prompt is not None:
            lines += [Columns([self._predictions(side) for side in ("clean", "corrupt")], padding=(0, 4)), Text()]
        lines += self._layers()
        if self.neurons.n:
            lines += [self._neurons(), Text()]
        if self.ablations:
            lines.append(self._without())
        return Group(*lines)

    def _predictions(self, side: str) -> Table:
        table = _table(f"After the {side} prompt", "token", "rank", "probability")
        for item in self.prompt.predictions:
            if item.side == side:
                table.add_row(Text(item.token.shown), show_number(item.rank), show_share(item.probability))
        return table

    def _layers(self) -> list[RenderableType]:
        lines: list[RenderableType] = []
        path = sorted((step for step in self.lens if step.variant == "final_norm"), key=lens_depth)
        if path:
            least = min(step.value for step in path)
            lines.append(Text("logit lens  ", "dim") + Text(sparkline([step.value - least for step in path])))
        for jump in lens_jumps(path):
            rise = f"{show_number(jump.before)} to {show_number(jump.after)}"
            lines.append(Text(f"greatest rise: {jump.part} of layer {jump.layer}, {rise}"))
        last = max((step.position for step in self.mlp), default=None)
        here = sorted((step for step in self.mlp if step.position == last), key=lambda step: step.layer)
        if here:
            best = max(here, key=lambda step: step.value)
            drawn = sparkline([max(0.0, step.value) for step in here])
            lines.append(Text("MLP patches, last position, by layer  ", "dim") + Text(drawn))
            lines.append(Text(f"greatest: layer {best.layer}, {show_share(best.value)} of the difference recovered"))
        return [*lines, Text()] if lines else []

    def _neurons(self) -> Table:
        table = _table(
            f"Neurons, {show_number(self.neurons.n)} patched one at a time",
            "neuron",
            "recovery",
            "attribution",
            "direct effect, clean",
            "corrupt",
            "stood out",
        )
        for item in self.neurons.top[:10]:
            direct = (show_number(item.direct_effect_clean), show_number(item.direct_effect_corrupt))
            numbers = (show_share(item.recovery), show_share(item.attribution), *direct)
            table.add_row(item.neuron.name, *numbers, "yes" if item.found else "")
        return table

    def _without(self) -> Table:
        title = f"Probability of {self.study.answer_token.shown}, {show_share(self.study.p_answer_clean)} unchanged"
        table = _table(title, "neuron", "is", "changes by")
        order = {neuron: place for place, neuron in enumerate((*self.study.found_neurons, None))}
        for step in sorted(self.ablations, key=lambda step: order.get(step.neuron, -1)):
            name = step.neuron.name if step.neuron else "all together"
            table.add_row(name, {"mean": "its mean"}.get(step.variant, step.variant), show_share(step.value))
        return table


def study_view(atlas: Atlas, name: str) -> StudyView:
    """A study of an atlas for the terminal.

    Raises:
        StudyNameError: there is no study of that name.
    """
    study = find_study(atlas, name)
    prompts = study_prompts(atlas, name, limit=1).rows
    lens, mlp, ablations = (steps_of(atlas, name, kind) for kind in ("logit_lens", "patch_mlp_out", "ablation"))
    return StudyView(study, prompts[0] if prompts else None, lens, mlp, study_neurons(atlas, study, 10), ablations)
