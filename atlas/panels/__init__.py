"""The SQL behind each panel of the site's pages, for people: it runs as it is, on the file or in the console."""

from atlas.panels.bridge import bridge_compare_panels, bridge_token_panels
from atlas.panels.overview import OVERVIEW_PANELS
from atlas.panels.predictiveness import correlations_panels, prediction_panels, predictive_panel
from atlas.panels.ranking import exclusive_panel, facets_panel, layer_panels, neurons_panel, pairs_panel
from atlas.panels.search import search_panels
from atlas.panels.study import STUDIES_PANELS, study_panels

__all__ = [
    "OVERVIEW_PANELS",
    "STUDIES_PANELS",
    "bridge_compare_panels",
    "bridge_token_panels",
    "correlations_panels",
    "exclusive_panel",
    "facets_panel",
    "layer_panels",
    "neurons_panel",
    "pairs_panel",
    "prediction_panels",
    "predictive_panel",
    "search_panels",
    "study_panels",
]
