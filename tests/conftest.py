"""Fixtures every test shares: two tiny models and the atlases built from them by the real program."""

from __future__ import annotations

import atexit
import os
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from filelock import FileLock
from hypothesis import settings
from jaxtyping import install_import_hook

# Shapes and dtypes in annotations are checked at every call, wherever tensors pass; before any of it is imported.
# Compiled kernels are left out: they take no tensors, and the hook would hide them from their compiler.
_INGEST = Path(__file__).parent.parent / "ingest"
_CHECKED = ["activations", "congruence", "merge", "study"]
_CHECKED += ["file/tables.py", "model/forward.py", "model/weights.py", "process/device.py", "process/sort_keys.py"]
_MODULES = [path for name in _CHECKED for path in ([_INGEST / name] if "." in name else (_INGEST / name).rglob("*.py"))]
install_import_hook(
    [
        f"ingest.{path.relative_to(_INGEST).with_suffix('').as_posix().replace('/', '.')}"
        for path in _MODULES
        if path.parent.name not in ("kernels", "reduction") and path.stem not in ("__init__", "insertion_cpu")
    ],
    "beartype.beartype",
)

if "PYTEST_XDIST_WORKER" in os.environ:
    # Two processes on two cores: threads of one would wait, spinning, for cores that the other has.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("HF_DATASETS_OFFLINE", "1")
_OWN_CACHE = None if "NEURON_ATLAS_CACHE" in os.environ else tempfile.mkdtemp(prefix="neuron-atlas-tests-")
if _OWN_CACHE is not None:
    # One for all processes of a run, and not the user's own: the demo's model is dequantised once.
    os.environ["NEURON_ATLAS_CACHE"] = _OWN_CACHE


# `make test-thorough` names the second: more examples of every property, more kills.
settings.register_profile("quick", max_examples=15, deadline=None)
settings.register_profile("thorough", max_examples=200, deadline=None)
settings.load_profile("quick")


@pytest.fixture(scope="session")
def thorough(pytestconfig: pytest.Config) -> bool:
    """Whether time is of no account."""
    return pytestconfig.getoption("--hypothesis-profile") == "thorough"


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    session.config.stash[_STATUS] = int(exitstatus)


# Files that take longest: first, so that none is left over for one of two workers at the end.
_LONG = ("test_ingest_smollm2", "test_web_paths", "test_ingest_faults", "test_web_sandbox", "test_ingest_ranks")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Long files first; within a file the order stays."""
    place = {name: number for number, name in enumerate(_LONG)}
    items.sort(key=lambda item: place.get(item.path.stem, len(_LONG)))


def pytest_unconfigure(config: pytest.Config) -> None:
    """Leave without tearing the interpreter down: torch keeps DuckDB's module alive past its end, and DuckDB would
    report that as a hundred lines of leaks below the summary."""
    sys.stdout.flush()
    sys.stderr.flush()
    if _OWN_CACHE is not None:
        shutil.rmtree(_OWN_CACHE, ignore_errors=True)
    if hasattr(config, "workerinput"):
        atexit.register(os._exit, 0)  # one of several workers, which has still to report
    elif _STATUS in config.stash:
        os._exit(config.stash[_STATUS])


_STATUS = pytest.StashKey[int]()


@dataclass(frozen=True)
class Built:
    """A model folder, a file of texts, the options they were read with, and the atlas."""

    model: Path
    dataset: Path
    context_length: int
    overflow: str
    atlas: Path


def build_tiny(folder: Path, model: Path, dataset: Path, name: str, **options: object) -> Path:
    """Run the program on a tiny model; returns the atlas."""
    from rich.console import Console

    from ingest.process.settings import Settings
    from ingest.run.build import build

    out = folder / f"{name}.duckdb"
    defaults = {"top_tokens": 20, "top_neurons": 20, "top_texts": 6, "window": 16}
    settings = Settings(model=str(model), dataset=str(dataset), out=out, slug=name, **{**defaults, **options})
    with open(os.devnull, "w") as nowhere:
        build(settings, Console(file=nowhere))
    return out


def _once(tmp_path_factory: pytest.TempPathFactory, name: str, make: Callable[[Path], None]) -> Path:
    """A folder that the first process to ask for it fills, for every process of this run of the suite."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / f"shared-{name}"
    with FileLock(f"{folder}.lock"):
        if not folder.exists():
            filling = folder.with_name(f"{folder.name}.{os.getpid()}")
            filling.mkdir()
            make(filling)
            filling.rename(folder)
    return folder


@pytest.fixture(scope="session")
def built_llama(tmp_path_factory: pytest.TempPathFactory) -> Built:
    """Gated: texts split into contexts of 24."""

    def make(folder: Path) -> None:
        from tests import tiny

        model = tiny.save_llama(folder / "model")
        dataset = tiny.save_texts(folder / "texts.jsonl", tiny.make_texts(60))
        with_studies(build_tiny(folder, model, dataset, "tiny-llama", context_length=24, overflow="split"))

    folder = _once(tmp_path_factory, "llama", make)
    return Built(folder / "model", folder / "texts.jsonl", 24, "split", folder / "tiny-llama.duckdb")


@pytest.fixture(scope="session")
def optional_atlas(built_llama: Built, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The gated atlas with every statistic that has an option."""

    def make(folder: Path) -> None:
        from atlas.api.calls import OPTIONS

        options = {"context_length": built_llama.context_length, "overflow": built_llama.overflow}
        statistics = tuple(option.flag for option in OPTIONS)
        build_tiny(folder, built_llama.model, built_llama.dataset, "tiny-optional", statistics=statistics, **options)

    return _once(tmp_path_factory, "optional", make) / "tiny-optional.duckdb"


@pytest.fixture(scope="session")
def built_gpt2(tmp_path_factory: pytest.TempPathFactory) -> Built:
    """Ungated: texts truncated to contexts of 40."""

    def make(folder: Path) -> None:
        from tests import tiny

        model = tiny.save_gpt2(folder / "model")
        dataset = tiny.save_texts(folder / "texts.jsonl", tiny.make_texts(50, 1))
        with_studies(build_tiny(folder, model, dataset, "tiny-gpt2", context_length=40, overflow="truncate"))

    folder = _once(tmp_path_factory, "gpt2", make)
    return Built(folder / "model", folder / "texts.jsonl", 40, "truncate", folder / "tiny-gpt2.duckdb")


def with_studies(atlas: Path) -> None:
    """Beside an atlas, a copy with two invented studies: 'an', of one pair of prompts, and 'suite'."""
    from ingest.file.append import extend_atlas
    from tests.invented_study import invent

    out = atlas.parent / "with_studies" / atlas.name
    out.parent.mkdir()
    extend_atlas(atlas, invent(atlas), out=out)
    extend_atlas(out, invent(atlas, "suite", n_prompts=60, from_end=True, seed=1))


@pytest.fixture(scope="session")
def tiny_llama_atlas(built_llama: Built) -> Path:
    """A small gated atlas: 3 layers of 48 neurons, two studies."""
    return built_llama.atlas.parent / "with_studies" / built_llama.atlas.name


@pytest.fixture(scope="session")
def tiny_gpt2_atlas(built_gpt2: Built) -> Path:
    """A small ungated atlas: 2 layers of 96 neurons, two studies."""
    return built_gpt2.atlas.parent / "with_studies" / built_gpt2.atlas.name


@pytest.fixture(params=["tiny_llama_atlas", "tiny_gpt2_atlas"])
def both(request: pytest.FixtureRequest):
    """An open atlas, and a plain connection to the same file."""
    import duckdb

    from atlas import open_atlas

    path = request.getfixturevalue(request.param)
    with open_atlas(path) as atlas, duckdb.connect(str(path), read_only=True) as connection:
        yield atlas, connection


@pytest.fixture
def tmpfs(tmp_path: Path):
    """A disk of 2 MB; skipped where mounting is not allowed."""
    place = tmp_path / "disk"
    place.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "none", str(place)], capture_output=True)
    if mounted.returncode:
        pytest.skip("mounting a small disk is not allowed here")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


@pytest.fixture(scope="module")
def app(tiny_llama_atlas: Path, tiny_gpt2_atlas: Path):
    """The site over both tiny atlases."""
    from web import create_app

    app = create_app([tiny_llama_atlas, tiny_gpt2_atlas])
    app.testing = True
    yield app
    for atlas in app.extensions["atlases"].values():
        atlas.close()


@pytest.fixture
def client(app):
    """A client of that site."""
    return app.test_client()


CHROMIUM = "/usr/bin/chromium" if Path("/usr/bin/chromium").exists() else shutil.which("chromium")
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@pytest.fixture(scope="module")
def chromium():
    """A real browser; without one the test is skipped, or fails where one is demanded."""
    if CHROMIUM is None:
        if os.environ.get("REQUIRE_CHROMIUM") == "1":
            pytest.fail("No chromium in PATH, and REQUIRE_CHROMIUM=1 asks for it: install chromium.")
        pytest.skip("no chromium in PATH")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def site(app):
    """The address of the site over both tiny atlases, served."""
    from werkzeug.serving import make_server

    server = make_server("127.0.0.1", 0, app, threaded=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


def new_context(browser, **options):
    """A window of its own, which waits two minutes for what it waits for: a busy machine is no fault of a page."""
    context = browser.new_context(**options)
    context.set_default_timeout(120_000)
    return context


@pytest.fixture
def tab(chromium):
    """A page of the browser, 1280 pixels wide, its complaints in `tab.said`."""
    context = new_context(chromium, viewport={"width": 1280, "height": 900})
    page = context.new_page()
    page.said = []
    page.on("console", lambda message: page.said.append(message.text))
    page.on("pageerror", lambda error: page.said.append(str(error)))
    page.on("dialog", lambda dialog: (page.said.append(f"dialog: {dialog.message}"), dialog.dismiss()))
    yield page
    context.close()
