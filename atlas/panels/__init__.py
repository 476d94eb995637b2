"""The SQL behind each panel of the site's pages, for people: it runs as it is, on the file or in the console."""

from atlas.panels.bridge import bridge_compare_panels, bridge_token_panels
from atlas.panels.compare import compare_panels
from atlas.panels.family import family_curves_panel, family_panel, kin_panel
from atlas.panels.hub import centring_panels, hub_panels
from atlas.panels.kind import kind_panel, layer_kinds_panel
from atlas.panels.neuron import neuron_panels
from atlas.panels.overview import OVERVIEW_PANELS
from atlas.panels.pair import curves
from atlas.panels.predictiveness import correlations_panels, prediction_panels, predictive_panel
from atlas.panels.ranking import exclusive_panel, facets_panel, layer_panels, neurons_panel, pairs_panel
from atlas.panels.reduced import reduced_hubs_panels, reduced_neurons_panel, reduced_tokens_panel
from atlas.panels.search import search_panels
from atlas.panels.sign import sign_cases_panel
from atlas.panels.study import STUDIES_PANELS, study_panels
from atlas.panels.token import token_choice_panel, token_panels
from atlas.panels.weights import neuron_tokens_panels, similar_panel, token_neurons_panels

__all__ = [
    "OVERVIEW_PANELS",
    "STUDIES_PANELS",
    "bridge_compare_panels",
    "bridge_token_panels",
    "centring_panels",
    "compare_panels",
    "correlations_panels",
    "curves",
    "exclusive_panel",
    "facets_panel",
    "family_curves_panel",
    "family_panel",
    "hub_panels",
    "kin_panel",
    "kind_panel",
    "layer_kinds_panel",
    "layer_panels",
    "neuron_panels",
    "neuron_tokens_panels",
    "neurons_panel",
    "pairs_panel",
    "prediction_panels",
    "predictive_panel",
    "reduced_hubs_panels",
    "reduced_neurons_panel",
    "reduced_tokens_panel",
    "search_panels",
    "sign_cases_panel",
    "similar_panel",
    "study_panels",
    "token_choice_panel",
    "token_neurons_panels",
    "token_panels",
]
