"""The wheel carries what is not Python and runs from where it lies; the lock names what `make setup` installs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from this checkout and unpacked."""
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)],
        cwd=ROOT,
        check=True,
        capture_output=True,
    )
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder / "site")
    return folder / "site"


def run(unpacked: Path, code: str) -> str:
    """Run code with the unpacked wheel before everything else, away from the checkout."""
    environment = {**os.environ, "PYTHONPATH": str(unpacked)}
    done = subprocess.run(
        [sys.executable, "-P", "-c", code], cwd=unpacked.parent, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_it_carries_schema_templates_and_styles(unpacked: Path) -> None:
    assert (unpacked / "atlas" / "schema.sql").read_text() == (ROOT / "schema.sql").read_text()
    assert (unpacked / "web" / "sql.md").read_text() == (ROOT / "docs" / "sql.md").read_text()
    for folder in ("templates", "static"):
        carried = {path.name for path in (unpacked / "web" / folder).iterdir()}
        assert carried == {path.name for path in (ROOT / "web" / folder).iterdir()}
    assert not (unpacked / "tests").exists()


def test_it_reads_and_serves(unpacked: Path, tiny_llama_atlas: Path) -> None:
    code = f"""
import json, atlas, web
from atlas.core.schema import schema_sql
from web import create_app
assert "CREATE TABLE neuron" in schema_sql(8) and "{{d_model}}" not in schema_sql(8)
client = create_app([__import__("pathlib").Path({str(tiny_llama_atlas)!r})]).test_client()
statuses = [client.get(url).status_code for url in ("/", "/tiny-llama", "/tiny-llama/L1N3", "/static/atlas.css")]
print(json.dumps([atlas.__file__, web.__file__, statuses]))
"""
    *files, statuses = json.loads(run(unpacked, code))
    assert all(Path(file).is_relative_to(unpacked) for file in files)
    assert statuses == [200] * 4


def test_its_command_line_runs(unpacked: Path, tiny_llama_atlas: Path) -> None:
    code = f"from atlas.cli.main import main; main(['info', {str(tiny_llama_atlas)!r}])"
    assert "tiny-llama" in run(unpacked, code)


def test_the_lock_pins_every_requirement_within_its_range() -> None:
    lines = (ROOT / "requirements.lock").read_text(encoding="utf-8").splitlines()
    pins: dict[str, str] = {}
    for line in lines:
        if line and not line.startswith((" ", "#")):
            pin = Requirement(line)
            (exact,) = pin.specifier
            assert exact.operator == "=="
            assert "+" not in exact.version, "local versions exist on one machine only"
            if pin.marker is None or pin.marker.evaluate():
                pins[canonicalize_name(pin.name)] = exact.version
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    wanted = [Requirement(text) for text in [*project["dependencies"], *extras["ingest"], *extras["dev"]]]
    here = [one for one in wanted if one.marker is None or one.marker.evaluate()]
    assert [one.name for one in here if not one.specifier.contains(pins[canonicalize_name(one.name)])] == []
    assert {"pip", "hatchling", "torch"} <= set(pins)
