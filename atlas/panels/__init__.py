"""The SQL behind each panel of the site's pages, for people: it runs as it is, on the file or in the console."""

from atlas.panels.compare import compare_panels
from atlas.panels.family import family_curves_panel, family_panel, kin_panel
from atlas.panels.hub import centring_panels, hub_panels
from atlas.panels.kind import kind_panel, layer_kinds_panel
from atlas.panels.neuron import neuron_panels
from atlas.panels.pair import curves
from atlas.panels.reduced import reduced_hubs_panels, reduced_neurons_panel, reduced_tokens_panel
from atlas.panels.sign import sign_cases_panel
from atlas.panels.token import token_choice_panel, token_panels
from atlas.panels.weights import neuron_tokens_panels, similar_panel, token_neurons_panels

__all__ = [
    "centring_panels",
    "compare_panels",
    "curves",
    "family_curves_panel",
    "family_panel",
    "hub_panels",
    "kin_panel",
    "kind_panel",
    "layer_kinds_panel",
    "neuron_panels",
    "neuron_tokens_panels",
    "reduced_hubs_panels",
    "reduced_neurons_panel",
    "reduced_tokens_panel",
    "sign_cases_panel",
    "similar_panel",
    "token_choice_panel",
    "token_neurons_panels",
    "token_panels",
]
