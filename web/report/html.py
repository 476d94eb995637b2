"""The report as one self-contained HTML file."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping, Sequence
from html import escape

from atlas import Atlas
from atlas.core.answer.asking import QueryResult
from web.report.block import Panel, Section
from web.report.cells import Cell, cells, heads
from web.report.names import Links, anchor

_STYLE = """
body { margin: 2rem auto; max-width: 60rem; padding: 0 1.2rem; background: #fdfcf9; color: #1d1b18;
       font: 1rem/1.5 Georgia, serif; overflow-wrap: break-word; }
h1, h2, h3 { line-height: 1.25; font-weight: 600; } h2 { margin-top: 2.6rem; border-bottom: 1px solid #dcd7cc; }
table { border-collapse: collapse; font: .82rem/1.4 system-ui, sans-serif; font-variant-numeric: tabular-nums; }
th, td { text-align: left; padding: .15rem .9rem .15rem 0; border-bottom: 1px solid #e8e4db; white-space: pre-wrap; }
th { color: #655f57; } td.n { text-align: right; white-space: nowrap; }
.scroll { overflow-x: auto; } img { max-width: 100%; background: #fff; }
figure { margin: .8rem 0; } figcaption, summary, .note { font: .82rem/1.4 system-ui, sans-serif; color: #655f57; }
pre { overflow-x: auto; background: #f4f1ea; padding: .6rem .8rem; font-size: .78rem; } nav a { margin-right: 1rem; }
a { color: #7b2341; }
@media (prefers-color-scheme: dark) {
  body { background: #16151a; color: #e9e5dd; } a { color: #e68aae; } pre { background: #24222a; }
  th, figcaption, summary, .note { color: #aaa297; } h2, th, td { border-color: #3a3740; } }
"""


def report_html(
    atlas: Atlas, title: str, sections: Sequence[Section], drawings: Mapping[str, bytes], links: Links
) -> str:
    """The document; `drawings` are the charts as SVG, by file name."""
    contents = "".join(f'<a href="#{anchor(s.title)}">{escape(s.title)}</a> ' for s in sections)
    body = "\n".join(_section(section, drawings, links) for section in sections)
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n<h1>{escape(title)}</h1>\n"
        f"<nav>{contents}</nav>\n{body}\n"
        f'<p class="note">Made by Neuron Atlas from build {atlas.info.build_id} of {_named(atlas.info.slug, links)}. '
        "Every query runs unchanged on that file.</p>\n</body>\n</html>\n"
    )


def _section(section: Section, drawings: Mapping[str, bytes], links: Links) -> str:
    text = "".join(f"<p>{_text(sentence, links)}</p>\n" for sentence in section.sentences)
    if section.points:
        text += f"<ul>{''.join(f'<li>{_text(point, links)}</li>' for point in section.points)}</ul>\n"
    panels = "\n".join(_panel(section, panel, drawings, links) for panel in section.panels)
    return f'<section>\n<h2 id="{anchor(section.title)}">{escape(section.title)}</h2>\n{text}{panels}\n</section>'


def _panel(section: Section, panel: Panel, drawings: Mapping[str, bytes], links: Links) -> str:
    parts = [f"<h3>{escape(panel.title)}</h3>", *(f"<p>{_text(sentence, links)}</p>" for sentence in panel.sentences)]
    for chart in panel.charts:
        data = b64encode(drawings[anchor(section.title, panel.title, chart.name)]).decode()
        parts.append(
            f'<figure><img alt="{escape(chart.title)}" src="data:image/svg+xml;base64,{data}">'
            f"<figcaption>{escape(chart.caption)}</figcaption></figure>"
        )
    if panel.answer is not None:
        parts.append(_table(panel.answer, links))
    if panel.sql is not None:
        parts.append(f"<details><summary>SQL</summary><pre><code>{escape(panel.sql)}</code></pre></details>")
    return "\n".join(parts)


def _table(answer: QueryResult, links: Links) -> str:
    rows, note = cells(answer, links)
    head = "".join(f"<th>{escape(name)}</th>" for name in heads(answer))
    body = "\n".join(f"<tr>{''.join(map(_cell, row))}</tr>" for row in rows)
    table = f'<div class="scroll"><table>\n<thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody></table></div>'
    return f'{table}\n<p class="note">{note}</p>' if note else table


def _cell(cell: Cell) -> str:
    text = escape(cell.text) if cell.link is None else _link(escape(cell.text), cell.link)
    return f"<td{' class=n' if cell.number else ''}>{text}</td>"


def _named(slug: str, links: Links) -> str:
    url = links.overview()
    return escape(slug) if url is None else _link(escape(slug), url)


def _link(text: str, url: str) -> str:
    return f'<a href="{escape(url)}">{text}</a>'


def _text(text: str, links: Links) -> str:
    return links.linked(escape(text), _link)
