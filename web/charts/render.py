"""Export of charts as files, for papers and for pages without scripts: SVG, PNG, CSV, and the Vega-Lite
specification."""

from __future__ import annotations

import csv
import io
import json
import threading
from typing import Any

import vl_convert

from web.charts.chart import Chart
from web.charts.theme import paper_config

WIDTH, HEIGHT = 620, 260
"""Size of an exported drawing, pixels; one that is taller on its page keeps its height."""

SQUARE = 480
"""Width and height of one that its page shows as a square, axes included."""

PNG_SCALE = 2.0

_converting = threading.Lock()  # vl-convert's engine handles one request at a time

MIMETYPES = {
    "svg": "image/svg+xml",
    "png": "image/png",
    "csv": "text/csv; charset=utf-8",
    "json": "application/json",
}
"""Formats of an exported chart."""


def _spec(chart: Chart) -> dict[str, Any]:
    square = chart.spec["height"] == "container"
    width, height = (SQUARE, SQUARE) if square else (WIDTH, max(HEIGHT, chart.spec["height"]))
    spec = {**chart.spec, "width": width, "height": height, "config": paper_config()}
    if "params" in spec:  # the legend names what is drawn
        drawn = [series.label for series in chart.series if series.drawn]
        spec["params"] = [{**one, "value": drawn} if one["name"] == "labels" else one for one in spec["params"]]
    return spec


def _table(chart: Chart) -> str:
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(chart.table.heads)
    writer.writerows(chart.table.rows)
    return out.getvalue()


def render(chart: Chart, kind: str) -> bytes:
    """The chart as a file of one of the formats; 40 to 60 ms for a drawing."""
    if kind == "csv":
        return _table(chart).encode("utf-8")
    if kind == "json":
        return json.dumps(_spec(chart), ensure_ascii=False).encode("utf-8")
    with _converting:
        # An empty list of allowed addresses: a drawing never fetches anything.
        if kind == "svg":
            return vl_convert.vegalite_to_svg(_spec(chart), allowed_base_urls=[]).encode("utf-8")
        return vl_convert.vegalite_to_png(_spec(chart), scale=PNG_SCALE, allowed_base_urls=[])
