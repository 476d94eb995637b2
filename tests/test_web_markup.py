"""The HTML of texts and of tables behind charts, word for word; where charts draw what they draw."""

from __future__ import annotations

import json
import math
import re
from types import SimpleNamespace

import pytest

from atlas.core.stats import wilson
from atlas.core.units import NeuronRef, Token
from atlas.topics.curve import Candidate, Curve, CurvePoint
from atlas.topics.example import Example
from atlas.topics.neuron import CongruentToken
from atlas.topics.spread import SpreadBar, TokenSpread
from atlas.topics.study.records import EffectCell, StudyNeuron, StudyNeurons, StudyStep
from web.charts.axes import LINEAR, labelled_powers, linear_part
from web.charts.chart import Series, Table, drawn_centre, drawn_edges, rounded
from web.charts.curve import base_rate, curves_chart
from web.charts.drawing import curves_drawing
from web.charts.heat import reach_of
from web.charts.recovery import direct_chart, recovery_chart
from web.charts.result import result_chart
from web.charts.spread import token_spread_chart
from web.site import markup
from web.workers.live.placed import PlacedToken


def token(token_id, text):
    return Token(token_id, text, text.encode(), False)


def example(texts, activations, *, position, window_start=1, text_length=None, activation=None):
    tokens = tuple(token(number, text) for number, text in enumerate(texts))
    exact = activations[position - window_start] if activation is None else activation
    length = window_start + len(texts) if text_length is None else text_length
    return Example(
        "max", None, 1, 9, position, exact, tokens[0], None, window_start, length, tokens, tuple(activations)
    )


@pytest.mark.parametrize(
    ("ratio", "level"),
    # A level is an eighth of log 16: level k ends at (16^(k/8) - 1) / 15, so 2, 4, 6 at 1/15, 1/5, 7/15.
    [
        (0, 0),
        (0.0199, 0),
        (0.02, 1),
        (0.027, 1),
        (0.028, 2),
        (0.066, 2),
        (0.067, 3),
        (0.1, 3),
        (0.121, 3),
        (0.122, 4),
        (0.199, 4),
        (0.201, 5),
        (0.31, 5),
        (0.311, 6),
        (0.466, 6),
        (0.467, 7),
        (0.687, 7),
        (0.688, 8),
        (1, 8),
        (3, 8),
    ],
)
def test_levels_of_colour(ratio, level):
    assert markup.level(ratio * 7, 7.0) == markup.level(-ratio * 7, 7.0) == level
    assert markup.level(ratio, 0.0) == 0


def test_a_whole_text_marks_the_firing_token_and_the_next():
    here = example(["a", " <b>", " c", "\n", "e"], [0.0, 8.0, -1.0, 0.1, 4.0], position=2)
    shown = markup.whole(here, (token(0, "<bos>"), *here.tokens), 8.0)
    # -1 of 8: 8 log(1 + 15/8) / log 16 is 3.05, so 4; 0.1 of 8 is below 0.02; 4 of 8 is 6.2, so 7.
    assert shown == (
        '<p class="text"><i title="0">a</i><i class="p8 peak" title="8.000"> &lt;b&gt;</i>'
        '<i class="n4 next" title="−1.000"> c</i><i title="0.1000">↵</i><i class="p7" title="4.000">e</i></p>'
    )


def test_an_unmarked_next_token_is_still_the_next_and_the_peak_is_exact():
    here = example(["a", "b", "c"], [0.0, 8.0, 0.0], position=2, activation=7.98765)
    shown = markup.whole(here, (token(0, "<bos>"), *here.tokens), 8.0)
    assert shown == (
        '<p class="text"><i title="0">a</i><i class="p8 peak" title="7.988">b</i><i class="next" title="0">c</i></p>'
    )


CUT = '<span class="cut">…</span>'


@pytest.mark.parametrize(
    ("start", "length", "before", "after"),
    [
        (0, 4, False, False),
        (1, 5, False, False),
        (2, 6, True, False),
        (1, 6, False, True),
        (3, 9, True, True),
    ],
)
def test_a_snippet_says_where_it_is_cut(start, length, before, after):
    """BOS, at 0, is not missed."""
    here = example(list("abcd"), [0.0, 1.0, 0.0, 0.0], position=start + 1, window_start=start, text_length=length)
    shown = markup.snippet(here, 1.0)
    assert shown.count(CUT) == before + after
    assert shown.index(CUT) < shown.index("peak") if before else True
    assert shown.rindex(CUT) > shown.index("peak") if after else True


def test_a_snippet_has_twelve_tokens_before_and_six_after():
    texts = [chr(ord("a") + place) for place in range(26)]
    here = example(texts, [0.0] * 26, position=15, text_length=27, activation=1.0)
    shown = markup.snippet(here, 1.0)
    left, right = shown.split('</span></span><span class="right">')
    letters = [[text for text in texts if f">{text}</i>" in side] for side in (left, right)]
    assert letters == [list("cdefghijklmn"), list("opqrstu")]
    assert left.count(CUT) == right.count(CUT) == 1
    assert '<i class="p8 peak" title="1.000">o</i><i class="next" title="0">p</i>' in right


def test_a_whole_text_has_what_no_activation_is_known_of_without_any():
    text = [token(number, text) for number, text in enumerate(["<bos>", "w", "<x>", "y", "z", "&"])]
    here = example(["<x>", "y"], [0.0, 1.0], position=3, window_start=2, text_length=6)
    assert markup.whole(here, text, 1.0) == (
        '<p class="text">w<i title="0">&lt;x&gt;</i><i class="p8 peak" title="1.000">y</i>z&amp;</p>'
    )
    first = example(["<bos>", "w"], [1.0, 0.0], position=0, window_start=0, text_length=6)
    assert markup.whole(first, text, 1.0).startswith('<p class="text"><i class="p8 peak" title="1.000">&lt;bos&gt;</i>')


def test_a_live_text_links_each_token_to_its_row():
    placed = [
        PlacedToken(place, token(place, text), activation, below, below, None)
        for place, (text, activation, below) in enumerate(
            [("<bos>", -3.0, None), (" <b>", 8.0, 0.5), ("c", -4.0, 0.5), ("\n", 0.0, 0.0)]
        )
    ]
    # BOS does not count, whatever it is; -4 of 8 is 6.2 eighths of log 16, so 7.
    assert markup.live_text(placed, 8.0) == (
        '<p class="text live"><a class="cut" href="#t0" data-value="−3.00" title="−3.000">&lt;bos&gt;</a>'
        '<a class="p8" href="#t1" data-value="8.00" title="8.000"> &lt;b&gt;</a>'
        '<a class="n7" href="#t2" data-value="−4.00" title="−4.000">c</a>'
        '<a href="#t3" data-value="0" title="0">↵</a></p>'
    )


HOSTILE = "<img src=x onerror=alert(1)>\"'&amp;"
ESCAPED = "&lt;img src=x onerror=alert(1)&gt;&#34;&#39;&amp;amp;"


def test_cells_of_a_chart_table_are_text():
    table = Table(("a", "b"), ((HOSTILE, 1234.567), (None, 0), (-0.25, 12)))
    assert markup.table_rows(table) == (
        f"<tr><td>{ESCAPED}</td><td>1,235</td></tr>\n<tr><td>–</td><td>0</td></tr>\n"
        "<tr><td>−0.2500</td><td>12</td></tr>"
    )


def test_a_drawn_answer_keeps_text_text():
    rows = [(HOSTILE, 1.5, "cut"), ([1, "<b>"], 2, None), (None, None, True)]
    chart = result_chart("bar", ["<x>", "y", "unused"], rows, "<x>", "y", "T")
    assert chart.table == Table(("<x>", "y"), ((HOSTILE, 1.5), ("[1, '<b>']", 2), (None, None)))
    shown = markup.table_rows(chart.table)
    assert f"<td>{ESCAPED}</td><td>1.500</td>" in shown
    assert "<td>[1, &#39;&lt;b&gt;&#39;]</td><td>2</td>" in shown
    assert (chart.title, chart.caption) == ("T: y by <x>", "3 rows.")
    x, y = (chart.spec["encoding"][channel] for channel in "xy")
    assert (x["type"], x["title"], y["type"], y["title"]) == ("nominal", "<x>", "quantitative", "y")
    assert chart.spec["datasets"]["rows"][0] == {"x": HOSTILE, "y": 1.5}


def test_where_bins_are_drawn():
    """An open end is drawn an octave wide, a point at its bin's geometric middle."""
    edges = [(1.0, 4.0), (-4.0, -1.0), (-0.5, 0.5), (4.0, None), (None, -4.0)]
    assert [drawn_edges(*pair) for pair in edges] == [(1, 4), (-4, -1), (-0.5, 0.5), (4, 8), (-8, -4)]
    assert [drawn_centre(*pair) for pair in edges] == pytest.approx([2, -2, 0, 32**0.5, -(32**0.5)])
    assert [rounded(value) for value in (0.123456789, -12345.678, 0.0)] == [0.12346, -12346.0, 0.0]


def curve_of(*counts):
    """A curve whose points have these (positions, predicted, actual)."""
    points = tuple(
        CurvePoint(bin, float(bin), bin + 1.0, n, k, a, k / n, a / n) for bin, (n, k, a) in enumerate(counts)
    )
    return Curve(Candidate(NeuronRef(0, 0, 0, "L0N0"), token(1, " an"), 1.0, (), 0, 0), points)


def test_curves_are_drawn_whole():
    """From 0 to 100%, with every interval inside; the base rate and the bins are the counts themselves."""
    curves = [curve_of((100, 50, 10), (3, 3, 0), (10, 0, 10)), curve_of((100, 1, 0), (3, 0, 0), (10, 0, 0))]
    names = iter(("␣an", "␣a"))
    chart = curves_chart("predicted", curves, title="T", label=lambda _: next(names), alone=lambda _: "/alone")
    text = json.dumps(chart.spec)
    assert text.count('"domain": [0, 1]') == 3  # intervals, lines, base rate
    assert "0.25, 0.5, 1.0, 2.0, 4.0, 8.0" in text  # ticks of the activation axis
    params = {one["name"]: one["value"] for one in chart.spec["params"]}
    assert params == {
        "labels": ["␣an", "␣a"],
        "shown": ["␣an"],
        "more": False,
        "least": 0.0,
        "most": 3.0,
        "linear": 0.125,
    }
    assert chart.series == (Series("␣an", True, "/alone"), Series("␣a", False, "/alone"))
    rows = chart.spec["datasets"]["rows"]
    assert [(row["n"], row["predicted"], row["actual"]) for row in rows[:3]] == [(100, 50, 10), (3, 3, 0), (10, 0, 10)]
    assert [row["n"] for row in rows if row.get("counted")] == [100, 3, 10]
    assert base_rate(curves[0], "actual") == (20, 113)
    ends = dict(re.findall(r'"calculate": "([^"]*)", "as": "(low|high)"', text))
    for k, n in ((50, 100), (3, 3), (0, 10), (1, 100_000)):
        place = {"datum": SimpleNamespace(k=k, n=n), "sqrt": math.sqrt}
        low, high = sorted(eval(expression, place) for expression in ends)
        assert (low, high) == pytest.approx(wilson(k, n), abs=1e-12)
    assert "(46.9%)" in chart.caption
    heads = ("activation", "positions", "predicted: ␣an", "actual: ␣an", "predicted: ␣a", "actual: ␣a")
    assert (chart.table.heads, chart.table.rows[1][1:]) == (heads, (3, 3, 0, 0, 0))


def test_powers_of_two_are_labelled_as_there_is_room():
    assert labelled_powers(50, LINEAR)[:6] == (0.125, 0.25, 0.5, 1, 2, 4)
    assert labelled_powers(30, LINEAR)[:5] == (0.25, 1, 2, 4, 8)
    assert labelled_powers(20, LINEAR)[:4] == (0.25, 1, 4, 16)
    assert labelled_powers(10, LINEAR)[:4] == (0.125, 1, 8, 64)
    assert labelled_powers(10, linear_part([-1.0, 2.0]))[:3] == (1, 8, 64)
    assert linear_part([-1.0, 1.0]) == LINEAR


def test_colours_of_a_heat_map_reach_as_far_as_all_but_one_cell_in_a_hundred():
    def cells(*values):
        return [
            StudyStep("patch_mlp_out", None, None, 0, place, None, value, None, None, 1)
            for place, value in enumerate(values)
        ]

    assert reach_of([cells(*[0.5] * 60), cells(*[-0.5] * 39, 9.0)]) == 1.0
    assert reach_of([cells(*[0.5] * 98, -9.0, 8.0)]) == 8.0
    assert reach_of([cells(-3.0)]) == 3.0
    assert reach_of([[], []]) == 1.0


def test_fractions_of_a_small_drawing_are_labelled_in_percent():
    """Of 135 units of height above a foot at 143; the label hangs 3.5 below its line."""
    drawn = curves_drawing([curve_of((100, 50, 0))])
    labels = re.findall(r'H314"/><text x="36" y="([\d.]+)" text-anchor="end">([^<]*)</text>', drawn)
    assert labels == [("146.5", "0%"), ("112.8", "25%"), ("79.0", "50%"), ("45.2", "75%"), ("11.5", "100%")]


def test_ends_of_a_distribution_have_names_on_lines():
    """The five best and three worst tokens, the most extreme highest; ticks for all."""
    ends = [
        tuple(CongruentToken(end, rank, token(rank, f"{end}{rank}"), sign * (20.0 - rank)) for rank in range(1, 8))
        for end, sign in (("top", 1), ("bottom", -1))
    ]
    bars = (SpreadBar(-19.0, 0.0, 7), SpreadBar(0.0, 19.0, 7))
    spread = TokenSpread(bars, *ends, n=14, mean=0.0, std=1.0)
    chart = token_spread_chart(spread, "T", lambda token: f"/{token.token_id}")
    rows = chart.spec["datasets"]["rows"]
    assert [(row["kind"], row["name"], row.get("place")) for row in rows[2:]] == [
        (end, f"{end}{rank}", rank - 1 if rank <= most else None)
        for end, most in (("top", 5), ("bottom", 3))
        for rank in range(1, 8)
    ]
    assert "angle" not in json.dumps(chart.spec)
    texts = [layer["mark"]["align"] for layer in chart.spec["layer"] if layer["mark"]["type"] == "text"]
    assert texts == ["right", "left"]  # towards the middle: nothing is cut at the frame


def test_the_identity_line_runs_from_corner_to_corner():
    neurons = StudyNeurons(9, (), (), (), (EffectCell(-0.1, 0.7, 0.0, 0.5, 9),), 0, None)
    chart = direct_chart(SimpleNamespace(is_suite=False), neurons, "M", lambda neuron: "")
    params = [one["value"] for one in chart.spec["params"]]
    assert params == pytest.approx([-0.124, 0.724])
    assert [(row["x"], row["y"]) for row in chart.spec["datasets"]["rows"] if row["kind"] == "line"] == [
        (end, end) for end in params
    ]
    domains = [layer["encoding"][axis]["scale"]["domain"] for layer in chart.spec["layer"][:2] for axis in ("x", "y")]
    assert domains == [[{"expr": "least"}, {"expr": "most"}]] * 4


def test_bars_of_recovery_say_more_or_less():
    stands = tuple(
        StudyNeuron(
            NeuronRef(place, 0, place, f"L0N{place}"), place + 1, value, None, None, None, None, None, place == 0
        )
        for place, value in enumerate((0.5, -0.25))
    )
    study = SimpleNamespace(is_suite=False, n_prompts=1)
    chart = recovery_chart(study, StudyNeurons(9, stands, (), (), (), 0, None), "M", lambda neuron: f"/a/{neuron.name}")
    assert chart.spec["datasets"]["rows"] == [
        {"name": "L0N0", "value": 0.5, "rank": 1, "found": True, "sign": "more", "url": "/a/L0N0"},
        {"name": "L0N1", "value": -0.25, "rank": 2, "found": False, "sign": "less", "url": "/a/L0N1"},
    ]
    assert chart.table == Table(
        ("neuron", "recovery", "attribution"), (("L0N0", "0.5000", "–"), ("L0N1", "−0.2500", "–"))
    )
    assert chart.caption.startswith("The 2 of 9 patched neurons")
