"""A whole run: the atlas, then the predictions attributed to neurons over texts of it."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console
from rich.text import Text

from ingest.attribution.record import AttributionRequest, print_attribution, record_attribution
from ingest.errors import ModelError, OutOfMemoryError
from ingest.process.device import choose_run_device
from ingest.process.ranks import joined, own_device
from ingest.process.settings import Settings
from ingest.process.stop import Stop
from ingest.run.build import build
from ingest.run.summary import print_report


def ingest(settings: Settings, console: Console, stop: Stop, *, asked: bool = True) -> None:
    """Build an atlas as `settings` say and add attributions to it, as `atlas attribute` does; under a launcher, with
    the other ranks.

    Args:
        asked: attributions that the architecture or the memory does not allow are an error; otherwise the run says so
            and leaves them out.

    Raises:
        AtlasError: any of its kinds. If the attributions failed, the atlas is complete without them, and the same
            command adds them.
    """
    with joined(own_device(choose_run_device(settings.device), settings.devices_per_rank)):
        report = build(settings, console, stop)
        if report is not None:
            print_report(report, console)
        if settings.attribution == 0:
            return
        try:
            _attribute(settings, settings.out if report is None else report.out, console, stop)
        except (ModelError, OutOfMemoryError) as error:
            if asked:
                raise
            console.print(Text(f"{error} The atlas has no attributions."), soft_wrap=True)


def _attribute(settings: Settings, file: Path, console: Console, stop: Stop) -> None:
    request = AttributionRequest(
        file=file,
        texts=settings.attribution,
        dataset=settings.dataset,
        model=settings.model,
        revision=settings.revision,
        device="cpu" if settings.device == "mps" else settings.device,  # Gradients are summed in float64.
        dtype=settings.dtype,
        batch_size=settings.batch_size,
        memory=settings.memory,
        devices_per_rank=settings.devices_per_rank,
        checkpoint=settings.checkpoint,
        checkpoint_every=settings.checkpoint_every,
        seed=settings.seed,
    )
    report = record_attribution(request, console, stop)
    if report is not None:
        print_attribution(report, console)
