"""The report: Markdown for people, JSON with every value, a table on the terminal."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from atlas.core.files import write_texts
from atlas.core.info import AtlasInfo
from atlas.core.names import parse_neuron
from ingest.model.load import LoadedModel
from ingest.model.weights import layer_weights, read_readout
from ingest.reproduce.atlas_values import Stored
from ingest.reproduce.compare import DIFFERS, NOT_JUDGED, Comparison, Finding, Value
from ingest.reproduce.curves import COUNTS, CurvePass
from ingest.reproduce.experiments import Experiments
from ingest.reproduce.figures import Published

_ATLAS_COLUMNS = (
    "slug",
    "build_id",
    "model_name",
    "model_revision",
    "model_fingerprint",
    "dataset_name",
    "n_texts",
    "n_positions",
    "readout",
    "dtype",
    "device",
)
"""Columns of table `atlas` in the JSON report."""


@dataclass(frozen=True)
class Beside:
    """A quantity by the post's conventions and by the model itself."""

    what: str
    post: float | int | str
    """The value in the post's plots and notebooks."""
    own: float | int | str
    """The model's own value."""


def beside(
    published: Published, model: LoadedModel, atlas: Stored, experiments: Experiments, curves: CurvePass | str
) -> list[Beside]:
    """All quantities with both values."""
    text = atlas.token_texts
    rows = [
        Beside(f"top prediction after the {side} prompt", repr(text[post]), repr(text[own]))
        for side, (post, own) in experiments.tops.items()
    ]
    own = experiments.result.prompts[0].clean_logit_diff
    rows.append(Beside("logit lens at the end (without biases, with them)", experiments.lens["final_post"], own))
    if not isinstance(curves, str):
        for pair, curve in curves.curves.items():
            what = f"positions whose top prediction is {text[pair.token_id]!r}"
            rows.append(Beside(what, curve.total("n_predicted"), curve.total("n_own")))
    return rows + _congruences(published, model, text)


def _congruences(published: Published, model: LoadedModel, text: Mapping[int, str]) -> list[Beside]:
    """Congruence by W_E, and by the unembedding with the final norm's gain."""
    readouts = [read_readout(model, kind).columns for kind in ("embed", "unembed")]
    rows = []
    for figure in published.of_kind("congruence"):
        name, token = figure.data["neuron"], figure.data["top"][0][0]
        layer, index = parse_neuron(name, len(model.layers), model.d_mlp)
        w_out = layer_weights(model, layer).w_out[index]
        both = [columns.double() @ w_out.double() for columns in readouts]
        rows.append(Beside(f"congruence of {name} with {text[token]!r}", *(float(values[token]) for values in both)))
        best = (repr(text[int(values.argmax())]) for values in both)
        rows.append(Beside(f"token that {name} is most congruent with", *best))
    return rows


_WORST = 10
"""Values listed of a figure that differs."""


@dataclass(frozen=True)
class Report:
    """The contents of the report."""

    info: AtlasInfo
    findings: Sequence[Finding]
    beside: Sequence[Beside]
    curves: CurvePass | str

    @property
    def n_differing(self) -> int:
        """Figures that were measured and differ."""
        return sum(finding.verdict == DIFFERS for finding in self.findings)

    def summary(self) -> str:
        """'33 reproduced, 1 differs, 1 not judged'."""
        counts = Counter(finding.verdict for finding in self.findings)
        return ", ".join(f"{n} {verdict}" for verdict, n in counts.most_common())


def write_report(report: Report, folder: Path, stem: str) -> tuple[Path, Path]:
    """Write `stem.md` and `stem.json`, both or neither; returns both.

    Raises:
        OSError: the folder cannot be written.
    """
    markdown, data = folder / f"{stem}.md", folder / f"{stem}.json"
    values = json.dumps(to_json(report), ensure_ascii=False, indent=1, allow_nan=False) + "\n"
    write_texts({markdown: to_markdown(report), data: values})
    return markdown, data


def to_json(report: Report) -> dict[str, Any]:
    """All comparisons, and both ways of counting the curves."""
    info, curves = report.info, report.curves
    if not isinstance(curves, str):
        curves = [
            {**asdict(pair), "columns": ["bin", *COUNTS], "rows": curve.rows()} for pair, curve in curves.curves.items()
        ]
    return {
        "atlas": {name: getattr(info, name) for name in _ATLAS_COLUMNS},
        "summary": dict(Counter(finding.verdict for finding in report.findings)),
        "figures": [_figure(finding) for finding in report.findings],
        "both_ways": [asdict(row) for row in report.beside],
        "curves": curves,
    }


def _figure(finding: Finding) -> dict[str, Any]:
    figure = finding.figure
    return {
        **{name: getattr(figure, name) for name in ("id", "title", "source", "description", "tolerance", "why")},
        "verdict": finding.verdict,
        "reason": finding.reason,
        "values": [
            {**{k: _finite(v) for k, v in asdict(comparison).items()}, "ok": comparison.ok}
            for comparison in finding.comparisons
        ],
    }


def _finite(value: Value) -> Value:
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def to_markdown(report: Report) -> str:
    """The report for people."""
    info = report.info
    lines = [
        "# Published against measured\n",
        f"{info.model_name} (revision {info.model_revision or 'none'}), atlas `{info.slug}` build `{info.build_id}`, "
        f"{info.n_positions:,} positions of {info.dataset_name}: {report.summary()}.\n",
        "Of a figure with many values the row shows the one that uses up most of its tolerance.\n",
        "| figure | published | measured | tolerance | values | verdict |",
        "|---|---:|---:|---:|---:|---|",
        *(_row(finding) for finding in report.findings),
        "\n## The post's conventions and the model's own\n",
        "The post reads the model by W_E without the final norm's gain and without biases. Where that gives another "
        "number than the model itself, both are here.\n",
        "| | the post's way | the model's own |",
        "|---|---:|---:|",
        *(f"| {_cell(row.what)} | {_cell(_show(row.post))} | {_cell(_show(row.own))} |" for row in report.beside),
    ]
    differing = [finding for finding in report.findings if finding.verdict == DIFFERS]
    if differing:
        lines.append("\n## What differs\n")
        for finding in differing:
            lines += _differing(finding)
    lines.append("\n## Sources and tolerances\n")
    lines += [
        f"- `{f.figure.id}`: {f.figure.description}. {f.figure.source}. Tolerance: {f.figure.why}"
        for f in report.findings
    ]
    return "\n".join(lines) + "\n"


def _row(finding: Finding) -> str:
    worst, verdict = finding.worst, finding.verdict
    if finding.reason is not None:
        verdict += f": {finding.reason}"
    cells = ["–"] * 3 if worst is None else [_show(worst.published), _show(worst.measured), _show(worst.tolerance)]
    title = finding.figure.title
    if worst is not None and len(finding.comparisons) > 1:
        title += f" (at {worst.what})"
    row = [title, *cells, str(len(finding.comparisons) or "–"), verdict]
    return "| " + " | ".join(_cell(cell) for cell in row) + " |"


def _differing(finding: Finding) -> list[str]:
    wrong = sorted((c for c in finding.comparisons if not c.ok), key=lambda comparison: -comparison.strain)
    lines = [f"`{finding.figure.id}`: {len(wrong)} of {len(finding.comparisons)} values differ.\n"]
    lines += [f"- {_line(comparison)}" for comparison in wrong[:_WORST]]
    if len(wrong) > _WORST:
        lines.append(f"- and {len(wrong) - _WORST} more, in the JSON file")
    return [*lines, ""]


def _line(comparison: Comparison) -> str:
    measured = "nothing" if comparison.measured is None else _show(comparison.measured)
    return f"{comparison.what}: published {_show(comparison.published)}, measured {measured}"


def _show(value: Value) -> str:
    if value is None:
        return "–"
    if isinstance(value, str):
        return value
    if math.isfinite(value) and value == int(value):
        return f"{int(value):,}"
    return f"{value:.6g}"


def _cell(text: str) -> str:
    return " ".join(text.replace("|", "\\|").split())


def print_findings(report: Report, console: Console) -> None:
    """Every figure with its verdict, and both ways of counting."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("figure", "published", "measured", "tolerance", "values", "verdict"):
        table.add_column(
            heading, justify="right" if heading in ("published", "measured", "tolerance", "values") else "left"
        )
    for finding in report.findings:
        worst = finding.worst
        cells = ["–"] * 3 if worst is None else [_show(worst.published), _show(worst.measured), _show(worst.tolerance)]
        style = "red" if finding.verdict == DIFFERS else None
        table.add_row(finding.figure.id, *cells, str(len(finding.comparisons) or "–"), finding.verdict, style=style)
    console.print(table)
    for finding in report.findings:
        if finding.reason is not None and finding.verdict != NOT_JUDGED:
            console.print(f"{finding.figure.id}: {finding.reason}", markup=False, soft_wrap=True)
    for row in report.beside:
        console.print(f"{row.what}: the post's way {_show(row.post)}, the model's own {_show(row.own)}", markup=False)
    console.print(report.summary(), style="bold")
