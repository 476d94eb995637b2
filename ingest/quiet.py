"""Keep the libraries' own bars and notes off the terminal while a model is loaded."""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Iterator


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Silence the notes of transformers, TransformerLens and the Hub's client; errors still show.

    Ours is the only progress shown. What a user must know is not left to those notes: what was not in the files, or
    was there and had no place, is read from the loading report and refused by `ingest.pretrained` and
    `ingest.gguf_file`; tokens that a library adds to a tokenizer are taken out by `ingest.saved_tokenizer`; every
    exception becomes one sentence of a `ModelError`.
    """
    import transformers

    level, bars = logging.getLogger().level, os.environ.get("HF_HUB_DISABLE_PROGRESS_BARS")
    verbosity = transformers.logging.get_verbosity()
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    logging.getLogger().setLevel(logging.ERROR)
    try:
        yield
    finally:
        logging.getLogger().setLevel(level)
        transformers.logging.set_verbosity(verbosity)
        if bars is None:
            transformers.logging.enable_progress_bar()
