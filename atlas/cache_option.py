"""`--no-cache`, of every command that loads models: they keep what a GGUF file holds unless it is given."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import click

VARIABLE, OFF = "NEURON_ATLAS_CACHE", "off"
"""Environment variable: the folder where dequantised models are kept, or 'off'."""


def no_cache(name: str = "--no-cache") -> Callable[[Any], Any]:
    """The option, as a decorator: for as long as the command runs, the variable says 'off', to its children as well."""
    return click.option(
        name, is_flag=True, expose_value=False, callback=_switch_off,
        help="Read a GGUF file itself; keep nothing of it in the cache directory.",
    )  # fmt: skip


def _switch_off(context: click.Context, parameter: click.Parameter, given: bool) -> None:
    if not given:
        return
    before = os.environ.get(VARIABLE)
    os.environ[VARIABLE] = OFF

    def restore() -> None:
        os.environ.pop(VARIABLE)
        if before is not None:
            os.environ[VARIABLE] = before

    context.call_on_close(restore)
