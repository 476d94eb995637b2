"""Read queries: each takes an open `Atlas` and answers with records."""

from atlas.queries.atlas import column_comments, neuron_ref
from atlas.queries.bridge import atlas_pairs, bridge_token, is_spelt, same_dataset, shared_rows, shared_spellings
from atlas.queries.example import examples, interval_examples, whole_texts
from atlas.queries.family import family, family_curves, has_family, kin
from atlas.queries.hub import (
    hub_neurons,
    hub_tokens,
    neuron_occurrence,
    neuron_occurrences,
    token_occurrence,
    token_occurrences,
)
from atlas.queries.kind import KINDS, layer_kinds, neuron_kind
from atlas.queries.layer import NEURON_SORTS, layer_neurons, layer_summaries, layer_summary
from atlas.queries.live import activation_means
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
from atlas.queries.pair_effect import EFFECT_SORTS, pair_effects, pair_figures
from atlas.queries.pair_metric import METRIC_SORTS, WHOLE_METRICS, neuron_metrics, ranked_metrics, token_metrics
from atlas.queries.pair_standing import pair_standing
from atlas.queries.percentile import PERCENTILE_COLUMNS, neighbours, percentiles
from atlas.queries.prediction import (
    neuron_candidates,
    neuron_curves,
    pair_curves,
    token_candidates,
    token_curves,
)
from atlas.queries.predictiveness import contradictions, correlations, metric_density, metric_support
from atlas.queries.predictiveness_sql import CRITERIA, METRICS, PAIRS
from atlas.queries.recentred import centring, other_best
from atlas.queries.reduced import LIST_LENGTH, reduced_hubs, reduced_neurons, reduced_tokens
from atlas.queries.schema import schema_tables, table_sizes
from atlas.queries.search import best_token, containing_tokens, matching_tokens, text_matches, tokens_by_text
from atlas.queries.sign import has_sign_cases, sign_cases
from atlas.queries.spread import QUANTILES, SIDES, neuron_spread, similar_neurons, token_spread
from atlas.queries.study import (
    STEP_KINDS,
    STEP_VARIANTS,
    stands_out,
    steps_of,
    studies,
    study,
    study_prompts,
    study_steps,
    token_studies,
)
from atlas.queries.study_neurons import direct_share, study_neurons
from atlas.queries.suggest import named_neuron, suggestions
from atlas.queries.together import cosines, shared_texts, shared_tokens
from atlas.queries.token import token_neurons, token_pairs, token_row
from atlas.queries.warm import warm

__all__ = [
    "CRITERIA",
    "EFFECT_SORTS",
    "EXCLUSIVE",
    "EXCLUSIVITY_SORTS",
    "EXPORT_COLUMNS",
    "FREQUENT_TOKENS",
    "INDEX_SORTS",
    "KINDS",
    "LIST_LENGTH",
    "METRICS",
    "METRIC_SORTS",
    "NEURON_SORTS",
    "PAIRS",
    "PAIR_SORTS",
    "PERCENTILE_COLUMNS",
    "QUANTILES",
    "RANGE_COLUMNS",
    "SIDES",
    "STEP_KINDS",
    "STEP_VARIANTS",
    "WHOLE_COLUMNS",
    "WHOLE_METRICS",
    "activation_means",
    "atlas_pairs",
    "best_token",
    "bridge_token",
    "centring",
    "column_comments",
    "containing_tokens",
    "contradictions",
    "correlations",
    "cosines",
    "direct_share",
    "examples",
    "exclusive_pairs",
    "family",
    "family_curves",
    "has_family",
    "has_sign_cases",
    "highlights",
    "histogram",
    "hub_neurons",
    "hub_tokens",
    "input_tokens",
    "interval_examples",
    "is_spelt",
    "kin",
    "layer_kinds",
    "layer_neurons",
    "layer_summaries",
    "layer_summary",
    "matching_tokens",
    "metric_density",
    "metric_support",
    "most_hub_neurons",
    "most_hub_tokens",
    "named_neuron",
    "neighbours",
    "neuron",
    "neuron_candidates",
    "neuron_curves",
    "neuron_facets",
    "neuron_kind",
    "neuron_metrics",
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
    "pair_effects",
    "pair_figures",
    "pair_standing",
    "percentiles",
    "ranked_metrics",
    "reduced_hubs",
    "reduced_neurons",
    "reduced_tokens",
    "same_dataset",
    "schema_tables",
    "shared_rows",
    "shared_spellings",
    "shared_texts",
    "shared_tokens",
    "sign_cases",
    "similar_neurons",
    "single_token_neurons",
    "stands_out",
    "steps_of",
    "studies",
    "study",
    "study_neurons",
    "study_prompts",
    "study_steps",
    "suggestions",
    "table_sizes",
    "text_matches",
    "token_candidates",
    "token_curves",
    "token_exclusivities",
    "token_metrics",
    "token_neurons",
    "token_occurrence",
    "token_occurrences",
    "token_pairs",
    "token_row",
    "token_spread",
    "token_studies",
    "tokens_by_text",
    "warm",
    "whole_texts",
]
