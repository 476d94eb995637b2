"""When a neuron fires: the distribution of its activation."""

from __future__ import annotations

from dataclasses import dataclass, field

from atlas.topics.curve import HistogramBar
from atlas.topics.neuron import HISTOGRAM
from web.charts.chart import Chart
from web.charts.histogram import histogram_chart
from web.sections.section import Reading, Section
from web.site.page import doc


@dataclass(frozen=True, kw_only=True)
class Fires(Section, id="fires", heading="When it fires"):
    """Its activation histogram."""

    histogram: tuple[HistogramBar, ...] = field(metadata=doc("Its activation histogram."))
    chart: Chart = field(metadata=doc("The histogram drawn.", json=False))

    @classmethod
    def read(cls, reading: Reading) -> Fires:
        """The histogram of one neuron."""
        title = f"Activation of {reading.neuron.name}, {reading.atlas.info.model_name}"
        return cls(
            sql=HISTOGRAM.shown(**reading.one),
            histogram=tuple(reading.bars),
            chart=histogram_chart(reading.bars, title),
        )
