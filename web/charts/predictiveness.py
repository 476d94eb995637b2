"""Criteria of the weights against metrics of the data, over all pairs: a density, and rank correlations."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import altair as alt

from atlas.core.display import show_number
from atlas.topics.predictiveness import ComparedPair, Correlation, Correlations, DensityCell
from atlas.topics.predictiveness_sql import ROOTED, MetricChoice
from web.charts.axes import sides_colour
from web.charts.by_layer import by_layer_chart
from web.charts.chart import Chart, Table, drawn, interval, interval_tips, rounded, rows_of, specification
from web.charts.density import cell_rows, cells_layer

CRITERION_WORDS = {"congruence": "congruence", "token_gap": "token gap", "neuron_gap": "neuron gap", "score": "score"}
"""Names of the criteria."""

METRIC_WORDS = {
    "auroc": "area under ROC",
    "average_precision": "average precision",
    "lift": "lift of the top 0.1%",
    "best_f1": "best F1",
    "top_thousandth": "precision of the top 0.1%",
    "mutual_information": "mutual information (bits)",
    "monotonicity": "monotonicity",
}
"""Names of the metrics."""


@cache
def _density_spec(by: str, metric: str) -> dict[str, Any]:
    root: Any = "sqrt" if metric in ROOTED else "linear"
    what = METRIC_WORDS[metric]
    x = alt.X(
        "x:Q", title=CRITERION_WORDS[by], axis=alt.Axis(grid=False), scale=alt.Scale(nice=False, padding=8, zero=False)
    )
    y = alt.Y("y:Q", title=what, scale=alt.Scale(type=root, nice=False, zero=False))
    dots = (
        rows_of()
        .transform_filter("datum.kind != 'cell'")
        .mark_circle(size=36, opacity=0.9)
        .encode(
            x=x,
            y=y,
            href="url:N",
            color=sides_colour("kind:N", "denied", "cell", "kept"),
            tooltip=[
                alt.Tooltip("name:N", title="pair"),
                alt.Tooltip("x:Q", title=CRITERION_WORDS[by], format=".4~r"),
                alt.Tooltip("y:Q", title=what, format=".4~r"),
                alt.Tooltip("k:Q", title="positions", format=","),
            ],
        )
    )
    return specification(alt.layer(cells_layer(x, y, "pairs"), dots, width="container", height=320))


def pair_density_chart(
    choice: MetricChoice,
    cells: Sequence[DensityCell],
    denied: Sequence[ComparedPair],
    kept: Sequence[ComparedPair],
    model: str,
    url: Callable[[ComparedPair], str],
) -> Chart:
    """Pairs by criterion and metric, shaded; the pairs that contradict it most are points that lead to their pages."""
    rows = cell_rows(cells, least=0.0)
    rows += [
        {
            "kind": kind,
            "x": rounded(pair.criterion),
            "y": rounded(pair.metric),
            "k": pair.n_outcome,
            "name": f"{pair.neuron.name} {pair.token.shown}",
            "url": url(pair),
        }
        for kind, pairs in (("denied", denied), ("kept", kept))
        for pair in pairs
    ]
    by, metric = CRITERION_WORDS[choice.by], METRIC_WORDS[choice.metric]
    title = _capital(f"{metric} ({choice.outcome}) against {by}, {model}")
    caption = (
        f"Shading: density of {sum(cell.n for cell in cells):,} pairs, on a logarithmic scale. Points are "
        "the pairs of the two lists below, and lead to their neurons."
    )
    heads = (f"{by} from", "to", f"{metric} from", "to", "pairs")
    table = tuple((*map(show_number, (c.x_lower, c.x_upper, c.y_lower, c.y_upper)), c.n) for c in cells)
    return drawn("density", title, caption, _density_spec(choice.by, choice.metric), rows, Table(heads, table))


def _capital(title: str) -> str:
    return title[0].upper() + title[1:]


def _tips(first: alt.Tooltip) -> list[alt.Tooltip]:
    return [first, alt.Tooltip("value:Q", title="rank correlation", format=".3f"), *interval_tips(".3f")]


@cache
def _criteria_spec() -> dict[str, Any]:
    data, tips = rows_of(), _tips(alt.Tooltip("name:N", title="criterion"))
    y = alt.Y("name:N", sort=None, title=None, axis=alt.Axis(ticks=False, domain=False))
    x = alt.X("value:Q", title="rank correlation (Spearman)", scale=alt.Scale(zero=True, nice=True))
    rules = data.mark_rule(strokeWidth=2, style="quiet").encode(y=y, x=alt.X("low:Q"), x2="high:Q", tooltip=tips)
    points = data.mark_circle(size=60, style="accent").encode(y=y, x=x, tooltip=tips)
    return specification(alt.layer(rules, points, width="container", height=110))


def criteria_chart(found: Correlations, choice: MetricChoice, model: str) -> Chart:
    """Correlation of each criterion with the metric, with intervals."""
    rows = [
        {"name": CRITERION_WORDS[item.by], "value": rounded(item.value), **interval(item)}
        for item in found.criteria
        if item.value is not None
    ]
    title = f"Criteria and {METRIC_WORDS[choice.metric]} ({choice.outcome}), {model}"
    caption = f"Spearman’s rank correlation over the same {found.n_pairs:,} pairs; lines are 95% intervals."
    heads = ("criterion", "rank correlation", "low", "high", "behind the best", "low", "high")
    table = tuple((CRITERION_WORDS[item.by], *map(show_number, _cells(item))) for item in found.criteria)
    return drawn("criteria", title, caption, _criteria_spec(), rows, Table(heads, table))


def _cells(item: Correlation) -> tuple[float | None, ...]:
    return (item.value, item.low, item.high, item.behind, item.behind_low, item.behind_high)


def layer_correlations_chart(found: Correlations, choice: MetricChoice, model: str) -> Chart:
    """The chosen criterion's correlation in the pairs of each layer's neurons."""
    words = CRITERION_WORDS[choice.by], METRIC_WORDS[choice.metric]
    title = _capital(f"{words[0]} and {words[1]} ({choice.outcome}) by layer, {model}")
    caption = "Spearman’s rank correlation over the pairs of each layer’s neurons; lines are 95% intervals."
    counts = [item.n_pairs for item in found.layers]
    return by_layer_chart("layers", title, caption, "rank correlation", found.layers, counts, "pairs")
