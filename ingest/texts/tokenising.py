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
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from importlib import metadata
from pathlib import Path
from typing import Any

import xxhash

from ingest.process.ranks import Ranks
from ingest.texts import token_writer
from ingest.texts.dataset import Dataset
from ingest.texts.token_file import TokenFile
from ingest.texts.token_writer import Chunks
from ingest.texts.tokens import Backend


@contextmanager
def tokenised_once(
    dataset: Dataset, tokenizer: Any, chunks: Chunks, ranks: Ranks, saved: Path | None
) -> Iterator[Dataset]:
    """Within it, the dataset's rows come tokenised from one process for all ranks of a machine; where every rank is
    alone on its machine, the dataset is as it was.

    Args:
        saved: the run's folder of checkpoints, where an interrupted run finds the ids again; None: they are in a
            temporary folder.
    """
    # With torchrun's number of the machine: containers of several may have one name.
    host = f"{socket.gethostname()}-{os.environ.get('GROUP_RANK', '0')}"
    hosts = ranks.gather(host)
    if len(set(hosts)) == len(hosts):
        yield dataset
        return
    leads = hosts.index(host) == ranks.rank
    own = _folder(f"tokens-{host}-", _digest(dataset, tokenizer), saved) if leads else None
    folder = ranks.gather(own)[hosts.index(host)]
    process = _start(folder, dataset, tokenizer, chunks) if leads else None
    try:
        yield replace(dataset, tokens=TokenFile(folder, lambda: process is None or process.poll() is None))
        ranks.barrier()  # No rank reads any more.
        if leads:
            shutil.rmtree(folder, ignore_errors=True)
        ranks.barrier()  # All are gone: rank 0 finds the folder of checkpoints empty.
    finally:
        if process is not None:
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
    process = subprocess.Popen([sys.executable, "-m", token_writer.__name__], stdin=subprocess.PIPE, env=environment)
    if tokenizer.is_fast:
        tokenizer = Backend(tokenizer.backend_tokenizer, tokenizer.split_special_tokens)
    with process.stdin as stdin:
        stdin.write(pickle.dumps((folder, dataset, tokenizer, chunks, os.getpid())))
    return process
