"""The audit of what is installed: vulnerabilities fail it, a service that cannot be reached does not."""

from __future__ import annotations

import importlib.util
import json
import stat
from pathlib import Path

import pytest

_FILE = Path(__file__).parent.parent / ".ci" / "audit.py"


@pytest.fixture(scope="module")
def audit():
    spec = importlib.util.spec_from_file_location("audit", _FILE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


CLEAN = {
    "dependencies": [{"name": "a", "version": "1", "vulns": []}, {"name": "b", "skip_reason": "local"}],
    "fixes": [],
}
BAD = {"dependencies": [{"name": "a", "version": "1", "vulns": [{"id": "X-1", "fix_versions": ["2"]}, {"id": "X-2"}]}]}
UNKNOWN = {"dependencies": [{"name": "b", "skip_reason": "not found"}]}
REFUSED = "HTTPSConnectionPool(host='x', port=443): Max retries exceeded with url: /a (Caused by NewConnectionError)"


@pytest.mark.parametrize(
    ("status", "said", "complained", "expected", "text"),
    [
        (0, json.dumps(CLEAN), "", 0, "No known vulnerabilities in 1 packages; 1 could not be looked up"),
        (0, json.dumps(UNKNOWN), "", 0, "Not audited: the service that was asked knows none of the 1 packages"),
        (1, json.dumps(BAD), "Found 2 known vulnerabilities", 1, "a 1: X-1 (fixed in 2); X-2 (fixed in no release)"),
        (1, json.dumps(BAD), REFUSED, 1, "X-1"),
        (1, "", REFUSED, 0, "Not audited: the service that knows vulnerabilities cannot be reached"),
        (1, "", "ServiceError: 403 Client Error: Forbidden", 0, "Not audited"),
        (1, "", "KeyError: 'name'", 1, "The audit failed:\nKeyError"),
        (0, "", "", 1, "The audit failed:\nit said nothing"),
        (1, "[]", "", 1, "The audit failed"),
    ],
)
def test_verdicts(audit, status, said, complained, expected, text):
    found, words = audit.verdict(status, said, complained)
    assert found == expected
    assert text in words


@pytest.mark.parametrize(("said", "expected"), [(CLEAN, 0), (BAD, 1)])
def test_the_command_is_run_and_read(audit, tmp_path, capsys, said, expected):
    fake = tmp_path / "pip-audit"
    fake.write_text(f"#!/bin/sh\necho '{json.dumps(said)}'\nexit {expected}\n")
    fake.chmod(fake.stat().st_mode | stat.S_IXUSR)
    assert audit.main(str(fake), "packages") == expected
    assert capsys.readouterr().out
