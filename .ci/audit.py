"""Known vulnerabilities in what is installed: `python .ci/audit.py PIP_AUDIT SITE_PACKAGES`.

Exit status 1 where there are any, or where the audit fails for another reason than that the service which knows of them
cannot be reached: a place without a network builds and tests all the same, and says that it did not look.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys

_UNREACHABLE = re.compile(
    r"ConnectionError|ConnectTimeout|ReadTimeout|Max retries exceeded|Name or service not known|ProxyError|"
    r"Temporary failure in name resolution|Connection refused|timed out|SSLError|"
    r"(?:403|404|407|5\d\d) (?:Client|Server) Error",
    re.IGNORECASE,
)
_SECONDS = 300


def verdict(status: int, said: str, complained: str) -> tuple[int, str]:
    """Exit status and text for what pip-audit ended with, said as JSON, and complained of."""
    try:
        items = json.loads(said)["dependencies"]
        found = [item for item in items if item.get("vulns")]
        skipped = sum("skip_reason" in item for item in items)
    except (ValueError, KeyError, TypeError, AttributeError):
        if status and _UNREACHABLE.search(complained):
            return 0, "Not audited: the service that knows vulnerabilities cannot be reached from here."
        return 1, f"The audit failed:\n{complained.strip() or 'it said nothing'}"
    if not found and skipped == len(items):
        return 0, f"Not audited: the service that was asked knows none of the {skipped} packages."
    if not found:
        return 0, f"No known vulnerabilities in {len(items) - skipped} packages; {skipped} could not be looked up."
    lines = (f"{item['name']} {item['version']}: {_named(item['vulns'])}" for item in found)
    return 1, "Known vulnerabilities:\n" + "\n".join(lines)


def _named(vulnerabilities: list[dict]) -> str:
    fixed = ((one["id"], ", ".join(one.get("fix_versions") or ["no release"])) for one in vulnerabilities)
    return "; ".join(f"{name} (fixed in {versions})" for name, versions in fixed)


def main(command: str, packages: str) -> int:
    """Run pip-audit on a folder of packages."""
    arguments = [command, "--path", packages, "--format", "json", "--progress-spinner", "off"]
    try:
        done = subprocess.run(arguments, capture_output=True, text=True, timeout=_SECONDS)
        status, text = verdict(done.returncode, done.stdout, done.stderr)
    except subprocess.TimeoutExpired:
        status, text = verdict(1, "", "timed out")
    print(text)
    return status


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
