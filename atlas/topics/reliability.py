"""How well attributions estimate exact ablation: the check that stands wherever an estimate does."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from atlas.core.call import OF_ATLAS, call
from atlas.core.db import Atlas
from atlas.core.display import show_number
from atlas.core.statements import Statement
from atlas.core.stats import number_or_none, spearman

HOLDS = 0.95
"""Correlation of estimates with exact ablations from which on they are said to hold."""


@dataclass(frozen=True)
class Reliability:
    """How well attributions estimate exact ablation in the whole model (table `attribution_check`), from layer
    `first_layer` on and below it. None in place of a number: too few checks; of the layer: there is no such layer."""

    n: int
    """Checks."""
    first_layer: int | None
    """The first layer from which on the correlation of all checks is at least 0.95."""
    n_above: int
    """Checks from there on (all of them, where there is no such layer)."""
    correlation_above: float | None
    """Pearson's correlation there."""
    rank_correlation_above: float | None
    """Spearman's."""
    worst_above: float | None
    """Greatest difference of an estimate from the exact value there, logits."""
    correlation_below: float | None
    """Pearson's correlation in the layers below."""
    worst_below: float | None
    """Greatest difference there, logits."""

    def holds(self, layer: int) -> bool:
        """Whether estimates hold in a layer."""
        return self.first_layer is not None and layer >= self.first_layer


CHECKS = Statement("""SELECT n.layer, c.estimate, c.exact, c.exact_full
FROM attribution_check AS c JOIN neuron AS n USING (neuron_id)
ORDER BY n.layer, abs(c.exact_full) DESC""")


@call(OF_ATLAS + "/attribution-check", name="attribution_check", python="demo.attribution_check()")
def attribution_check(atlas: Atlas) -> list[Reliability]:
    """How well attributions estimate exact ablation: one record, or none where attribution was off."""
    known = reliability(atlas)
    return [] if known is None else [known]


def reliability(atlas: Atlas) -> Reliability | None:
    """How well estimates hold; None: attribution was off."""
    return atlas.remembered("reliability of attribution", lambda: _reliability(CHECKS.arrays(atlas)))


def holds_in(atlas: Atlas, layer: int) -> bool:
    """Whether estimates hold in a layer of an atlas."""
    known = reliability(atlas)
    return known is not None and known.holds(layer)


def _reliability(checks: dict[str, np.ndarray]) -> Reliability | None:
    layer, estimate, exact = (np.asarray(checks[name], np.float64) for name in ("layer", "estimate", "exact_full"))
    if not len(layer):
        return None
    layers = np.unique(layer).astype(int).tolist()
    tried = ((first, _correlation(estimate[layer >= first], exact[layer >= first])) for first in layers)
    first = next((first for first, value in tried if value is not None and value >= HOLDS), None)
    if first == layers[0]:
        first = 0  # in no layer was a check worse
    above = layer >= (first or 0)
    difference = np.abs(estimate - exact)
    return Reliability(
        n=len(layer),
        first_layer=first,
        n_above=int(above.sum()),
        correlation_above=_correlation(estimate[above], exact[above]),
        rank_correlation_above=number_or_none(float(spearman([estimate[above]], exact[above])[0])),
        worst_above=float(difference[above].max()),
        correlation_below=_correlation(estimate[~above], exact[~above]),
        worst_below=float(difference[~above].max()) if (~above).any() else None,
    )


def _correlation(a: np.ndarray, b: np.ndarray) -> float | None:
    if len(a) < 2 or not a.std() or not b.std():
        return None
    return float(np.corrcoef(a, b)[0, 1])


def reliability_words(known: Reliability | None) -> str:
    """How well estimates hold, in a sentence or two that stand wherever an estimate does; None: none was checked."""
    if known is None:
        return "Attributions are first-order estimates, and none of these was checked by ablation; pages mark them (?)."
    if known.first_layer is None or known.correlation_above is None:
        value = "too few to tell" if known.correlation_above is None else f"r = {known.correlation_above:.2f}"
        return f"Attributions are first-order estimates; {known.n:,} exact ablations agree with them poorly ({value})."
    ranks = "" if known.rank_correlation_above is None else f", by rank {known.rank_correlation_above:.3f}"
    text = (
        f"Attributions are first-order estimates. {known.n_above:,} exact ablations of single neurons at single "
        f"positions agree with them (r = {known.correlation_above:.3f}{ranks}; the worst is off by "
        f"{show_number(known.worst_above, 2)} logits)"
    )
    if not known.first_layer:
        return f"{text}."
    below = "layer 0" if known.first_layer == 1 else f"layers 0 to {known.first_layer - 1}"
    value = (
        ""
        if known.correlation_below is None
        else f" (r = {known.correlation_below:.2f} over {known.n - known.n_above})"
    )
    return f"{text} from layer {known.first_layer} on; in {below} they do not{value}; pages mark those (?)."
