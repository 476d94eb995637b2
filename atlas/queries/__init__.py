"""Read queries: each takes an open `Atlas` and answers with records."""

from atlas.queries.atlas import column_comments, neuron_ref
from atlas.queries.example import examples, interval_examples, whole_texts
from atlas.queries.hub import (
    hub_neurons,
    hub_tokens,
    neuron_occurrence,
    neuron_occurrences,
    token_occurrence,
    token_occurrences,
)
from atlas.queries.layer import NEURON_SORTS, layer_neurons, layer_summaries, layer_summary
from atlas.queries.neuron import histogram, input_tokens, neuron, neuron_pairs, neuron_tokens
from atlas.queries.neuron_facets import FREQUENT_TOKENS, neuron_facets
from atlas.queries.neuron_index import (
    EXCLUSIVE,
    EXPORT_COLUMNS,
    INDEX_SORTS,
    RANGE_COLUMNS,
    WHOLE_COLUMNS,
    neuron_page,
    neuron_rows,
)
from atlas.queries.overview import highlights, most_hub_neurons, most_hub_tokens, notable_neurons, single_token_neurons
from atlas.queries.pair import EXCLUSIVITY_SORTS, PAIR_SORTS, exclusive_pairs, token_exclusivities
from atlas.queries.percentile import PERCENTILE_COLUMNS, neighbours, percentiles
from atlas.queries.prediction import (
    neuron_candidates,
    neuron_cells,
    neuron_curves,
    pair_curves,
    token_candidates,
    token_curves,
)
from atlas.queries.recentred import centring, other_best
from atlas.queries.schema import schema_tables
from atlas.queries.search import best_token, containing_tokens, matching_tokens, text_matches, tokens_by_text
from atlas.queries.spread import QUANTILES, SIDES, neuron_spread, similar_neurons, token_spread
from atlas.queries.suggest import named_neuron, suggestions
from atlas.queries.together import cosines, shared_texts, shared_tokens
from atlas.queries.token import token_neurons, token_pairs, token_row
from atlas.queries.warm import warm

__all__ = [
    "EXCLUSIVE",
    "EXCLUSIVITY_SORTS",
    "EXPORT_COLUMNS",
    "FREQUENT_TOKENS",
    "INDEX_SORTS",
    "NEURON_SORTS",
    "PAIR_SORTS",
    "PERCENTILE_COLUMNS",
    "QUANTILES",
    "RANGE_COLUMNS",
    "SIDES",
    "WHOLE_COLUMNS",
    "best_token",
    "centring",
    "column_comments",
    "containing_tokens",
    "cosines",
    "examples",
    "exclusive_pairs",
    "highlights",
    "histogram",
    "hub_neurons",
    "hub_tokens",
    "input_tokens",
    "interval_examples",
    "layer_neurons",
    "layer_summaries",
    "layer_summary",
    "matching_tokens",
    "most_hub_neurons",
    "most_hub_tokens",
    "named_neuron",
    "neighbours",
    "neuron",
    "neuron_candidates",
    "neuron_cells",
    "neuron_curves",
    "neuron_facets",
    "neuron_occurrence",
    "neuron_occurrences",
    "neuron_page",
    "neuron_pairs",
    "neuron_ref",
    "neuron_rows",
    "neuron_spread",
    "neuron_tokens",
    "notable_neurons",
    "other_best",
    "pair_curves",
    "percentiles",
    "schema_tables",
    "shared_texts",
    "shared_tokens",
    "similar_neurons",
    "single_token_neurons",
    "suggestions",
    "text_matches",
    "token_candidates",
    "token_curves",
    "token_exclusivities",
    "token_neurons",
    "token_occurrence",
    "token_occurrences",
    "token_pairs",
    "token_row",
    "token_spread",
    "tokens_by_text",
    "warm",
    "whole_texts",
]
