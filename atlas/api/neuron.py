"""Calls about one neuron."""

from __future__ import annotations

from typing import Annotated

from atlas.core.call import call
from atlas.core.db import Atlas
from atlas.core.errors import PairError
from atlas.core.parameter import Choice, End, Few, Kind, NeuronId, TokenId
from atlas.core.units import neuron_ref
from atlas.topics.curve import Candidate, Curve, HistogramBar, Threshold, neuron_curves, thresholds
from atlas.topics.curve import histogram as read_histogram
from atlas.topics.curve import neuron_candidates as read_neuron_candidates
from atlas.topics.example import Example, neuron_examples
from atlas.topics.neuron import CongruentToken, InputToken, Neuron, find_neuron
from atlas.topics.neuron import input_tokens as read_input_tokens
from atlas.topics.neuron import neuron_pairs as read_neuron_pairs
from atlas.topics.neuron import neuron_tokens as read_neuron_tokens
from atlas.topics.pair import ExclusivePair
from atlas.topics.percentile import Neighbours, Percentile
from atlas.topics.percentile import neighbours as read_neighbours
from atlas.topics.percentile import percentiles as read_percentiles
from atlas.topics.spread import SIDES, SimilarNeuron, TokenSpread, similar_neurons, token_spread

_NEURON = "atlases/{atlas}/neurons/{neuron}"
_CURVE = _NEURON + "/curves/{token}"

Side = Annotated[str, Choice("Weights they are compared by; 'gate' of gated MLPs only.", SIDES)]
Beyond = Annotated[str, Choice("Only thresholds of this side of zero.", ("above", "below"))]


@call(_NEURON, python='demo.neuron("{neuron}").record')
def neuron(atlas: Atlas, neuron: NeuronId) -> Neuron:
    """One neuron: its row of the table `neuron`."""
    return find_neuron(atlas, neuron)


@call(_NEURON + "/tokens", python='demo.neuron("{neuron}").best_tokens')
def neuron_tokens(atlas: Atlas, neuron: NeuronId, direction: End | None = None) -> tuple[CongruentToken, ...]:
    """The tokens most and least congruent with a neuron, those first."""
    return _of(read_neuron_tokens(atlas, neuron), direction)


@call(_NEURON + "/input-tokens", python='demo.neuron("{neuron}").input_tokens()')
def input_tokens(atlas: Atlas, neuron: NeuronId, direction: End | None = None) -> tuple[InputToken, ...]:
    """The tokens whose embedding a neuron's input weights, and its gate, read most and least."""
    return _of(read_input_tokens(atlas, neuron), direction)


@call(_NEURON + "/pairs", python='demo.neuron("{neuron}").pairs()')
def neuron_pairs(atlas: Atlas, neuron: NeuronId) -> tuple[ExclusivePair, ...]:
    """The exclusive pairs that a neuron is in: at most one of each direction."""
    return tuple(read_neuron_pairs(atlas, neuron))


@call(_NEURON + "/percentiles", python='demo.neuron("{neuron}").percentiles')
def percentiles(atlas: Atlas, neuron: NeuronId) -> dict[str, Percentile]:
    """By column of the table `neuron`: the fractions of the layer's and of the model's neurons that have less."""
    return read_percentiles(atlas, find_neuron(atlas, neuron))


@call(_NEURON + "/neighbours", python='demo.neuron("{neuron}").neighbours()')
def neighbours(atlas: Atlas, neuron: NeuronId) -> Neighbours:
    """The neurons before and after a neuron, and those of its rank in the layers below and above."""
    return read_neighbours(atlas, neuron)


@call(_NEURON + "/histogram", python='demo.neuron("{neuron}").histogram()')
def histogram(atlas: Atlas, neuron: NeuronId) -> tuple[HistogramBar, ...]:
    """How a neuron's activation is distributed: the bins that are not empty, in order of activation."""
    return tuple(read_histogram(atlas, neuron))


@call(_NEURON + "/examples", python='demo.neuron("{neuron}").examples()', kind="max")
def examples(atlas: Atlas, neuron: NeuronId, kind: Kind | None = None) -> tuple[Example, ...]:
    """The texts stored for a neuron, each with the activation at every token of a window."""
    found = neuron_examples(atlas, neuron)
    return tuple(example for example in found if kind in (None, example.kind))


@call(_NEURON + "/candidates", python='demo.neuron("{neuron}").candidates()')
def neuron_candidates(atlas: Atlas, neuron: NeuronId) -> tuple[Candidate, ...]:
    """The pairs of a neuron whose predictions were counted, the most congruent first."""
    return tuple(read_neuron_candidates(atlas, neuron))


@call(_CURVE, python='demo.neuron("{neuron}").curve({token})')
def curve(atlas: Atlas, neuron: NeuronId, token: TokenId) -> Curve:
    """Of the positions in each bin of a neuron's activation, how many predict a token and how many it follows."""
    wanted = atlas.tokens[token]
    for candidate in read_neuron_candidates(atlas, neuron):
        if candidate.token == wanted:
            bars = read_histogram(atlas, neuron)
            return neuron_curves(atlas, neuron, [candidate], bars)[0]
    name = neuron_ref(atlas, neuron).name
    raise PairError(
        f"The pair of {name} and token {token} was not counted, so it has no curve; expected one of the neuron's "
        "candidates."
    )


@call(_CURVE + "/thresholds", python='demo.neuron("{neuron}").thresholds({token})')
def curve_thresholds(
    atlas: Atlas, neuron: NeuronId, token: TokenId, side: Beyond | None = None
) -> tuple[Threshold, ...]:
    """For every edge of a curve's bins: how often the token is predicted beyond it. The most extreme come first,
    'above' zero before 'below'."""
    found = curve(atlas, neuron, token)
    sides = ("above", "below") if side is None else (side,)
    return tuple(item for one in sides for item in thresholds(found, one))


@call(_NEURON + "/similar", python='demo.neuron("{neuron}").similar()')
def similar(atlas: Atlas, neuron: NeuronId, side: Side = "out", limit: Few = 10) -> tuple[SimilarNeuron, ...]:
    """Neurons whose weights point most the same way, then those whose weights point least so."""
    return tuple(similar_neurons(atlas, neuron, side, limit=limit))


@call(_NEURON + "/spread", python='demo.neuron("{neuron}").spread()')
def neuron_spread(atlas: Atlas, neuron: NeuronId, limit: Few = 20) -> TokenSpread:
    """A neuron's congruence with every token of the vocabulary: bars, moments, extremes."""
    return token_spread(atlas, neuron, limit=limit)


def _of(found: list, direction: str | None) -> tuple:
    return tuple(item for item in found if direction in (None, item.direction))
