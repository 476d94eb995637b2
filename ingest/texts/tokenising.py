"""Tokenising once a machine: a process of its own writes the token ids that all ranks there read.

Texts are numbered from the start of the dataset, so every rank needs the length of every row. The process keeps ahead
of the ranks (the tokenizer's threads use every core that is free) and ends with the rank that started it.
"""

from __future__ import annotations

import json
import os
import pickle
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib import metadata
from pathlib import Path
from typing import Any

import xxhash

from atlas.core.errors import AtlasError
from ingest.process.ranks import Ranks
from ingest.texts.dataset import Dataset
from ingest.texts.token_file import TokenFile
from ingest.texts.tokens import encoded


@dataclass(frozen=True)
class Chunks:
    """How rows become texts: `step` tokens each, all of a row's (`split`) or the first; none from id `stop` on."""

    step: int
    split: bool
    stop: int | None

    def counter(self) -> Callable[[int], bool]:
        """A function of the number of tokens of row after row: whether the texts are complete with it."""
        n_texts = 0

        def enough(n_tokens: int) -> bool:
            nonlocal n_texts
            n_texts += -(-n_tokens // self.step) if self.split else min(n_tokens, 1)
            return self.stop is not None and n_texts >= self.stop

        return enough


@contextmanager
def tokenised_once(
    dataset: Dataset, tokenizer: Any, chunks: Chunks, ranks: Ranks, saved: Path | None
) -> Iterator[Dataset]:
    """Within it, the dataset's rows come tokenised from one process for all ranks of this machine; where a rank is
    alone on its machine, the dataset is as it was.

    Args:
        saved: the run's folder of checkpoints, where an interrupted run finds the ids again; None: they are in a
            temporary folder.
    """
    host = socket.gethostname()
    hosts = ranks.gather(host)
    if hosts.count(host) == 1:
        yield dataset
        return
    leads = hosts.index(host) == ranks.rank
    own = _folder(f"tokens-{host}-", _digest(dataset, tokenizer), saved) if leads else None
    folder = ranks.gather(own)[hosts.index(host)]
    if not leads:
        yield replace(dataset, tokens=TokenFile(folder))
        ranks.barrier()
        return
    process = _start(folder, dataset, tokenizer, chunks)
    try:
        yield replace(dataset, tokens=TokenFile(folder, lambda: process.poll() is None))
        ranks.barrier()  # No rank reads any more.
        shutil.rmtree(folder, ignore_errors=True)
    finally:
        process.kill()
        process.wait()
        if saved is None:
            shutil.rmtree(folder, ignore_errors=True)


def _folder(stem: str, digest: str, saved: Path | None) -> Path:
    """The folder of some texts and a tokenizer, and none of others."""
    if saved is None:
        folder = Path(tempfile.mkdtemp(prefix=f"neuron-atlas-{stem}"))
    else:
        folder = saved / f"{stem}{digest}"
        for other in set(saved.glob(f"{stem}*")) - {folder}:
            shutil.rmtree(other, ignore_errors=True)
    TokenFile(folder).restart()
    return folder


def _digest(dataset: Dataset, tokenizer: Any) -> str:
    state = tokenizer.backend_tokenizer.to_str().encode() if tokenizer.is_fast else pickle.dumps(tokenizer)
    settings = json.dumps([dataset.fingerprint, metadata.version("tokenizers"), tokenizer.split_special_tokens])
    return xxhash.xxh3_64_hexdigest(settings.encode() + state)


def _start(folder: Path, dataset: Dataset, tokenizer: Any, chunks: Chunks) -> subprocess.Popen[bytes]:
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
        "TOKENIZERS_PARALLELISM": "true",
    }
    process = subprocess.Popen([sys.executable, "-m", __name__], stdin=subprocess.PIPE, env=environment)
    with process.stdin as stdin:
        stdin.write(pickle.dumps((folder, dataset, tokenizer, chunks, os.getpid())))
    return process


def _write(folder: Path, dataset: Dataset, tokenizer: Any, chunks: Chunks, parent: int) -> None:
    """Tokenise rows into a folder; in a process of its own."""
    file, count = TokenFile(folder), chunks.counter()

    def enough(n_tokens: int) -> bool:
        return count(n_tokens) or os.getppid() != parent  # Nobody reads any more.

    try:
        file.write(lambda row: encoded(dataset, tokenizer, row), enough)
    except AtlasError as error:
        file.fail(str(error))
    except OSError as error:
        file.fail(f"The token ids cannot be written to {str(folder)!r}: {error}.")


if __name__ == "__main__":
    _write(*pickle.load(sys.stdin.buffer))
