"""Requests made from the OpenAPI document, right and wrong: none breaks the site, every answer is as documented."""

from __future__ import annotations

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    negative_data_rejection,
    positive_data_acceptance,
    response_schema_conformance,
    status_code_conformance,
    unsupported_method,
)

from atlas.api.calls import CALLS

CHECKS = [
    not_a_server_error,
    content_type_conformance,
    negative_data_rejection,
    positive_data_acceptance,
    response_schema_conformance,
    status_code_conformance,
    unsupported_method,
]
KNOWN = {
    "atlas": ["tiny-llama", "tiny-gpt2"],
    "neuron": ["L0N0", "L1N7", "L9N9"],
    "token": [0, 3, 281, 10**6],
    "study": ["an", "suite", "nothing"],
}
"""Most of which these atlases have; values made from the patterns alone would all be 404."""

CASES = [(name, GenerationMode.POSITIVE) for name in (*CALLS, "openapi")]
CASES += [
    (name, GenerationMode.NEGATIVE) for name, call in CALLS.items() if any(not d.in_path for d in call.parameters)
]
"""Every call asked rightly, and wrongly those that have more to ask than their path."""


@pytest.fixture(scope="module")
def described(app):
    document = app.test_client().get("/api/v1/openapi.json").json
    for path in document["paths"].values():
        for parameter in path["get"]["parameters"]:
            if parameter["in"] == "path":
                parameter["schema"] = {"enum": [str(value) for value in KNOWN[parameter["name"]]]}
    schema = schemathesis.openapi.from_dict(document)
    schema.validate()
    schema.app = app
    return {found.ok().definition.raw["operationId"]: found.ok() for found in schema.get_all_operations()}


@pytest.mark.parametrize(("name", "mode"), CASES)
def test_every_answer_is_as_documented(described, name, mode):
    @given(case=described[name].as_strategy(mode))
    @settings(
        max_examples=12,
        deadline=None,
        derandomize=True,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    def check(case):
        case.call_and_validate(checks=CHECKS, headers={"Accept-Encoding": "identity"})

    check()
