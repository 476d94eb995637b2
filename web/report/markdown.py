"""The report as Markdown, with its drawings in files beside it."""

from __future__ import annotations

import re
from collections.abc import Sequence

from atlas import Atlas
from web.report.block import Panel, Section
from web.report.cells import cells, heads
from web.report.names import anchor

FIGURES = "figures"
"""Folder of the drawings, beside the document."""


def report_markdown(atlas: Atlas, title: str, sections: Sequence[Section]) -> str:
    """The document."""
    lines = [f"# {_text(title)}", ""]
    for section in sections:
        lines += [f"## {_text(section.title)}", "", *_paragraphs(section.sentences)]
        for panel in section.panels:
            lines += _panel(section, panel)
    lines.append(
        f"Made by Neuron Atlas from build {atlas.info.build_id} of {atlas.info.slug}. Every query runs unchanged on "
        f"that "
        "that file."
    )
    return "\n".join([*lines, ""])


def _panel(section: Section, panel: Panel) -> list[str]:
    lines = [f"### {_text(panel.title)}", "", *_paragraphs(panel.sentences)]
    for chart in panel.charts:
        name = anchor(section.title, panel.title, chart.name)
        lines += [f"![{_text(chart.title)}]({FIGURES}/{name}.svg)", "", _text(chart.caption), ""]
    if panel.answer is not None:
        rows, note = cells(panel.answer)
        names = heads(panel.answer)
        lines += [_row(names), _row(["---"] * len(names)), *(_row([text for text, _ in row]) for row in rows), ""]
        lines += [note, ""] if note else []
    if panel.sql is not None:
        lines += ["```sql", panel.sql, "```", ""]
    return lines


def _paragraphs(sentences: Sequence[str]) -> list[str]:
    return [line for sentence in sentences for line in (_text(sentence), "")]


def _row(values: Sequence[str]) -> str:
    return f"| {' | '.join(_text(value) for value in values)} |"


def _text(value: str) -> str:
    """Plain text: nothing in it is taken for markup."""
    return re.sub(r"([\\`*_\[\]<>|#])", r"\\\1", value.replace("\n", " "))
