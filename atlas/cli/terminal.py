"""A neuron's page for the terminal."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from rich.columns import Columns
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from atlas.core.db import Atlas
from atlas.core.display import show_number, show_range, show_share
from atlas.topics.curve import Candidate, Curve, HistogramBar, histogram, neuron_candidates, neuron_curves
from atlas.topics.example import Example, interval_examples, neuron_examples
from atlas.topics.glance import Glance
from atlas.topics.neuron import CongruentToken, Neuron, neuron_pairs, neuron_tokens
from atlas.topics.neuron_columns import columns_of
from atlas.topics.pair import ExclusivePair
from atlas.topics.verdict import JudgedNeuron, judged_neuron

_BLOCKS = "▁▂▃▄▅▆▇█"
_POSITIVE, _NEGATIVE = (214, 96, 30), (46, 110, 190)
_MAX_CURVES = 6


def sparkline(values: Sequence[float], top: float | None = None) -> str:
    """One character for each value, from 0 (a blank) to `top` (the greatest value by default)."""
    top = max(values, default=0) if top is None else top
    if top <= 0:
        return " " * len(values)
    steps = (math.ceil(min(1.0, value / top) * len(_BLOCKS)) for value in values)
    return "".join(_BLOCKS[step - 1] if step > 0 else " " for step in steps)


def _spread(bars: Sequence[HistogramBar], values: Iterable[float]) -> list[float]:
    """Values by bin, with 0 for the empty bins between them, so that each character is a bin."""
    by_bin = dict(zip((bar.bin for bar in bars), values, strict=True))
    return [by_bin.get(bin, 0.0) for bin in range(bars[0].bin, bars[-1].bin + 1)] if bars else []


def _numbers(neuron: Neuron) -> Table:
    table = Table.grid(padding=(0, 2))
    cells = [
        (Text(column.name, "dim"), Text(column.show(getattr(neuron, column.name)))) for column in columns_of("terminal")
    ]
    for place in range(0, len(cells), 3):
        table.add_row(*(cell for pair in cells[place : place + 3] for cell in pair))
    return table


def _tokens(title: str, tokens: list[CongruentToken]) -> Table:
    table = Table(title=title, title_justify="left", box=None, show_header=False, padding=(0, 1, 0, 0))
    for item in tokens:
        table.add_row(
            Text(str(item.rank), "dim"),
            Text(item.token.shown, "bold"),
            Text(show_number(item.congruence)),
            Text(f"#{item.token.token_id}", "dim"),
        )
    return table


def _histogram(bars: list[HistogramBar]) -> RenderableType:
    counts = _spread(bars, (math.log10(bar.n) + 1 for bar in bars))
    ends = f"{show_range(bars[0].lower, bars[0].upper)} … {show_range(bars[-1].lower, bars[-1].upper)}" if bars else ""
    return Group(Text("Activation (log count; 4 bins an octave)", "italic"), Text(sparkline(counts)), Text(ends, "dim"))


def _curves(curves: list[Curve], bars: list[HistogramBar]) -> Table:
    table = Table(title="Predicted and actual against activation", title_justify="left", box=None, padding=(0, 1, 0, 0))
    for name in ("token", "", "over the bins above", "most", "positions"):
        table.add_column(name, header_style="dim", no_wrap=name != "token")
    for curve in curves:
        greatest = max((max(point.predicted_fraction, point.actual_fraction) for point in curve.points), default=0.0)
        for what in ("predicted", "actual"):
            fractions = [getattr(point, f"{what}_fraction") for point in curve.points]
            table.add_row(
                Text(curve.candidate.token.shown if what == "predicted" else "", "bold"),
                Text(what, "dim"),
                Text(sparkline(_spread(bars, fractions), greatest)),
                Text(show_share(max(fractions, default=0.0))),
                Text(show_number(getattr(curve.candidate, f"n_{what}"))),
            )
    return table


def _highlighted(example: Example) -> Text:
    text = Text()
    greatest = max((abs(value) for value in example.activations), default=0.0) or 1.0
    for place, (token, value) in enumerate(zip(example.tokens, example.activations, strict=True)):
        strength = abs(value) / greatest
        red, green, blue = _POSITIVE if value > 0 else _NEGATIVE
        style = f"white on rgb({red},{green},{blue})" if strength > 0.5 else ""
        if 0.1 < strength <= 0.5:
            style = f"rgb({red},{green},{blue})"
        if place + example.window_start == example.position:
            style += " bold underline"
        text.append(token.in_text, style.strip())
    return text


def _texts(title: str, examples: Sequence[Example]) -> list[RenderableType]:
    if not examples:
        return []
    table = Table(title=title, title_justify="left", box=None, show_header=False, padding=(0, 1, 0, 0), expand=True)
    table.add_column(justify="right", no_wrap=True)
    table.add_column(ratio=1)
    for example in examples:
        after = Text(" → predicted ", "dim") + Text(example.predicted.shown, "bold") + Text(", actual ", "dim")
        after += Text(example.actual.shown, "bold") if example.actual else Text("none, the text ends", "dim")
        table.add_row(Text(show_number(example.activation)), _highlighted(example) + after)
    return [Text(), table]


def curves_shown(candidates: Iterable[Candidate]) -> list[Candidate]:
    """The candidates whose curves a terminal shows: exclusive pairs, then by |congruence|."""
    ordered = sorted(candidates, key=lambda c: ("exclusive" not in c.sources, -abs(c.congruence), c.token.token_id))
    return ordered[:_MAX_CURVES]


@dataclass(frozen=True)
class NeuronView:
    """The view of a neuron in the terminal, with `n_texts` texts of each kind (one of each octave)."""

    neuron: JudgedNeuron
    model_name: str
    tokens: list[CongruentToken]
    bars: list[HistogramBar]
    pairs: list[ExclusivePair]
    curves: list[Curve]
    examples: list[Example]
    n_texts: int = 5

    def __rich__(self) -> RenderableType:
        neuron, n = self.neuron, self.n_texts
        top, bottom = ([item for item in self.tokens if item.direction == end] for end in ("top", "bottom"))
        ordinary = [group.examples[0] for group in interval_examples(self.examples)]
        lines: list[RenderableType] = [
            Text(neuron.name, "bold") + Text(f"  {self.model_name}", "dim"),
            Text(neuron.verdict.text),
            _numbers(neuron),
        ]
        for pair in self.pairs:
            which = "best" if pair.direction == "top" else "worst"
            lines.append(
                Text(f"Exclusive pair: it and {pair.token.shown} are each other's {which} ")
                + Text(f"(rank {show_number(pair.rank)}, score {show_number(pair.score)})")
            )
        lines += [Text(), Columns([_tokens("Best tokens", top), _tokens("Worst tokens", bottom)], padding=(0, 4))]
        lines += [Text(), _histogram(self.bars), Text(), _curves(self.curves, self.bars)]
        lines += _texts("Greatest activations", [example for example in self.examples if example.kind == "max"][:n])
        lines += _texts("Least activations", [example for example in self.examples if example.kind == "min"][:n])
        lines += _texts("Ordinary texts, one an octave", ordinary[:n] if n else [])
        return Group(*lines)


def neuron_page(atlas: Atlas, neuron_id: int, texts: int = 5) -> NeuronView:
    """A neuron of an atlas file for the terminal, `texts` texts of each kind."""
    bars = histogram(atlas, neuron_id)
    candidates = curves_shown(neuron_candidates(atlas, neuron_id))
    return NeuronView(
        judged_neuron(atlas, neuron_id),
        atlas.info.model_name,
        neuron_tokens(atlas, neuron_id),
        bars,
        neuron_pairs(atlas, neuron_id),
        neuron_curves(atlas, neuron_id, candidates, bars),
        neuron_examples(atlas, neuron_id),
        texts,
    )


def glance_table(glances: Sequence[Glance]) -> Table:
    """Several neurons at a glance for the terminal: the verdict on each, and the tokens that it writes."""
    table = Table(box=None, padding=(0, 2, 1, 0), header_style="dim")
    for head in ("neuron", "verdict", "writes"):
        table.add_column(head, no_wrap=head == "neuron")
    for item in glances:
        tokens = Text(" ").join(Text(token.token.shown, "bold") for token in item.tokens)
        table.add_row(Text(item.neuron.name, "bold"), Text(item.verdict.text), tokens)
    return table
