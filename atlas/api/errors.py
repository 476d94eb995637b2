"""Errors of calls by what they are called in JSON, so that a client raises what the server did."""

from __future__ import annotations

from atlas.errors import (
    AtlasError,
    NeuronNameError,
    PairError,
    ParameterError,
    QueryError,
    StudyNameError,
    TokenError,
    WeightsError,
)

CODES: dict[type[AtlasError], tuple[str, int]] = {
    ParameterError: ("bad_request", 400),
    NeuronNameError: ("no_such_neuron", 404),
    TokenError: ("no_such_token", 404),
    PairError: ("not_counted", 404),
    StudyNameError: ("no_such_study", 404),
    WeightsError: ("no_weights", 404),
    QueryError: ("query_failed", 500),
}
"""The code and the HTTP status of each."""

ERRORS: dict[str, type[AtlasError]] = {code: error for error, (code, _) in CODES.items()}
"""The error of each code."""
