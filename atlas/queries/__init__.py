"""Read queries: each takes an open `Atlas` and answers with records."""

from atlas.queries.atlas import column_comments, neuron_ref
from atlas.queries.example import examples, interval_examples
from atlas.queries.layer import NEURON_SORTS, layer_neurons, layer_summaries, layer_summary
from atlas.queries.neuron import histogram, input_tokens, neuron, neuron_pairs, neuron_tokens
from atlas.queries.overview import notable_neurons
from atlas.queries.pair import exclusive_pairs, token_exclusivities
from atlas.queries.prediction import neuron_candidates, neuron_curves, token_candidates, token_curves
from atlas.queries.search import containing_tokens, tokens_by_text
from atlas.queries.token import token_neurons, token_pairs, token_row

__all__ = [
    "NEURON_SORTS",
    "column_comments",
    "containing_tokens",
    "examples",
    "exclusive_pairs",
    "histogram",
    "input_tokens",
    "interval_examples",
    "layer_neurons",
    "layer_summaries",
    "layer_summary",
    "neuron",
    "neuron_candidates",
    "neuron_curves",
    "neuron_pairs",
    "neuron_ref",
    "neuron_tokens",
    "notable_neurons",
    "token_candidates",
    "token_curves",
    "token_exclusivities",
    "token_neurons",
    "token_pairs",
    "token_row",
    "tokens_by_text",
]
