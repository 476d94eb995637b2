"""Colours and configuration of charts, shared by the browser and by exported images.

The style sheet is the only place of colours, as custom properties `--name: light-dark(#light, #dark)`. The
configuration refers to them as "$name": the browser's script inserts those of the current theme, an exported image the
light ones.
"""

from __future__ import annotations

import re
from functools import cache
from typing import Any

from web.site.urls import STATIC

SERIES = 6
"""Number of colours for things compared on one chart: --series-1 to --series-6 (Okabe and Ito's colour-blind-safe
palette)."""

CONFIG: dict[str, Any] = {
    "background": None,
    "font": "$font",
    "autosize": {"type": "fit-x", "contains": "padding"},
    "view": {"stroke": None},
    "title": {
        "anchor": "start",
        "color": "$ink",
        "subtitleColor": "$dim",
        "fontSize": 12.5,
        "subtitleFontSize": 11,
        "fontWeight": 600,
        "offset": 8,
        "subtitlePadding": 3,
    },
    "axis": {
        "domainColor": "$rule",
        "tickColor": "$rule",
        "gridColor": "$rule",
        "gridOpacity": 0.6,
        "labelColor": "$dim",
        "titleColor": "$dim",
        "titleFontWeight": "normal",
        "labelFontSize": 11,
        "titleFontSize": 11,
        "tickSize": 3,
    },
    "legend": {
        "labelColor": "$ink",
        "labelFontSize": 11,
        "symbolType": "circle",
        "orient": "top",
        "columns": 3,
        "symbolOpacity": 1,
        "symbolSize": 60,
        "padding": 0,
        "offset": 4,
        "labelLimit": 220,
        "titleColor": "$dim",
        "titleFontWeight": "normal",
        "titleFontSize": 11,
    },
    "axisXQuantitative": {"tickCount": {"expr": "max(4, width / 100)"}},
    "text": {"fontSize": 11, "color": "$ink"},
    "line": {"strokeWidth": 1.7},
    "point": {"size": 18, "filled": True},
    "rule": {"color": "$dim"},
    "style": {
        "counts": {"color": "$counts"},
        "accent": {"color": "$accent"},
        "positive": {"color": "$pos"},
        "negative": {"color": "$neg"},
        "quiet": {"color": "$zero"},
    },
    "range": {
        "diverging": ["$neg", "$zero", "$pos"],
        "heatmap": ["$neg-fill", "$wash", "$pos-fill"],
        "category": [f"$series-{number}" for number in range(1, SERIES + 1)],
    },
}

_FONT = "DejaVu Sans, Liberation Sans, Arial, Helvetica, sans-serif"


@cache
def colours() -> dict[str, tuple[str, str]]:
    """Every colour of the style sheet by name: (light, dark)."""
    sheet = (STATIC / "atlas.css").read_text(encoding="utf-8")
    found = re.findall(r"--([a-z0-9-]+): light-dark\((#[0-9a-f]{6}), (#[0-9a-f]{6})\)", sheet)
    return {name: (light, dark) for name, light, dark in found}


def _fill(value: Any, names: dict[str, str]) -> Any:
    if isinstance(value, dict):
        return {key: _fill(item, names) for key, item in value.items()}
    if isinstance(value, list):
        return [_fill(item, names) for item in value]
    return names[value[1:]] if isinstance(value, str) and value.startswith("$") else value


@cache
def paper_config() -> dict[str, Any]:
    """The configuration of exported images: the light colours, on white, of a fixed width."""
    names = {name: light for name, (light, _) in colours().items()} | {"font": _FONT}
    return {**_fill(CONFIG, names), "background": "#ffffff", "padding": 12}
