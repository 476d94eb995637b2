"""How a command of this package begins: what it will say, and the seconds in which libraries are imported."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from rich.console import Console


_STILL = {
    "TQDM_DISABLE": "1",  # Bars of the libraries would tear ours apart.
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "HF_HUB_VERBOSITY": "error",  # Retries, missing logins: when a file cannot be had at last, the error says why.
    "DATASETS_VERBOSITY": "error",
    "TRANSFORMERS_VERBOSITY": "error",
    "TRANSFORMERS_NO_ADVISORY_WARNINGS": "1",
    "TORCH_CPP_LOG_LEVEL": "ERROR",  # Sockets that are tried again, and other notes of its C++ parts.
}
"""Variables that libraries read when they are imported, and which keep their notes to themselves."""


def quiet_option() -> Callable[[Any], Any]:
    """Adds `--quiet`, whose value goes to a command as `quiet`."""
    return click.option(
        "--quiet", is_flag=True, help="Show neither progress nor a report: errors, and warnings that matter, only."
    )


def asked_to_be_quiet() -> bool:
    """Whether this is the work of a command that was given `--quiet`; for notes from where no console is at hand."""
    context = click.get_current_context(silent=True)
    return context is not None and bool(context.params.get("quiet"))


@contextmanager
def starting(console: Console) -> Iterator[None]:
    """Say so while a block imports torch; of several processes the first does. The libraries are told to be still.

    Where torch is imported already, the process is another program's, to which this changes nothing.
    """
    if "torch" in sys.modules:
        yield
        return
    _still()
    if os.environ.get("RANK", "0") != "0":
        yield
    elif console.is_terminal:
        with console.status("Starting"):
            yield
    else:
        console.print("Starting")
        yield


def _still() -> None:
    """What libraries note is theirs to mend: whatever a user can act on is said by this program, as an error or a
    line of its own. Who sets one of the variables, or PYTHONWARNINGS, sees what it asks for."""
    for name, value in _STILL.items():
        os.environ.setdefault(name, value)
    if not sys.warnoptions:
        warnings.simplefilter("ignore")


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Silence the notes of transformers, TransformerLens and the Hub's client; errors still show.

    Ours is the only progress shown. What a user must know is not left to those notes: what was not in the files, or was
    there and had no place, is read from the loading report and refused by `ingest.model.pretrained` and
    `ingest.model.gguf_file`; tokens that a library adds to a tokenizer are taken out by `ingest.model.saved_tokenizer`;
    every exception becomes one sentence of a `ModelError`."""
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
