"""The Python client: an atlas opened from a file or a URL, with the same calls over either."""

from atlas.client.neuron import OpenNeuron
from atlas.client.opened import OpenAtlas
from atlas.client.opened import open_any as open
from atlas.client.records import Answer, CurveRecords, Pages, Records
from atlas.client.together import bridge
from atlas.client.token import OpenToken

__all__ = ["Answer", "CurveRecords", "OpenAtlas", "OpenNeuron", "OpenToken", "Pages", "Records", "bridge", "open"]
