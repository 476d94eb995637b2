"""What queries answer with: frozen records. Field names are the schema's column names wherever there is one.

Numbers are as stored: congruence and activations float32, counts integers. `None` means what NULL means in the schema.
"""

from atlas.records.activity import (
    Candidate,
    Curve,
    CurvePoint,
    Example,
    HistogramBar,
    IllusionGuard,
    IntervalExamples,
    IntervalShare,
    Threshold,
)
from atlas.records.atlas import AtlasInfo
from atlas.records.congruence import (
    CongruentNeuron,
    CongruentToken,
    ExclusivePair,
    InputToken,
    LayerSpread,
    NeuronSpread,
    RankingFilter,
    SpreadBar,
    TokenExclusivity,
    TokenSpread,
)
from atlas.records.fields import field_names
from atlas.records.hub import Centring, CentringRow, HubNeuron, HubToken, Occurrence
from atlas.records.index import Bound, Cursor, FacetCount, NeuronFacets, NeuronIndex, NeuronSelection
from atlas.records.search import Matches, Suggestion, TextMatch, TextMatches, TokenMatches
from atlas.records.summary import Highlights, LayerSummary, Listing, Notable, QueryResult, SchemaColumn, SchemaTable
from atlas.records.together import SharedText, SharedToken
from atlas.records.units import Neighbours, Neuron, NeuronRef, Percentile, SimilarNeuron, Token, TokenRow

__all__ = [
    "AtlasInfo",
    "Bound",
    "Candidate",
    "Centring",
    "CentringRow",
    "CongruentNeuron",
    "CongruentToken",
    "Cursor",
    "Curve",
    "CurvePoint",
    "Example",
    "ExclusivePair",
    "FacetCount",
    "Highlights",
    "HistogramBar",
    "HubNeuron",
    "HubToken",
    "IllusionGuard",
    "InputToken",
    "IntervalExamples",
    "IntervalShare",
    "LayerSpread",
    "LayerSummary",
    "Listing",
    "Matches",
    "Neighbours",
    "Neuron",
    "NeuronFacets",
    "NeuronIndex",
    "NeuronRef",
    "NeuronSelection",
    "NeuronSpread",
    "Notable",
    "Occurrence",
    "Percentile",
    "QueryResult",
    "RankingFilter",
    "SchemaColumn",
    "SchemaTable",
    "SharedText",
    "SharedToken",
    "SimilarNeuron",
    "SpreadBar",
    "Suggestion",
    "TextMatch",
    "TextMatches",
    "Threshold",
    "Token",
    "TokenExclusivity",
    "TokenMatches",
    "TokenRow",
    "TokenSpread",
    "field_names",
]
