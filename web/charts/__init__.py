"""Charts: Altair specifications, each with the table of the same data for those who cannot or would not see it."""

from web.charts.ablation import ablation_chart
from web.charts.chart import Chart, Table
from web.charts.curve import curve_charts, curves_chart, family_charts
from web.charts.drawing import curves_drawing, histogram_drawing
from web.charts.heat import heat_chart, reach_of
from web.charts.histogram import histogram_chart, histograms_chart
from web.charts.layers import layer_charts
from web.charts.lens import lens_chart
from web.charts.occurrence import occurrence_chart
from web.charts.placed import placed_chart
from web.charts.predictiveness import criteria_chart, layer_correlations_chart, pair_density_chart
from web.charts.recovery import direct_chart, distribution_chart, recovery_chart
from web.charts.spread import neuron_spread_chart, token_spread_chart

__all__ = [
    "Chart",
    "Table",
    "ablation_chart",
    "criteria_chart",
    "curve_charts",
    "curves_chart",
    "curves_drawing",
    "direct_chart",
    "distribution_chart",
    "family_charts",
    "heat_chart",
    "histogram_chart",
    "histogram_drawing",
    "histograms_chart",
    "layer_charts",
    "layer_correlations_chart",
    "lens_chart",
    "neuron_spread_chart",
    "occurrence_chart",
    "pair_density_chart",
    "placed_chart",
    "reach_of",
    "recovery_chart",
    "token_spread_chart",
]
