"""Charts: Altair specifications, each with the table of the same data for those who cannot or would not see it."""

from web.charts.chart import Chart, Table
from web.charts.curve import curve_chart
from web.charts.histogram import histogram_chart
from web.charts.layers import layer_charts

__all__ = ["Chart", "Table", "curve_chart", "histogram_chart", "layer_charts"]
