"""Charts as drawings without links, since a report is read without the site."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from web.charts.chart import Chart
from web.charts.render import render


def drawing(chart: Chart) -> bytes:
    """The chart as SVG, without links."""
    return render(replace(chart, spec=_unlinked(chart.spec)), "svg")


def _unlinked(part: Any) -> Any:
    if isinstance(part, dict):
        return {name: _unlinked(value) for name, value in part.items() if name != "href"}
    return [_unlinked(value) for value in part] if isinstance(part, list) else part
