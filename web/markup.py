"""A text with every token coloured by the neuron's activation there, as HTML."""

from __future__ import annotations

import math

from markupsafe import Markup, escape

from atlas.display import show_number
from atlas.records import Example

LEVELS = 8
"""Strengths of colour, classes p1 to p8 and n1 to n8 of the style sheet: style attributes would need a looser CSP."""

_FLOOR = 0.02


def level(activation: float, scale: float) -> int:
    """Strength of colour, 0 (none) to LEVELS: logarithmic, so that a tenth of the scale is still seen."""
    ratio = abs(activation) / scale if scale > 0 else 0.0
    if ratio < _FLOOR:
        return 0
    return max(1, math.ceil(LEVELS * math.log1p(15 * min(1.0, ratio)) / math.log(16)))


def example_text(example: Example, scale: float) -> Markup:
    """The window's tokens, each with its activation as a tooltip and a colour relative to `scale`.

    The token that fires the neuron has the class `peak`, the one that really comes next `next`. Text is escaped here.
    """
    peak = example.position - example.window_start
    parts = []
    for place, (token, activation) in enumerate(zip(example.tokens, example.activations, strict=True)):
        strength = level(activation, scale)
        names = [f"{'p' if activation > 0 else 'n'}{strength}"] if strength else []
        if place == peak:
            names.append("peak")
            activation = example.activation  # exact; those of the window are rounded
        if place == peak + 1:
            names.append("next")
        kind = f' class="{" ".join(names)}"' if names else ""
        parts.append(
            f'<span{kind} title="{escape(token.shown)}  {show_number(activation)}">{escape(token.in_text)}</span>'
        )
    return Markup("".join(parts))
