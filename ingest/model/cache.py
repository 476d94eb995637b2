"""A cache of dequantised GGUF models: folders of safetensors in the user's cache directory.

An entry is complete when it has its final name: it is written under another name and renamed. Its manifest holds the
hash of every file, so a truncated or changed file is detected, and the entry is deleted and made again. The cache never
fails a run: without a writable directory, or on a full disk, the GGUF file is read directly.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
from importlib import metadata
from pathlib import Path
from typing import Any

import platformdirs
import xxhash
from filelock import FileLock, Timeout
from safetensors.torch import save_file
from torch import nn
from transformers import AutoConfig, AutoTokenizer

from atlas.cli.options import OFF, VARIABLE
from ingest.errors import ModelError
from ingest.model.gguf_file import read_gguf
from ingest.model.pretrained import read_pretrained
from ingest.model.source import Source
from ingest.process.startup import asked_to_be_quiet

_LAYOUT = 1
_DECIDES = ("gguf", "numpy", "safetensors", "tokenizers", "transformers")
"""Libraries whose version may change the model read from a file."""
_MANIFEST = "manifest.json"
_WAIT = 900.0
"""Seconds that a process waits for another one that is making the same entry."""


def cache_folder() -> Path | None:
    """The directory of dequantised models: `$NEURON_ATLAS_CACHE` (None: it is 'off'), or the user's cache directory."""
    chosen = os.environ.get(VARIABLE)
    if chosen == OFF:
        return None
    return Path(chosen) if chosen else platformdirs.user_cache_path("neuron-atlas", appauthor=False) / "models"


def read_cached(source: Source) -> tuple[nn.Module, Any]:
    """Model and tokenizer of a GGUF file, from the cache, or read from the file and kept there for the next time.

    Raises:
        ModelError: as `read_gguf`.
    """
    folder = cache_folder()
    if folder is None:
        return read_gguf(source)
    entry = folder / _key(source.gguf)
    stored = _read(source, entry)
    if stored is not None:
        return stored
    try:
        entry.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(entry.with_name(f"{entry.name}.lock"), timeout=_WAIT)
        lock.acquire()
    except (OSError, Timeout, NotImplementedError) as error:
        _say(f"The dequantised model is not kept in {entry.parent}: {_reason(error)}")
        return read_gguf(source)
    try:
        stored = _read(source, entry)
        if stored is not None:
            return stored
        net, tokenizer = read_gguf(source)
        _keep(entry, net, tokenizer)
        return net, tokenizer
    finally:
        lock.release()


def _say(text: str) -> None:
    print(text, file=sys.stderr)  # A progress bar of rich lets such lines through above it.


def _key(path: Path) -> str:
    versions = "\n".join([str(_LAYOUT), *(f"{name} {metadata.version(name)}" for name in _DECIDES)])
    return f"{_hash(path)}-{xxhash.xxh3_64_hexdigest(versions.encode())}"


def _hash(path: Path) -> str:
    digest = xxhash.xxh3_128()
    with path.open("rb") as file:
        while block := file.read(1 << 24):
            digest.update(block)
    return digest.hexdigest()


def _read(source: Source, entry: Path) -> tuple[nn.Module, Any] | None:
    """An entry's model and tokenizer; None where there is no undamaged entry."""
    try:
        files = json.loads((entry / _MANIFEST).read_text(encoding="utf-8"))["files"]
        if any(_hash(entry / name) != digest for name, digest in files.items()):
            return None
        net, tokenizer, _ = read_pretrained(Source(source.label, str(entry), folder=entry), None)
    except Exception:  # The entry is damaged in some way: it is made again.
        return None
    return net, tokenizer


def _keep(entry: Path, net: nn.Module, tokenizer: Any) -> None:
    n_bytes = sum(each.numel() * each.element_size() for each in net.parameters())
    folder, part = entry.parent, None
    try:
        for older in folder.glob(f"{entry.name.partition('-')[0]}-*"):  # Of other versions; damaged; cut off.
            if older.is_dir():
                shutil.rmtree(older)
        free = shutil.disk_usage(folder).free
        if free < 2 * n_bytes:
            raise OSError(f"it takes {n_bytes / 1e9:.1f} GB, and {free / 1e9:.1f} GB are free.")
        part = Path(tempfile.mkdtemp(prefix=f"{entry.name}.", suffix=".part", dir=folder))
        _write(part, net, tokenizer)
        part.rename(entry)
    except Exception as error:
        _say(f"The dequantised model is not kept in {folder}: {_reason(error)}")
        if part is not None:
            shutil.rmtree(part, ignore_errors=True)
        return
    if not asked_to_be_quiet():
        _say(f"Kept the dequantised model in {entry} ({n_bytes / 1e9:.1f} GB): the next run reads that.")


def _write(part: Path, net: nn.Module, tokenizer: Any) -> None:
    names = dict(net.named_parameters())  # A tensor that is shared (tied) once, under its first name.
    state = {name: each for name, each in net.state_dict().items() if name in names or name in _buffers(net)}
    save_file(
        {name: each.detach().contiguous() for name, each in state.items()},
        part / "model.safetensors",
        metadata={"format": "pt"},
    )
    net.config.architectures = [type(net).__name__]
    net.config.save_pretrained(part)
    tokenizer.save_pretrained(part)
    if _plain(AutoConfig.from_pretrained(part)) != _plain(net.config):
        raise ModelError("its configuration changes when it is read again.")
    if _spelling(AutoTokenizer.from_pretrained(part)) != _spelling(tokenizer):
        raise ModelError("its tokenizer changes when it is read again.")
    files = {path.name: _hash(path) for path in sorted(part.iterdir())}
    (part / _MANIFEST).write_text(json.dumps({"files": files}, indent=1), encoding="utf-8")


def _buffers(net: nn.Module) -> set[str]:
    return {name for name, _ in net.named_buffers()}


def _plain(config: Any) -> dict[str, Any]:
    indifferent = {"_name_or_path", "transformers_version", "dtype", "torch_dtype", "architectures"}
    return {key: value for key, value in json.loads(config.to_json_string(False)).items() if key not in indifferent}


def _spelling(tokenizer: Any) -> tuple[Any, ...]:
    state = json.loads(tokenizer.backend_tokenizer.to_str())
    state.pop("post_processor")  # It adds special tokens around a text, which ingest never uses.
    return state, tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.split_special_tokens


def _reason(error: BaseException) -> str:
    if isinstance(error, Timeout):
        return "another process holds its lock."
    return f"{getattr(error, 'strerror', None) or str(error)}".rstrip(".") + "."
