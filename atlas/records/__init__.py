"""What queries answer with: frozen records. Field names are the schema's column names wherever there is one.

Numbers are as stored: congruence and activations float32, counts integers. `None` means what NULL means in the schema.
"""

from atlas.records.activity import Candidate, Curve, CurvePoint, Example, HistogramBar, IntervalExamples
from atlas.records.atlas import AtlasInfo
from atlas.records.congruence import CongruentNeuron, CongruentToken, ExclusivePair, InputToken, TokenExclusivity
from atlas.records.fields import field_names
from atlas.records.summary import LayerSummary, Listing, Notable, QueryResult
from atlas.records.units import Neuron, NeuronRef, Token, TokenRow

__all__ = [
    "AtlasInfo",
    "Candidate",
    "CongruentNeuron",
    "CongruentToken",
    "Curve",
    "CurvePoint",
    "Example",
    "ExclusivePair",
    "HistogramBar",
    "InputToken",
    "IntervalExamples",
    "LayerSummary",
    "Listing",
    "Neuron",
    "NeuronRef",
    "Notable",
    "QueryResult",
    "Token",
    "TokenExclusivity",
    "TokenRow",
    "field_names",
]
