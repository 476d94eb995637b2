"""The calls of the API: one documented set for the routes of the site, the OpenAPI document and the Python client."""

from atlas.api import bridge, families, lists, metrics, neuron, site, study, token
from atlas.api.codec import CODES, ERRORS, decode, encode
from atlas.api.schema import Schemas, row_of
from atlas.core.call import CALLS, OF_ATLAS, Call, Declared, Page

MODULES = (site, lists, metrics, neuron, token, study, families, bridge)
"""Where the calls are, in the order of the documentation."""

__all__ = [
    "CALLS",
    "CODES",
    "ERRORS",
    "MODULES",
    "OF_ATLAS",
    "Call",
    "Declared",
    "Page",
    "Schemas",
    "decode",
    "encode",
    "row_of",
]
