"""Activation patching as a heat map: layers by positions, the prompts' tokens along the axis."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

import altair as alt

from atlas.core.display import show_number, show_share
from atlas.topics.study.records import Study, StudyStep
from web.charts.chart import Chart, Table, drawn, interval, interval_tips, rounded, rows_of, specification
from web.charts.suite import means

KINDS = {
    "patch_resid_pre": ("resid", "Residual stream", "the residual stream before the layer"),
    "patch_attn_out": ("attention", "Attention output", "the layer’s attention output"),
    "patch_mlp_out": ("mlp", "MLP output", "the layer’s MLP output"),
}
"""The chart's name, its title and the patched activation, by kind of step."""

_ROW = 12
"""Height of a layer, pixels: a model of 36 layers fits a screen."""

_LABEL = 120
"""Room for a token below the map, pixels."""


@cache
def _spec(n_layers: int, with_intervals: bool) -> dict[str, Any]:
    tips = [
        alt.Tooltip("layer:O"),
        alt.Tooltip("label:N", title="position"),
        alt.Tooltip("clean:N"),
        alt.Tooltip("corrupt:N"),
        alt.Tooltip("value:Q", title="recovery", format=".1%"),
    ]
    if with_intervals:
        tips += interval_tips(".1%")
    step = max(1, -(-n_layers // 12))
    cells = (
        rows_of()
        .properties(width="container", height=max(120, _ROW * n_layers))
        .mark_rect()
        .encode(
            x=alt.X(
                "label:N",
                sort=None,
                title=None,
                scale=alt.Scale(paddingInner=0.04),
                axis=alt.Axis(
                    labelAngle=-90, labelLimit=_LABEL, labelOverlap=False, ticks=False, domain=False, labelFontSize=10.5
                ),
            ),
            y=alt.Y(
                "layer:O",
                sort="descending",
                title="layer",
                scale=alt.Scale(paddingInner=0.04),
                axis=alt.Axis(values=list(range(0, n_layers, step)), ticks=False, domain=False, labelFontSize=10),
            ),
            color=alt.Color(
                "value:Q",
                title="recovery",
                scale=alt.Scale(
                    domain=[alt.ExprRef("-reach"), 0, alt.ExprRef("reach")],
                    range="heatmap",
                    interpolate="rgb",
                    clamp=True,
                ),
                legend=alt.Legend(
                    direction="horizontal",
                    gradientLength=150,
                    gradientThickness=9,
                    format="~%",
                    titleOrient="left",
                    tickCount=3,
                ),
            ),
            tooltip=tips,
        )
    )
    return specification(cells.add_params(alt.param(name="reach", value=1)))


def reach_of(maps: Sequence[Sequence[StudyStep]]) -> float:
    """The end of the colour scale for all maps of a study, 1 or more: full recovery is always on the scale.

    A few extreme cells would make all others pale, so one cell in a hundred may lie outside and has the last colour.
    """
    values = sorted(abs(step.value) for steps in maps for step in steps)
    return max(1.0, values[int(0.99 * (len(values) - 1))]) if values else 1.0


def heat_chart(
    study: Study,
    kind: str,
    steps: Sequence[StudyStep],
    labels: dict[int, tuple[str, str, str]],
    reach: float,
    model: str,
    n_layers: int,
) -> Chart:
    """One heat map. `labels` are by position: the axis label, the clean and the corrupt token."""
    name, head, what = KINDS[kind]
    ordered = sorted(steps, key=lambda step: (step.position, step.layer))
    rows = [
        {
            "layer": step.layer,
            "value": rounded(step.value),
            **dict(zip(("label", "clean", "corrupt"), labels[step.position], strict=True)),
            **interval(step),
        }
        for step in ordered
    ]
    caption = (
        f"The corrupt run with {what} at one position taken from the clean run: how much of the clean logit difference "
        "comes back (0: none, 1: all)."
    )
    caption += means(study)
    outside = sum(abs(step.value) > 1.005 * reach for step in ordered)  # ignores rounding errors
    if outside:
        caption += f" {outside:,} {'values' if outside > 1 else 'value'} beyond ±{show_share(reach)} "
        caption += "are clipped." if outside > 1 else "is clipped."
    positions = sorted(labels)
    by_cell = {(step.layer, step.position): step.value for step in ordered}
    layers = sorted({step.layer for step in ordered}, reverse=True)
    table = Table(
        ("layer", *(labels[position][0] for position in positions)),
        tuple((layer, *(show_number(by_cell.get((layer, position)), 3) for position in positions)) for layer in layers),
    )
    title = f"{head} patched, {model}"
    return drawn(name, title, caption, _spec(n_layers, study.is_suite), rows, table, reach=rounded(reach))
