"""How a command of this package begins: what it will say, and the seconds in which libraries are imported."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from rich.console import Console


def quiet_option() -> Callable[[Any], Any]:
    """Adds `--quiet`, whose value goes to a command as `quiet`."""
    return click.option(
        "--quiet", is_flag=True, help="Show neither progress nor a report: errors, and warnings that matter, only."
    )


@contextmanager
def starting(console: Console) -> Iterator[None]:
    """Say so while a block imports torch; of several processes the first does."""
    if "torch" in sys.modules or os.environ.get("RANK", "0") != "0":
        yield
    elif console.is_terminal:
        with console.status("Starting"):
            yield
    else:
        console.print("Starting")
        yield
