"""HTML for which templates are too slow: texts with every token coloured, tables behind charts.

This module escapes all text. Colours are classes (p1 to p8, n1 to n8): style attributes would need a looser content
security policy.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Any

from markupsafe import Markup, escape

from atlas.core.display import show_number, show_running
from atlas.core.units import NeuronRef, Token
from atlas.topics.example import Example
from atlas.topics.glance import Glance
from atlas.topics.neuron import Neuron
from atlas.topics.neuron_columns import Column
from web.charts.chart import Table
from web.site import urls
from web.site.urls import AtlasRef
from web.workers.live.placed import PlacedToken

LEVELS = 8
"""Number of strengths of colour."""

BEFORE, AFTER = 12, 6
"""Tokens of a snippet before and after the firing one."""

_FLOOR = 0.02
_LOG = LEVELS / math.log(16)


def level(activation: float, scale: float) -> int:
    """Strength of colour, 0 (none) to LEVELS: logarithmic, so that a tenth of the scale is still visible."""
    ratio = abs(activation) / scale if scale > 0 else 0.0
    if ratio < _FLOOR:
        return 0
    return max(1, min(LEVELS, math.ceil(_LOG * math.log1p(15 * min(1.0, ratio)))))


_SPACE = '<span class="space"> </span>'


def spaced(text: str, everywhere: bool = False) -> Markup:
    """Text for people, the spaces at its ends (or `everywhere`) drawn as ␣: what is copied has spaces."""
    shown = show_running(text)
    if everywhere:
        return Markup(_SPACE.join(map(_escaped, shown.split(" "))))
    inner = shown.strip(" ")
    start = len(shown) - len(shown.lstrip(" "))
    end = len(shown) - start - len(inner)
    return Markup(_SPACE * start + _escaped(inner) + _SPACE * end)


@lru_cache(maxsize=16_384)
def _escaped(text: str) -> str:
    return str(escape(text))


def _span(token: Token, activation: float | None, scale: float, names: str = "") -> str:
    if activation is None:
        return _escaped(token.in_text)
    strength = level(activation, scale)
    if strength:
        names = f"{'p' if activation > 0 else 'n'}{strength} {names}".rstrip()
    kind = f' class="{names}"' if names else ""
    return f'<i{kind} title="{show_number(activation)}">{_escaped(token.in_text)}</i>'


def _spans(example: Example, start: int, stop: int, scale: float) -> str:
    """Tokens of the window from `start` to `stop`, places within it; the next token after the firing one is marked."""
    peak = example.position - example.window_start
    return "".join(
        _span(example.tokens[place], example.activations[place], scale, "next" if place == peak + 1 else "")
        for place in range(start, stop)
    )


def _peak(example: Example, scale: float) -> str:
    peak = example.position - example.window_start
    # Its activation is stored exactly; those of the window are rounded to 16 bits.
    return _span(example.tokens[peak], example.activation, scale, "peak")


def link_to_token(ref: AtlasRef, token: Token) -> Markup:
    """A token that leads to its page."""
    return _link_to_token(ref, token.token_id, token.shown, token.special)


@lru_cache(maxsize=16_384)
def _link_to_token(ref: AtlasRef, token_id: int, shown: str, special: bool) -> Markup:
    kind, title = (" special", ' title="special token"') if special else ("", "")
    return Markup(f'<a class="chip{kind}"\n  href="{urls.to("token", ref, token_id)}"{title}>{_escaped(shown)}</a>')


def link_to_neuron(ref: AtlasRef, neuron: Neuron | NeuronRef) -> Markup:
    """A neuron's name that leads to its page."""
    return _link_to_neuron(ref, neuron.name)


@lru_cache(maxsize=16_384)
def _link_to_neuron(ref: AtlasRef, name: str) -> Markup:
    return Markup(f'<a class="unit" href="{escape(urls.to("neuron", ref, name))}">{_escaped(name)}</a>')


_CUT = '<span class="cut">…</span>'


def snippet(example: Example, scale: float) -> Markup:
    """A line of a concordance: the text before, right-aligned, then the firing token and the text after."""
    peak = example.position - example.window_start
    start, stop = max(0, peak - BEFORE), min(len(example.tokens), peak + 1 + AFTER)
    left = (_CUT if example.window_start + start > 1 else "") + _spans(example, start, peak, scale)
    more = example.window_start + stop < example.text_length
    right = _peak(example, scale) + _spans(example, peak + 1, stop, scale) + (_CUT if more else "")
    return Markup(
        f'<span class="text kwic"><span class="left"><span>{left}</span></span>'
        f'<span class="right">{right}</span></span>'
    )


def whole(example: Example, tokens: Sequence[Token], scale: float) -> Markup:
    """All of the text but BOS, `tokens` being the whole of it; activations are known within the window."""
    peak, n = example.position - example.window_start, len(example.tokens)
    stop = example.window_start + n
    first = 1 if example.window_start > 0 else 0
    before = "".join(_span(token, None, scale) for token in tokens[first : example.window_start])
    after = "".join(_span(token, None, scale) for token in tokens[stop:])
    inner = _spans(example, 0, peak, scale) + _peak(example, scale) + _spans(example, peak + 1, n, scale)
    return Markup(f'<p class="text">{before}{inner}{after}</p>')


def live_text(tokens: Sequence[PlacedToken], scale: float) -> Markup:
    """Tokens with activations, each a link to its row in the table ('#t' and its position); pale: it does not count."""
    parts = []
    for item in tokens:
        strength = 0 if item.below is None else level(item.activation, scale)
        names = f"{'p' if item.activation > 0 else 'n'}{strength}" if strength else ""
        kind = ' class="cut"' if item.below is None else f' class="{names}"' if names else ""
        parts.append(
            f'<a{kind} href="#t{item.position}" data-value="{show_number(item.activation, 3)}" '
            f'title="{show_number(item.activation)}">{_escaped(item.token.in_text)}</a>'
        )
    return Markup(f'<p class="text live">{"".join(parts)}</p>')


def column_number(column: Column, value: float | int | None) -> Markup:
    """A number of a column of the table `neuron`, coloured by its sign where the sign matters."""
    text = column.show(value)
    return Markup(f'<span class="{_sign(value)}">{text}</span>') if column.form == "signed" and value else Markup(text)


def number_cell(column: Column, value: float | int | None) -> Markup:
    """The same as a cell of a table."""
    sign = f" {_sign(value)}" if column.form == "signed" and value else ""
    return Markup(f'<td class="n{sign}">{column.show(value)}</td>')


def neuron_rows(
    columns: Sequence[Column],
    neurons: Sequence[Neuron],
    glances: Sequence[Glance],
    ref: AtlasRef,
) -> Markup:
    """The rows of a list of neurons, the numbers of a column to the same decimals. In Python: a page has a thousand
    cells, each of which costs five times as much in a template."""
    shown = [
        [getattr(glance if column.meaning else neuron, column.field) for column in columns]
        for neuron, glance in zip(neurons, glances, strict=True)
    ]
    by_column = zip(*shown, strict=True) if shown else [()] * len(columns)
    decimals = [c.decimals(values) if c.number else 0 for c, values in zip(columns, by_column, strict=True)]

    def cell(column: Column, value: Any, places: int, neuron: Neuron, glance: Glance) -> str:
        if column.form == "words":
            return f"<td>{escape(glance.headline)}</td>"
        if column.form == "neuron":
            return f'<td class="stick">{link_to_neuron(ref, neuron)}</td>'
        if column.form == "token":
            if value is None:
                return '<td class="dim">various</td>'
            texts = f' title="In {glance.n_fires_on} of its top texts"' if column.name == "fires_on" else ""
            return f"<td{texts}>{link_to_token(ref, value)}</td>"
        sign = f" {_sign(value)}" if column.form == "signed" and value else ""
        return f'<td class="n{sign}">{"" if value is None and column.meaning else column.show(value, places)}</td>'

    rows = []
    for neuron, glance, values in zip(neurons, glances, shown, strict=True):
        dead = ' class="dead" title="Every counted activation lies in the zero bin"' if neuron.dead else ""
        cells = (cell(*item, neuron, glance) for item in zip(columns, values, decimals, strict=True))
        rows.append(f"<tr{dead}>{''.join(cells)}</tr>")
    return Markup("\n".join(rows))


def _sign(value: float) -> str:
    return "pos" if value > 0 else "neg"


def table_rows(table: Table) -> Markup:
    """The body of the table behind a chart."""

    def cell(value: Any) -> str:
        return str(escape(value)) if isinstance(value, str) else show_number(value)

    def row(cells: Iterable[object]) -> str:
        return "<tr>" + "".join(f"<td>{cell(value)}</td>" for value in cells) + "</tr>"

    return Markup("\n".join(map(row, table.rows)))
