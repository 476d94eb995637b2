"""The start of a command: the option `--quiet`, and the seconds in which libraries are imported."""

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
    "HF_HUB_VERBOSITY": "error",  # Retries and missing logins: the final error gives the reason.
    "DATASETS_VERBOSITY": "error",
    "TRANSFORMERS_VERBOSITY": "error",
    "TRANSFORMERS_NO_ADVISORY_WARNINGS": "1",
    "TORCH_CPP_LOG_LEVEL": "ERROR",  # Retried sockets and other notes of its C++ parts.
}
"""Environment variables that silence the notes of libraries; they are read at import."""


def quiet_option() -> Callable[[Any], Any]:
    """Adds `--quiet`, whose value goes to a command as `quiet`."""
    return click.option(
        "--quiet", is_flag=True, help="Show only errors and important warnings, no progress and no report."
    )


def asked_to_be_quiet() -> bool:
    """Whether the running command has `--quiet`; for notes from code that has no console."""
    context = click.get_current_context(silent=True)
    return context is not None and bool(context.params.get("quiet"))


@contextmanager
def starting(console: Console) -> Iterator[None]:
    """Show a note while a block imports torch (on the first of several processes), and silence the libraries.

    Where torch is imported already, the process is another program's and nothing is changed.
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
    """Libraries' notes are for their own developers: this program itself reports everything that a user can act on. A
    user who sets one of the variables, or PYTHONWARNINGS, gets the setting's usual output."""
    for name, value in _STILL.items():
        os.environ.setdefault(name, value)
    if not sys.warnoptions:
        warnings.simplefilter("ignore")


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Silence the notes of transformers, TransformerLens and the Hub's client; errors still show.

    Ours is the only progress shown. Users do not depend on those notes: `ingest.model.pretrained` and
    `ingest.model.gguf_file` read missing and unused tensors from the loading report and refuse the model,
    `ingest.model.saved_tokenizer` removes tokens that a library adds to a tokenizer, and every exception becomes one
    sentence of a `ModelError`."""
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
