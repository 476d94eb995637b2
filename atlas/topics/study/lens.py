"""The logit lens as a path through the model, and where it rises most."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise

from atlas.topics.study.records import LensJump, StudyStep

_DEPTH = {"pre": 0.0, "mid": 0.5, "post": 1.0}


def lens_depth(step: StudyStep) -> float:
    """Place in the model at which a step of the lens is read: 3 before block 3, 3.5 after its attention, n_layers at
    the end."""
    return step.layer + _DEPTH[step.site]


def lens_jumps(steps: Iterable[StudyStep]) -> tuple[LensJump, ...]:
    """The greatest rise between neighbouring sites in each variant of the lens; none for a variant that never rises."""
    paths: dict[str, list[StudyStep]] = {}
    for step in sorted(steps, key=lens_depth):
        paths.setdefault(step.variant, []).append(step)
    return tuple(jump for variant in sorted(paths) for jump in _greatest(variant, paths[variant]))


def _greatest(variant: str, path: Sequence[StudyStep]) -> list[LensJump]:
    pairs = list(pairwise(path))
    if not pairs:
        return []
    before, after = max(pairs, key=lambda pair: pair[1].value - pair[0].value)  # the first of equals
    if after.value <= before.value:
        return []
    part = "attention" if after.site == "mid" else "mlp" if before.site == "mid" else "block"
    return [LensJump(variant, before.layer, part, before.value, after.value)]
