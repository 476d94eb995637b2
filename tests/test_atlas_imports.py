"""The import direction, `ingest -> atlas <- web`, over the syntax tree and in a fresh interpreter."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
FORBIDDEN = {
    "atlas": {"ingest", "web", "flask", "torch", "transformers", "transformer_lens", "datasets"},
    "web": {"ingest", "torch", "transformers", "transformer_lens", "datasets"},
    "ingest": {"web", "flask"},
}


def imported(source: str) -> set[str]:
    """Top-level packages that a module imports, wherever in it, by statement or by name."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            found.add(node.module.split(".")[0])
        elif isinstance(node, ast.Call) and getattr(node.func, "attr", getattr(node.func, "id", "")) in (
            "import_module",
            "__import__",
        ):
            found |= {arg.value.split(".")[0] for arg in node.args if isinstance(arg, ast.Constant)}
    return found


def test_the_reader_sees_every_way_to_import():
    source = (
        "import a.b\nfrom c.d import e\nfrom . import f\ndef g():\n    import h\n    importlib.import_module('i.j')"
    )
    assert imported(source) == {"a", "c", "h", "i"}


@pytest.mark.parametrize("package", FORBIDDEN)
def test_import_direction(package):
    modules = sorted((ROOT / package).rglob("*.py"))
    assert len(modules) > 3
    wrong = {
        str(module.relative_to(ROOT)): names
        for module in modules
        if (names := imported(module.read_text(encoding="utf-8")) & FORBIDDEN[package])
    }
    assert wrong == {}


@pytest.mark.parametrize(
    "package", ["atlas", "atlas.cli.main", "atlas.cli.commands", "atlas.topics.neuron", "web", "web.server.command"]
)
def test_importing_loads_no_model_library(package):
    code = f"import sys, {package}; print(*sorted({{name.split('.')[0] for name in sys.modules}}))"
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    loaded = set(result.stdout.split())
    assert package.split(".")[0] in loaded
    assert loaded.isdisjoint(FORBIDDEN[package.split(".")[0]])


def test_the_client_needs_neither_the_site_nor_pandas_nor_arrow():
    code = "import sys, atlas; atlas.open; print(*{'flask', 'pandas', 'pyarrow', 'altair'} & set(sys.modules))"
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert result.stdout.split() == []


def test_the_help_of_the_command_line_loads_no_flask_for_reading():
    code = "import sys, atlas.cli.commands; print('flask' in sys.modules, 'altair' in sys.modules)"
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert result.stdout.split() == ["False", "False"]


FOLDERS = {
    "ingest": (
        ("errors",),
        ("process",),
        ("model",),
        ("texts",),
        ("congruence",),
        ("activations",),
        ("file",),
        ("run", "merge", "study"),
        ("effects", "reproduce", "live"),
    ),
    "atlas": (("core",), ("topics",), ("glossary",), ("api",), ("cli", "export"), ("client",)),
}
"""The folders of a package, floor by floor: each imports from itself and from the floors below, not from its own."""


def folder_imports(package: str) -> set[tuple[str, str, str]]:
    """(importing module, its folder, the folder it imports from) of every import of a package from itself."""
    imports = set()
    for module in (ROOT / package).rglob("*.py"):
        parts = module.relative_to(ROOT / package).with_suffix("").parts
        for node in ast.walk(ast.parse(module.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                names = [f"{node.module}.{alias.name}" for alias in node.names]
            else:
                continue
            for name in names:
                if name.startswith(f"{package}."):
                    imports.add((".".join(parts), parts[0], name.split(".")[1]))
    return imports


@pytest.mark.parametrize("package", FOLDERS)
def test_folders_import_downwards(package):
    floor = {folder: place for place, folders in enumerate(FOLDERS[package]) for folder in folders}
    imports = {each for each in folder_imports(package) if not each[1].startswith("__")}
    assert len(imports) > 20
    assert {folder for each in imports for folder in each[1:]} - set(floor) <= {"__init__"}
    assert {each for each in imports if each[1] != each[2] and floor[each[2]] >= floor[each[1]]} == set()


def test_the_reader_of_floors_sees_an_import_that_goes_up():
    imports = folder_imports("ingest")
    assert ("run.build", "run", "process") in imports
    assert ("file.checks", "file", "activations") in imports
