"""Charts: Altair specifications, each with the table of the same data for those who cannot or would not see it."""

from web.charts.chart import Chart, Table
from web.charts.curve import curve_charts, curves_chart
from web.charts.histogram import histogram_chart, histograms_chart
from web.charts.layers import layer_charts
from web.charts.occurrence import occurrence_chart
from web.charts.spread import neuron_spread_chart, token_spread_chart

__all__ = [
    "Chart",
    "Table",
    "curve_charts",
    "curves_chart",
    "histogram_chart",
    "histograms_chart",
    "layer_charts",
    "neuron_spread_chart",
    "occurrence_chart",
    "token_spread_chart",
]
