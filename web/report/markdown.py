"""The report as Markdown, with its drawings in files beside it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from atlas import Atlas
from web.report.block import Panel, Section
from web.report.cells import Cell, cells, heads
from web.report.names import Links, anchor

FIGURES = "figures"
"""Folder of the drawings, beside the document."""


def report_markdown(atlas: Atlas, title: str, sections: Sequence[Section], links: Links) -> str:
    """The document."""
    lines = [f"# {_text(title)}", ""]
    for section in sections:
        lines += [f"## {_text(section.title)}", "", *_paragraphs(section.sentences, links)]
        lines += [*(f"- {_linked(point, links)}" for point in section.points), *([""] if section.points else [])]
        for panel in section.panels:
            lines += _panel(section, panel, links)
    lines.append(
        f"Made by Neuron Atlas from build {atlas.info.build_id} of {atlas.info.slug}. Every query runs unchanged on "
        "that file."
    )
    return "\n".join([*lines, ""])


def _panel(section: Section, panel: Panel, links: Links) -> list[str]:
    lines = [f"### {_text(panel.title)}", "", *_paragraphs(panel.sentences, links)]
    for chart in panel.charts:
        name = anchor(section.title, panel.title, chart.name)
        lines += [f"![{_text(chart.title)}]({FIGURES}/{name}.svg)", "", _text(chart.caption), ""]
    if panel.answer is not None:
        rows, note = cells(panel.answer, links)
        names = heads(panel.answer)
        lines += [_row(map(_text, names)), _row(["---"] * len(names)), *(_row(map(_cell, row)) for row in rows), ""]
        lines += [note, ""] if note else []
    if panel.sql is not None:
        lines += ["```sql", panel.sql, "```", ""]
    return lines


def _paragraphs(sentences: Sequence[str], links: Links) -> list[str]:
    return [line for sentence in sentences for line in (_linked(sentence, links), "")]


def _row(values: Iterable[str]) -> str:
    return f"| {' | '.join(values)} |"


def _cell(cell: Cell) -> str:
    return _text(cell.text) if cell.link is None else _link(_text(cell.text), cell.link)


def _link(text: str, url: str) -> str:
    return f"[{text}]({url})"


def _linked(text: str, links: Links) -> str:
    return links.linked(_text(text), _link)


def _text(value: str) -> str:
    """Plain text: nothing in it is taken for markup."""
    return re.sub(r"([\\`*_\[\]<>|#])", r"\\\1", value.replace("\n", " "))
