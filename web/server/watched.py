"""Progress of the runs that write a site's files, both served and awaited."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from atlas.core.display import show_seconds
from atlas.core.info import RunProgress

STALE = 60.0
"""Seconds without news after which a run may have been stopped."""

_PHASES = {
    "Loading model": "Loading the model",
    "Opening dataset": "Opening the dataset",
    "Congruence": "Congruence of every neuron with every token",
    "Choosing pairs": "Choosing the pairs to count",
    "Activations": "Reading texts",
    "Writing": "Writing the file",
    "Checking": "Checking the file",
    "Ablation": "Ablating neurons",
    "Experiments": "Running the experiments",
}


@dataclass(frozen=True)
class Run:
    """A run that writes a file of the site, or a file that is awaited, as the home page shows it."""

    file: str
    """The file's name; its folder stays private."""
    slug: str | None
    """Slug of the atlas that is served from it; null: none yet."""
    heading: str
    """The current phase in words, or that the file is awaited."""
    share: float | None
    """Share done of the current phase, from 0 to 1; null: not known, or no phase runs."""
    running: bool
    """Whether a run reported progress recently."""
    line: str
    """Share, speed, time left and memory in words."""
    past: str
    """The earlier phases and their durations, in words."""
    note: str
    """A note: the reason why a file is still awaited, or a warning about a silent run."""


@dataclass(frozen=True)
class Watched:
    """Paths of a site's files, as its operator named them."""

    served: Mapping[str, Path] = field(default_factory=dict)
    """Served files by slug."""
    awaited: tuple[Path, ...] = ()

    def runs(self, refused: Mapping[str, str | None]) -> Iterator[Run]:
        """Every run in progress and every awaited file; `refused` has the reasons by file name."""
        for slug, path in self.served.items():
            progress = RunProgress.read(path)
            if progress is not None:
                yield _run(path.name, slug, progress)
        for path in self.awaited:
            progress, why = RunProgress.read(path), refused.get(path.name) or ""
            if progress is None:
                yield Run(path.name, None, f"Waiting for {path.name}", None, False, "", "", why)
            else:
                yield _run(path.name, None, progress, why)


def _run(file: str, slug: str | None, progress: RunProgress, note: str = "") -> Run:
    silent = time.time() - progress.written_at
    if silent > STALE:
        note = (
            f"This run has reported nothing for {show_seconds(silent)}; it may have been stopped. The same command "
            f"resumes it. {note}"
        )
    share = None if progress.share is None else min(1.0, max(0.0, progress.share))
    words = [
        "" if share is None else f"{share:.0%}",
        progress.rate,
        "" if progress.seconds_left is None else f"{show_seconds(progress.seconds_left)} left",
        f"{progress.memory / 1e9:.1f} GB",
    ]
    past = ", ".join(f"{_lower(_words(name))} {show_seconds(took)}" for name, took in progress.done.items())
    return Run(
        file,
        slug,
        _words(progress.phase),
        share,
        silent <= STALE,
        " · ".join(filter(None, words)),
        past and f"Done: {past}.",
        note.strip(),
    )


def _words(phase: str) -> str:
    return _PHASES.get(phase, phase)


def _lower(words: str) -> str:
    return words[0].lower() + words[1:]
