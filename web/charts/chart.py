"""Common parts of charts: the record that a page shows, the activation axis, and colours by name.

Specifications are made once without data; a page adds its rows and its title. Colours are names of ranges and styles
(see `theme`), so that light, dark and paper need one specification.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import altair as alt

from atlas.core.bins import MAX_EXPONENT, MIN_EXPONENT

DATA = "rows"
"""Name of the data set that a page fills."""

HEIGHT = 170

SHORT = "format(datum.value, '~s')"
"""Expression for an axis's labels: 1k, 10k. The axis's own format would use one prefix for all labels."""


@dataclass(frozen=True)
class Table:
    """The chart's data as a table: heads of columns, rows of text or numbers."""

    heads: tuple[str, ...]
    rows: tuple[tuple[Any, ...], ...]


@dataclass(frozen=True)
class Chart:
    """A chart on a page: its name, title, explanation, specification and table."""

    name: str
    title: str
    caption: str
    spec: dict[str, Any]
    table: Table


def specification(chart: Any) -> dict[str, Any]:
    """An Altair chart as a specification without its own configuration."""
    spec = chart.to_dict()
    spec.pop("config", None)
    return spec


def filled(spec: dict[str, Any], rows: list[dict[str, Any]], title: str, **params: Any) -> dict[str, Any]:
    """The specification with rows of data, a title that identifies the chart in a screenshot, and values of its
    parameters."""
    values = [{"name": name, "value": value} for name, value in params.items()]
    return {**spec, "title": title, "datasets": {DATA: rows}, **({"params": values} if values else {})}


def drawn_edges(lower: float | None, upper: float | None) -> tuple[float, float]:
    """Edges of a bin for drawing: an open bin is drawn one octave wide."""
    if lower is None:
        return 2 * upper, upper
    if upper is None:
        return lower, 2 * lower
    return lower, upper


def drawn_centre(lower: float | None, upper: float | None) -> float:
    """Place of a bin's point: its geometric middle, 0 for the zero bin."""
    low, high = drawn_edges(lower, upper)
    return 0.0 if low < 0 < high else (low * high) ** 0.5 * (1 if low > 0 else -1)


def rounded(value: float) -> float:
    """A value for drawing: five significant digits, finer than any screen shows."""
    return float(f"{value:.5g}")


def activation_axis(field: str) -> alt.X:
    """The activation axis: all octaves are equally wide, the zero bin is linear."""
    powers = range(MIN_EXPONENT + 3, MAX_EXPONENT + 2, 3)
    values = [-(2.0**power) for power in powers] + [0] + [2.0**power for power in powers]
    return alt.X(
        field,
        type="quantitative",
        title="activation",
        scale=alt.Scale(type="symlog", constant=2.0**MIN_EXPONENT, nice=False, zero=False),
        axis=alt.Axis(
            values=values, labelExpr="format(datum.value, '.3~g')", grid=False, labelOverlap="greedy", labelFlush=True
        ),
    )
