"""The report as a folder (`index.html`, `report.md`, `figures/`), renamed into its place when complete."""

from __future__ import annotations

import os
from pathlib import Path

from atlas import Atlas
from atlas.core.errors import AtlasError
from atlas.core.files import appearing_folder, check_place
from web.report.block import Section
from web.report.data import best_curves, effects, predictiveness
from web.report.drawing import drawing
from web.report.html import report_html
from web.report.markdown import FIGURES, report_markdown
from web.report.names import anchor
from web.report.studies import studies
from web.report.weights import exclusive_pairs, hubs, kinds, what_it_is

WRITTEN = frozenset({"index.html", "report.md", FIGURES})
"""Files of a report."""


class ReportError(AtlasError):
    """The folder of a report cannot be written, or contains files that must not be replaced."""


def sections(atlas: Atlas) -> list[Section]:
    """The report's chapters; a chapter without data says so."""
    return [
        what_it_is(atlas),
        exclusive_pairs(atlas),
        hubs(atlas),
        best_curves(atlas),
        predictiveness(atlas),
        effects(atlas),
        kinds(atlas),
        *studies(atlas),
    ]


def write_report(atlas: Atlas, folder: Path, *, force: bool = False) -> tuple[Section, ...]:
    """Write the findings of an atlas to a folder, which appears when everything is written, or not at all.

    Raises:
        ReportError: the folder is not empty (unless `force`), contains files that no report wrote, or cannot be
            written.
        QueryError: DuckDB fails at a query.
    """
    _check(folder, force)
    findings = sections(atlas)
    title = f"Neurons of {atlas.info.model_name}"
    drawings = {
        anchor(section.title, panel.title, chart.name): drawing(chart)
        for section in findings
        for panel in section.panels
        for chart in panel.charts
    }
    try:
        with appearing_folder(folder) as place:
            (place / FIGURES).mkdir()
            for name, content in drawings.items():
                (place / FIGURES / f"{name}.svg").write_bytes(content)
            (place / "index.html").write_text(report_html(atlas, title, findings, drawings), encoding="utf-8")
            (place / "report.md").write_text(report_markdown(atlas, title, findings), encoding="utf-8")
    except OSError as error:
        raise ReportError(
            f"{str(folder)!r} cannot be written: {error.strerror or error}. Nothing was left there; choose another "
            "folder, or free some space."
        ) from error
    return tuple(findings)


def _check(folder: Path, force: bool) -> None:
    if not folder.absolute().parent.is_dir():
        raise ReportError(f"The folder {str(folder.absolute().parent)!r} does not exist. Create it first.")
    if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
        raise ReportError(f"{str(folder)!r} is not a folder; expected one that is empty or does not exist.")
    present = sorted(item.name for item in folder.iterdir()) if folder.exists() else []
    if present and not force:
        raise ReportError(f"{str(folder)!r} is not empty. Choose another folder, or replace a report with --force.")
    foreign = [name for name in present if name not in WRITTEN]
    if foreign:
        raise ReportError(
            f"{str(folder)!r} contains {foreign[0]!r}, which no report wrote: it is not replaced, even with --force. "
            "Choose another folder."
        )
    check_place(Path(os.path.abspath(folder)))  # Before the charts are drawn.
