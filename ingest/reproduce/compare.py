"""Comparisons of published and measured values, and the verdict on a figure."""

from __future__ import annotations

from dataclasses import dataclass

from ingest.reproduce.figures import Figure

REPRODUCED, DIFFERS, NOT_MEASURED, NOT_JUDGED = "reproduced", "differs", "not measured", "not judged"

Value = float | int | str | None


@dataclass(frozen=True)
class Comparison:
    """A published value and its measured counterpart."""

    what: str
    published: Value
    measured: Value
    """None: there is no such value."""
    tolerance: float | int
    """Greatest difference of numbers; names must be the same."""

    @property
    def difference(self) -> float | None:
        """Measured minus published; None where they are not both numbers."""
        if isinstance(self.published, str) or isinstance(self.measured, str | None) or self.published is None:
            return None
        return float(self.measured - self.published)

    @property
    def ok(self) -> bool:
        """Whether both agree within the tolerance."""
        if self.difference is None:
            return self.published == self.measured
        return abs(self.difference) <= self.tolerance  # False for NaN.

    @property
    def strain(self) -> float:
        """The used share of the tolerance; infinite where values differ and have no distance."""
        if self.difference is None:
            return 0.0 if self.ok else float("inf")
        if self.tolerance == 0:
            return 0.0 if self.ok else float("inf")
        return abs(self.difference) / self.tolerance


@dataclass(frozen=True)
class Finding:
    """A figure, judged."""

    figure: Figure
    verdict: str
    """'reproduced', 'differs', 'not measured' or 'not judged'."""
    comparisons: tuple[Comparison, ...]
    """Every value compared; none where it was not measured."""
    reason: str | None
    """The reason why it was not measured, or is not judged."""

    @property
    def worst(self) -> Comparison | None:
        """The comparison that uses up most of its tolerance."""
        return max(self.comparisons, key=lambda comparison: comparison.strain, default=None)


def judge_comparisons(figure: Figure, comparisons: list[Comparison]) -> Finding:
    """The verdict on the comparisons of a figure."""
    if figure.not_judged is not None:
        return Finding(figure, NOT_JUDGED, tuple(comparisons), figure.not_judged)
    verdict = REPRODUCED if all(comparison.ok for comparison in comparisons) else DIFFERS
    return Finding(figure, verdict, tuple(comparisons), None)


def not_measured(figure: Figure, reason: str) -> Finding:
    """A figure that could not be measured, and why."""
    return Finding(figure, NOT_MEASURED, (), reason)
