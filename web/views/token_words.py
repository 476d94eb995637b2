"""The verdict on a token, in sentences."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from atlas.core.display import show_edge, show_number, show_share
from atlas.core.units import NeuronRef
from atlas.topics.family import FamilyPair
from atlas.topics.pair import ExclusivePair
from atlas.topics.token import TokenRow
from atlas.topics.writer import TokenPrediction


@dataclass(frozen=True)
class TokenVerdict:
    """Which neuron writes a token, and whether its firing predicts the token."""

    headline: str
    """The neuron that predicts it best, or else the one that writes it most: `L25N1527 predicts it`."""
    writes: str
    """A sentence that goes on from the name of the token's best neuron."""
    firing: str
    """A sentence on that neuron's firing."""
    other: NeuronRef | None
    """The neuron whose firing predicts the token best, if that is another one."""
    other_firing: str
    """A sentence that goes on from its name."""


def token_verdict(
    row: TokenRow,
    predictions: Sequence[TokenPrediction],
    pairs: Sequence[ExclusivePair],
    families: Sequence[FamilyPair],
) -> TokenVerdict:
    """The verdict on a token; `predictions` are its neurons', the best first, `families` those of `pairs`."""
    best = next((item for item in predictions[:1] if item.predicts), None)
    other = best if best and best.neuron != row.best_neuron else None
    return TokenVerdict(
        f"{best.neuron.name} predicts it" if best else f"{row.best_neuron.name} writes it most",
        _writes(row, pairs, families),
        _firing(row, predictions),
        other.neuron if other else None,
        f"predicts it best: {_hits(other)}." if other else "",
    )


def _writes(row: TokenRow, pairs: Sequence[ExclusivePair], families: Sequence[FamilyPair]) -> str:
    clauses = []
    if row.neuron_gap is not None:
        clauses.append(f"{show_number(row.neuron_gap, 3)} of congruence ahead of the next neuron")
    for pair, family in zip(pairs, families, strict=True):
        if pair.direction == "top" and family.family_gap is not None:
            rest = "every other token" if family.family_gap == pair.token_gap else "all tokens but its other spellings"
            clauses.append(f"favours it by {show_number(family.family_gap, 3)} over {rest}")
    return f"writes it most{', ' if clauses else ''}{', and '.join(clauses)}."


def _firing(row: TokenRow, predictions: Sequence[TokenPrediction]) -> str:
    best = next((item for item in predictions if item.neuron == row.best_neuron), None)
    if row.n_predicted == 0:
        return "The model never predicts the token in these texts, so they cannot tell whether its firing predicts it."
    if best is None or best.auroc is None:
        times = "once" if row.n_predicted == 1 else f"at {show_number(row.n_predicted)} positions"
        return f"The model predicts the token only {times} in these texts, too rarely to judge its firing."
    if best.predicts:
        return f"Its firing predicts the token: {_hits(best)} (area under ROC {best.auroc:.2f})."
    return (
        f"No threshold of its activation picks out the {show_number(row.n_predicted)} positions where the model "
        f"predicts the token (area under ROC {best.auroc:.2f})."
    )


def _hits(item: TokenPrediction) -> str:
    beyond = f"{'at least' if item.side == 'positive' else 'below'} {show_edge(item.threshold)}"
    return (
        f"where the activation is {beyond}, it is the model’s top prediction at {show_number(item.n_hits)} of "
        f"{show_number(item.n_beyond)} positions ({show_share(item.precision, 2)}), "
        f"{show_share(item.recall, 2)} of the {show_number(item.n_predicted)} that predict it"
    )
