"""The closing summary of a run."""

from __future__ import annotations

import duckdb
from rich.console import Console
from rich.table import Table
from rich.text import Text

from atlas.core.files import database
from ingest.run.build import BuildReport


def print_report(report: BuildReport, console: Console) -> None:
    """Print counts, time a phase, size a table, and the five best exclusive pairs."""
    texts = report.texts
    console.print(Text("\n") + Text(str(report.out), "bold") + Text(f"  build {report.build_id}"), soft_wrap=True)
    console.print(
        f"{texts.texts:,} texts, {texts.tokens:,} tokens, {report.n_positions:,} positions counted; "
        f"{texts.rows_read:,} rows read: {texts.rows_empty:,} empty, {texts.rows_one_token:,} of one token, "
        f"{texts.rows_split:,} split, {texts.texts_truncated:,} truncated."
    )
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("phase", "seconds"):
        table.add_column(column, justify="left" if column == "phase" else "right")
    for phase, seconds in report.seconds.items():
        table.add_row(phase, f"{seconds:,.1f}")
    table.add_row("all", f"{sum(report.seconds.values()):,.1f}", style="bold")
    console.print(table)
    console.print(f"Memory: at most {report.peak_memory / 1e9:.2f} GB.\n")

    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("table")
    table.add_column("rows", justify="right")
    table.add_column("MB", justify="right")
    for name, size in report.table_bytes.items():
        table.add_row(name, f"{report.rows.get(name, 0):,}", f"{size / 1e6:,.1f}")
    table.add_row("file", "", f"{report.out.stat().st_size / 1e6:,.1f}", style="bold")
    console.print(table)

    console.print("\nBest exclusive pairs (special tokens and tokens that never occur left out):")
    for neuron, token, score, congruence in _best_pairs(report):
        line = f"  {neuron:<10} {token!r:<20} score {score:.4g}, congruence {congruence:.3f}"
        console.print(Text(line), soft_wrap=True)


def _best_pairs(report: BuildReport) -> list[tuple[str, str, float, float]]:
    with duckdb.connect(database(report.out), read_only=True) as connection:
        return connection.execute(
            "SELECT neuron, token, score, congruence FROM pair "
            "WHERE direction = 'top' AND NOT special AND n_actual > 0 ORDER BY rank LIMIT 5"
        ).fetchall()
