"""DuckDB's engine for browsers: two files of the npm package @duckdb/duckdb-wasm, of one version, checked by digest."""

from __future__ import annotations

import io
import shutil
import subprocess
import tarfile
from base64 import b64encode
from contextlib import suppress
from hashlib import sha256, sha512
from pathlib import Path
from tempfile import TemporaryDirectory

from atlas.core.errors import AtlasError
from web.site.published import ENGINE_WASM, ENGINE_WORKER

VERSION = "1.32.0"
PACKAGE = f"@duckdb/duckdb-wasm@{VERSION}"
FOLDER = f"duckdb-{VERSION}"
"""Its folder under `static/` of a copy."""
DIGESTS = {
    ENGINE_WORKER: "f8ab72b6b90b3ad83077d47426d4a99d5d9a4c7e07cba1a2be37d655adc7c1ab",
    ENGINE_WASM: "4c221bfa59c11f24dbd750e70c90b9252eca6eec5633936e6a2ec766e55fd879",
}
"""SHA-256 of each file that a browser loads."""
_INTEGRITY = "IewXTNYEjsZCPE9weUWgtjGxUlMRo7qhX0GF6tq/KjK8bnY+RAl4cyUdYUfcdzbyb4b9ZxPC+FOsCcxgaKFWMg=="
"""SHA-512 of the package as npm gives it, in base 64."""
_SECONDS = 300

Engine = dict[str, bytes]
"""The files, by name."""


class EngineError(AtlasError):
    """The engine cannot be had, or is another one."""


def find_engine(folder: Path | None, copy: Path) -> tuple[Engine | None, str]:
    """The engine, or None and why there is none: from `folder` if it is named, from the copy that is replaced, or by
    npm.

    Raises:
        EngineError: `folder` does not have it.
    """
    if folder is not None:
        return engine_from(folder), ""
    with suppress(EngineError):
        return engine_from(copy / "static" / FOLDER), ""
    try:
        return engine_from_npm(), ""
    except EngineError as error:
        return None, str(error)


def engine_from(folder: Path) -> Engine:
    """The engine from a folder that has the package's files (its `dist`).

    Raises:
        EngineError: a file is missing, or of another version.
    """
    engine = {}
    for name in DIGESTS:
        try:
            engine[name] = (folder / name).read_bytes()
        except OSError as error:
            raise EngineError(
                f"{str(folder / name)!r} cannot be read: {error.strerror}. Expected a folder with "
                f"{' and '.join(DIGESTS)} of {PACKAGE}: its `dist`."
            ) from error
    return _checked(engine)


def engine_from_npm() -> Engine:
    """The engine by `npm pack`, which downloads the package and runs nothing of it.

    Raises:
        EngineError: there is no npm, it cannot reach its registry, or the package is not the expected one.
    """
    npm = shutil.which("npm")
    if npm is None:
        raise EngineError(f"There is no npm to download {PACKAGE}. Install it, or name a folder with --engine.")
    with TemporaryDirectory() as folder:
        command = [npm, "pack", PACKAGE, "--silent", "--ignore-scripts", "--fetch-retries=1"]
        try:
            done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=_SECONDS, check=False)
        except (OSError, subprocess.TimeoutExpired) as error:
            raise EngineError(f"`npm pack {PACKAGE}` does not end: {error}. Name a folder with --engine.") from error
        packages = list(Path(folder).glob("*.tgz"))
        if done.returncode or len(packages) != 1:
            said = (done.stderr.strip().splitlines() or ["nothing was downloaded"])[-1]
            raise EngineError(f"`npm pack {PACKAGE}` failed: {said}. Name a folder with --engine.")
        return _unpacked(packages[0].read_bytes())


def _unpacked(package: bytes) -> Engine:
    if b64encode(sha512(package).digest()).decode() != _INTEGRITY:
        raise EngineError(f"The package that npm downloaded is not {PACKAGE} as this program knows it; it is not used.")
    with tarfile.open(fileobj=io.BytesIO(package)) as archive:
        return _checked({name: archive.extractfile(f"package/dist/{name}").read() for name in DIGESTS})


def _checked(engine: Engine) -> Engine:
    for name, content in engine.items():
        if sha256(content).hexdigest() != DIGESTS[name]:
            raise EngineError(f"{name} is not that of {PACKAGE}, the version that copies are made for.")
    return engine
