"""The report as a folder (`index.html`, `report.md`, `figures/`), renamed into its place when complete."""

from __future__ import annotations

import os
from pathlib import Path

from atlas import Atlas
from atlas.core.errors import AtlasError
from atlas.core.files import appearing_folder, check_place
from web.report.block import Section
from web.report.causes import causes, laws
from web.report.data import best_curves, effects, firing, predictiveness
from web.report.drawing import drawing
from web.report.html import report_html
from web.report.markdown import FIGURES, report_markdown
from web.report.names import Links, anchor
from web.report.studies import studies
from web.report.weights import exclusive_pairs, hubs, kinds, provenance, what_it_is
from web.site.public_url import read_public_url

WRITTEN = frozenset({"index.html", "report.md", FIGURES})
"""Files of a report."""


class ReportError(AtlasError):
    """The folder of a report cannot be written, or contains files that must not be replaced."""


def sections(atlas: Atlas) -> list[Section]:
    """The report's chapters: its findings in short, what they come from, and at the end the atlas itself. A chapter
    without data says so."""
    chapters = [
        firing(atlas),
        exclusive_pairs(atlas),
        best_curves(atlas),
        predictiveness(atlas),
        causes(atlas),
        effects(atlas),
        laws(atlas),
        *studies(atlas),
        hubs(atlas),
        kinds(atlas),
    ]
    points = tuple(chapter.finding for chapter in chapters if chapter.finding)
    return [Section("Findings", (what_it_is(atlas),), points=points), *chapters, provenance(atlas)]


def write_report(atlas: Atlas, folder: Path, *, force: bool = False, site: str | None = None) -> tuple[Section, ...]:
    """Write the findings of an atlas to a folder, which appears when everything is written, or not at all. Neurons and
    tokens are links to the atlas's pages on a site, 'https://atlas.example.org', if one is named.

    Raises:
        ReportError: the folder is not empty (unless `force`), contains files that no report wrote, or cannot be
            written.
        PublicUrlError: `site` is not the address of a site.
        QueryError: DuckDB fails at a query.
    """
    _check(folder, force)
    links = Links(None if site is None else "://".join(read_public_url(site)), atlas.info.slug)
    chapters = sections(atlas)
    title, drawings = _title(atlas), _drawings(chapters)
    try:
        with appearing_folder(folder) as place:
            (place / FIGURES).mkdir()
            for name, content in drawings.items():
                (place / FIGURES / f"{name}.svg").write_bytes(content)
            (place / "index.html").write_text(report_html(atlas, title, chapters, drawings, links), encoding="utf-8")
            (place / "report.md").write_text(report_markdown(atlas, title, chapters, links), encoding="utf-8")
    except OSError as error:
        raise ReportError(
            f"{str(folder)!r} cannot be written: {error.strerror or error}. Nothing was left there; choose another "
            "folder, or free some space."
        ) from error
    return tuple(chapters)


def report_page(atlas: Atlas, links: Links) -> str:
    """The report as one HTML document, which fetches nothing."""
    chapters = sections(atlas)
    return report_html(atlas, _title(atlas), chapters, _drawings(chapters), links)


def _title(atlas: Atlas) -> str:
    return f"Neurons of {atlas.info.model_name}"


def _drawings(chapters: list[Section]) -> dict[str, bytes]:
    """The charts as SVG, by file name."""
    return {
        anchor(section.title, panel.title, chart.name): drawing(chart)
        for section in chapters
        for panel in section.panels
        for chart in panel.charts
    }


def _check(folder: Path, force: bool) -> None:
    if not folder.absolute().parent.is_dir():
        raise ReportError(f"The folder {str(folder.absolute().parent)!r} does not exist. Create it first.")
    if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
        raise ReportError(f"{str(folder)!r} is not a folder; expected one that is empty or does not exist.")
    names = sorted(item.name for item in folder.iterdir()) if folder.exists() else []
    if names and not force:
        raise ReportError(f"{str(folder)!r} is not empty. Choose another folder, or replace a report with --force.")
    foreign = [name for name in names if name not in WRITTEN]
    if foreign:
        raise ReportError(
            f"{str(folder)!r} contains {foreign[0]!r}, which no report wrote: it is not replaced, even with --force. "
            "Choose another folder."
        )
    check_place(Path(os.path.abspath(folder)))  # Before the charts are drawn.
