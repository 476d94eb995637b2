"""The logit lens of a study: the answer's lead through the model, with the greatest jump marked."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any, cast

import altair as alt

from atlas.core.display import show_number
from atlas.topics.study.lens import lens_depth
from atlas.topics.study.records import LensJump, Study, StudyStep
from web.charts.axes import layer_axis, series_colour
from web.charts.chart import Chart, Series, Table, filled, interval, interval_tips, rounded, rows_of, specification
from web.charts.suite import interval_cells, interval_heads, means

HEIGHT = 260

VARIANTS = {"final_norm": "final norm’s scale everywhere", "own_norm": "final norm applied at each site"}
"""Names of the two variants of the lens."""

PARTS = {"attention": "attention of layer {}", "mlp": "MLP of layer {}", "block": "block {}"}
"""Parts that write between two sites."""


def site_name(step: StudyStep) -> str:
    """Site of a step of the lens, in words."""
    return {"pre": f"before layer {step.layer}", "mid": f"after attention of layer {step.layer}", "post": "at the end"}[
        step.site
    ]


def part_name(jump: LensJump) -> str:
    """The part that makes a jump, in words."""
    return PARTS[jump.part].format(jump.layer)


@cache
def _spec(with_intervals: bool, named: tuple[str, ...]) -> dict[str, Any]:
    sites, jumps = rows_of("site"), rows_of("jump")
    x = layer_axis("depth:Q")
    y = alt.Y("value:Q", title="logit(answer) − logit(other)", axis=alt.Axis(tickCount=6))
    colour = series_colour(list(VARIANTS.values()))
    tips = [
        alt.Tooltip("site:N", title="read"),
        alt.Tooltip("label:N", title="with"),
        alt.Tooltip("value:Q", title="difference", format=".4~r"),
    ]
    if with_intervals:
        tips += interval_tips(".4~r")
    zero = rows_of().transform_sample(1).mark_rule(style="quiet", strokeDash=[2, 3])
    layers = [zero.encode(y=alt.datum(0))]
    if with_intervals:
        layers.append(
            sites.mark_area(opacity=0.2).encode(
                x=x, y=alt.Y("low:Q", title="logit(answer) − logit(other)"), y2="high:Q", color=colour
            )
        )
    layers += [
        sites.mark_line(point=alt.OverlayMarkDef(size=22)).encode(x=x, y=y, color=colour, tooltip=tips),
        *(
            [jumps.mark_rule(strokeWidth=5, opacity=0.45).encode(x=x, x2="depth2:Q", y=y, y2="value2:Q", color=colour)]
            if named
            else []
        ),
        *(
            jumps.transform_filter(f"datum.ends == '{ends}'")
            .mark_text(align=cast(Any, ends), dx=8 if ends == "left" else -8, limit=190)
            .encode(x=alt.X("depth2:Q"), y=alt.Y("label_at:Q"), text="name:N", color=colour)
            for ends in named
        ),
    ]
    return specification(alt.layer(*layers, width="container", height=HEIGHT))


def _jump_rows(jumps: Sequence[LensJump], n_layers: int, ceiling: float, height: float) -> list[dict[str, Any]]:
    rows = []
    for jump in jumps:
        start = jump.layer + (0.5 if jump.part == "mlp" else 0.0)
        end = jump.layer + (0.5 if jump.part == "attention" else 1.0)
        # Both variants may jump at the same place: their names are stacked above the lines.
        label_at = ceiling - (0 if jump.variant == "final_norm" else 0.08 * height)
        rows.append(
            {
                "kind": "jump",
                "label": VARIANTS[jump.variant],
                "depth": start,
                "depth2": end,
                "value": rounded(jump.before),
                "value2": rounded(jump.after),
                "label_at": rounded(label_at),
                "name": f"{part_name(jump)}: +{show_number(jump.after - jump.before, 3)}",
                "ends": "left" if end < 0.6 * n_layers else "right",
            }
        )
    for row in rows:
        if row["ends"] == "right":
            row["depth2"], row["depth"] = row["depth"], row["depth2"]
            row["value"], row["value2"] = row["value2"], row["value"]
    return rows


def lens_chart(study: Study, steps: Sequence[StudyStep], jumps: Sequence[LensJump], model: str, n_layers: int) -> Chart:
    """The difference of the two logits at every site, in both variants; a thick line is the greatest single rise."""
    steps = sorted(steps, key=lambda step: (step.variant, lens_depth(step)))
    rows: list[dict[str, Any]] = [
        {
            "kind": "site",
            "label": VARIANTS[step.variant],
            "depth": lens_depth(step),
            "value": rounded(step.value),
            "site": site_name(step),
            **interval(step),
        }
        for step in steps
    ]
    values = [step.value for step in steps]
    marked = _jump_rows(jumps, n_layers, max(values), max(values) - min(values))
    rows += marked
    caption = (
        "The answer's lead over the other token, read from the residual stream at the last position of the clean "
        "prompt, before each layer, after its attention and at the end. Thick: the greatest rise in one step."
    )
    caption += means(study, "bands")
    heads = ("variant", "read", "logit difference", *interval_heads(study))
    table = tuple((VARIANTS[s.variant], site_name(s), show_number(s.value), *interval_cells(study, s)) for s in steps)
    title = f"Logit lens: {study.answer_token.shown} against {study.other_token.shown}, {model}"
    spec = filled(_spec(study.is_suite, _sides(marked)), rows, title)
    return Chart("lens", title, caption, spec, Table(heads, table), tuple(map(Series, VARIANTS.values())))


def _sides(rows: Sequence[dict[str, Any]]) -> tuple[str, ...]:
    """The sides with names: Vega warns in the browser about a layer without rows."""
    return tuple(sorted({row["ends"] for row in rows}))
