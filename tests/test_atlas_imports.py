"""The import direction, `ingest -> atlas <- web`, over the syntax tree and in a fresh interpreter."""

from __future__ import annotations

import ast
import re
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


def test_the_map_is_of_the_folders_there_are():
    text = (ROOT / "docs" / "how-it-works.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `([\w./]+)` \| (.+) \|(?: `([\w.]+)`)? \|$", text, re.MULTILINE)
    folders = {
        f"{file.parent.relative_to(ROOT)}/"
        for package in ("atlas", "ingest", "web", "docs", "benchmarks", "tests")
        for file in (ROOT / package).rglob("*")
        if file.suffix in {".py", ".html", ".js"} and file.name not in ("__init__.py", "__main__.py", "errors.py")
    }
    assert {where for where, _, _ in rows} == folders | {"schema.sql"}
    assert [first for where, _, first in rows if first and not (ROOT / where / first).is_file()] == []


def test_packages_re_export_nothing():
    """But for the names of `atlas` and `web.create_app`, which are for other programs."""
    exporting = {
        str(file.relative_to(ROOT))
        for package in FORBIDDEN
        for file in (ROOT / package).rglob("__init__.py")
        if any(isinstance(node, ast.ImportFrom) for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))))
    }
    assert exporting <= {"atlas/__init__.py", "web/__init__.py"}


FLOORS = {
    "ingest": (
        ("errors",),
        ("process",),
        ("model",),
        ("texts",),
        ("congruence",),
        ("activations",),
        ("file",),
        ("merge", "study"),
        ("effects", "live"),
        ("attribution",),
        ("run",),
        ("reproduce",),
        ("__main__",),
    ),
    "atlas": (("core",), ("topics",), ("api",), ("cli", "export"), ("client",)),
    "web": (
        ("site.urls", "site.base_error"),
        ("charts", "saved", "workers"),
        ("cards",),
        ("site",),
        ("api", "server.watched"),
        ("sections",),
        ("views",),
        ("report", "site.app", "site.registry"),
        ("publish",),
        ("server",),
    ),
}
"""The folders of a package (and modules apart from theirs), floor by floor, the lowest first."""


def room_of(package: str, module: str) -> str | None:
    """The folder or module in `FLOORS` that holds a module (both named without the package); None: no room does."""
    rooms = [room for floor in FLOORS[package] for room in floor if f"{module}.".startswith(f"{room}.")]
    return max(rooms, key=len, default=None)


def arrows(package: str) -> set[tuple[str, str]]:
    """(importing module, imported name) of every import of a package from itself, both without the package."""
    pairs = set()
    for path in (ROOT / package).rglob("*.py"):
        module = ".".join(path.relative_to(ROOT / package).with_suffix("").parts)
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                names = [f"{node.module}.{alias.name}" for alias in node.names]
            else:
                continue
            pairs |= {(module, name.removeprefix(f"{package}.")) for name in names if name.startswith(f"{package}.")}
    return pairs


@pytest.mark.parametrize("package", FLOORS)
def test_imports_go_down(package):
    height = {room: number for number, floor in enumerate(FLOORS[package]) for room in floor}
    rooms = {pair: tuple(room_of(package, name) for name in pair) for pair in arrows(package)}
    assert len(rooms) > 100
    assert {module for (module, _), (room, _) in rooms.items() if room is None} <= {"__init__"}
    inside = {pair: both for pair, both in rooms.items() if None not in both and both[0] != both[1]}
    assert {pair for pair, (room, other) in inside.items() if height[other] >= height[room]} == set()


def test_the_reader_of_arrows_sees_modules_and_names():
    assert ("file.checks", "activations.registry.STATISTICS") in arrows("ingest")
    assert room_of("web", "site.urls.neuron") == "site.urls"
    assert room_of("web", "site.urls_of") == "site"
