"""The process that tokenises a dataset's rows for the ranks of a machine. It loads no torch."""

from __future__ import annotations

import os
import pickle
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from atlas.core.errors import AtlasError
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


def write_tokens(folder: Path, dataset: Dataset, tokenizer: Any, chunks: Chunks, parent: int) -> None:
    """Tokenise rows into a folder, as long as the process `parent` lives."""
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
    write_tokens(*pickle.load(sys.stdin.buffer))
