"""The closing summary of `atlas study`."""

from __future__ import annotations

from rich.console import Console
from rich.text import Text

from atlas.cli.study_view import study_view
from atlas.core.db import open_atlas
from ingest.study.record import Recorded


def print_study(recorded: Recorded, console: Console) -> None:
    """Print the file, the study as `atlas show --study` does, and seconds by phase."""
    console.print(Text("\n") + Text(str(recorded.out), "bold") + Text(f"  build {recorded.build_id}"), soft_wrap=True)
    with open_atlas(recorded.out) as atlas:
        console.print(study_view(atlas, recorded.name))
    console.print(", ".join(f"{phase} {seconds:.1f} s" for phase, seconds in recorded.seconds.items()), markup=False)
