"""Comparison of each kind of figure with the measurements."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from jaxtyping import Float64

from ingest.reproduce.compare import Comparison, Finding, judge_comparisons, not_measured
from ingest.reproduce.curves import COUNTS
from ingest.reproduce.figures import Figure
from ingest.reproduce.measurements import MEASURES, Measured, NotComparableError


def judge(figure: Figure, measured: Measured) -> Finding:
    """Compare every value of a figure."""
    try:
        return judge_comparisons(figure, _KINDS[figure.kind](figure, measured))
    except NotComparableError as error:
        return not_measured(figure, str(error))


def _number(figure: Figure, measured: Measured) -> list[Comparison]:
    data = figure.data
    value = MEASURES[data["measure"]](measured, data)
    return [Comparison(figure.title, data["value"], value, figure.tolerance)]


def _lens(figure: Figure, measured: Measured) -> list[Comparison]:
    lens, data = measured.experiments.lens, figure.data
    return [
        Comparison(label, value, lens.get(label), figure.tolerance)
        for label, value in zip(data["labels"], data["values"], strict=True)
    ]


def _map(figure: Figure, measured: Measured) -> list[Comparison]:
    published = np.array(figure.data["values"], np.float64)
    values = measured.experiments.maps[figure.data["site"]]
    if published.shape != values.shape:
        shapes = (" x ".join(map(str, array.shape)) for array in (published, values))
        return [Comparison("layers x positions", *shapes, 0)]
    return [
        Comparison(
            f"layer {layer}, position {position}", float(value), float(values[layer, position]), figure.tolerance
        )
        for (layer, position), value in np.ndenumerate(published)
    ]


def _neurons(figure: Figure, measured: Measured) -> list[Comparison]:
    layer = figure.data["layer"]
    if layer not in measured.experiments.neurons:
        raise NotComparableError(f"Neurons of layer {layer} were not patched.")
    values = measured.experiments.neurons[layer]
    comparisons = []
    for end, sign in (("top", -1), ("bottom", 1)):
        listed = figure.data[end]
        comparisons += [
            Comparison(f"L{layer}N{index}", value, float(values[index]), figure.tolerance) for index, value in listed
        ]
        # Check that the list holds the most extreme of all.
        last = np.sort(sign * values)[len(listed) - 1] * sign
        comparisons.append(
            Comparison(f"{end} {len(listed)}, the last of all", listed[-1][1], float(last), figure.tolerance)
        )
    return comparisons


def _predictions(figure: Figure, measured: Measured) -> list[Comparison]:
    data, tolerance = figure.data, figure.tolerance
    neuron = "" if data["variant"] == "plain" else data["neuron"]
    logits = measured.experiments.logits[data["variant"], neuron, data["side"]]
    percent = 100 * _softmax(logits)
    comparisons = []
    for named, published_percent, published_logit in data["top"]:
        token = named if isinstance(named, int) else measured.token(named)
        comparisons += [
            Comparison(f"{named!r}, per cent", published_percent, float(percent[token]), tolerance["percent"]),
            Comparison(f"{named!r}, logit", published_logit, float(logits[token]), tolerance["logit"]),
        ]
    n = len(data["top"])
    last = float(np.sort(logits)[-n])
    return [*comparisons, Comparison(f"place {n} of all, logit", data["top"][-1][2], last, tolerance["logit"])]


def _softmax(logits: Float64[np.ndarray, " d_vocab"]) -> Float64[np.ndarray, " d_vocab"]:
    weights = np.exp(logits - logits.max())
    return weights / weights.sum()


def _congruence(figure: Figure, measured: Measured) -> list[Comparison]:
    data, tolerance = figure.data, figure.tolerance
    atlas = measured.weights()
    values, n = atlas.congruence(measured.neuron_id(data["neuron"])), len(data["top"])
    if len(values.top) < n:
        raise NotComparableError(f"The atlas keeps {len(values.top)} tokens a neuron (--top-tokens), of {n} published.")

    def named(token: int) -> str:
        return f"token {token} {atlas.token_texts.get(token, '?')!r}"

    comparisons = [Comparison(named(token), value, values.top.get(token), tolerance) for token, value in data["top"]]
    return [
        *comparisons,
        Comparison(f"place {n} of all", data["top"][-1][1], list(values.top.values())[n - 1], tolerance),
        Comparison("mean", data["mean"], values.mean, tolerance),
        Comparison("standard deviation", data["std"], values.std, tolerance),
        Comparison("token of the minimum", named(data["min"][0]), named(values.min[0]), 0),
        Comparison("minimum", data["min"][1], values.min[1], tolerance),
    ]


def _pairs(figure: Figure, measured: Measured) -> list[Comparison]:
    pairs, tolerance = measured.weights().pairs, figure.tolerance
    comparisons = []
    for row in figure.data["rows"]:
        name, pair = f"{row['neuron']} {row['token']!r}", pairs.get((row["neuron"], row["token_id"]))
        if pair is None:
            comparisons.append(Comparison(name, "a mutually exclusive pair", None, 0))
            continue
        for column in ("rank", "score", "congruence", "token_gap", "neuron_gap"):
            allowed = tolerance["gap" if column.endswith("_gap") else column]
            comparisons.append(Comparison(f"{name} {column}", row[column], getattr(pair, column), allowed))
        comparisons.append(Comparison(f"{name} second neuron", row["second_neuron"], pair.second_neuron, 0))
    return comparisons


def _hubs(figure: Figure, measured: Measured) -> list[Comparison]:
    hubs, allowed = measured.weights().hubs, figure.tolerance
    return [
        Comparison(neuron, count, hubs.get(neuron, 0), max(allowed["least"], allowed["relative"] * count))
        for neuron, count in figure.data["rows"]
    ]


def _curve(figure: Figure, measured: Measured) -> list[Comparison]:
    """Proportions bin by bin. A published fraction is in lowest terms, so its bin's positions are some multiple of the
    denominator: the tolerance is computed from the measured positions."""
    data, allowed = figure.data, figure.tolerance
    bins = measured.curve_pass().curves[measured.pair(data["neuron"], data["token"], data["width"])].bins
    published = dict(zip(data["bins"], data["fractions"], strict=True))
    comparisons = []
    for bin_ in sorted({*published, *bins}):
        what = f"activation {bin_ * data['width']:.6g}"
        n, n_predicted = (int(bins[bin_][COUNTS.index(count)]) if bin_ in bins else 0 for count in COUNTS[:2])
        if bin_ not in published or n == 0:
            # A bin of one or two positions may lose them to its neighbour; a proportion of 0 does not give their
            # number.
            least = published[bin_][1] or 1 if bin_ in published else 0
            comparisons.append(Comparison(f"{what}, positions", least, n, allowed["positions"]))
            continue
        numerator, denominator = published[bin_]
        proportion = numerator / (denominator or 1)
        slack = allowed["positions"] + allowed["relative"] * max(n_predicted, proportion * n)
        comparisons.append(Comparison(what, proportion, n_predicted / n, slack / n))
    return comparisons


_KINDS: Mapping[str, Callable[[Figure, Measured], Sequence[Comparison]]] = {
    "number": _number,
    "lens": _lens,
    "map": _map,
    "neurons": _neurons,
    "predictions": _predictions,
    "congruence": _congruence,
    "pairs": _pairs,
    "hubs": _hubs,
    "curve": _curve,
}
