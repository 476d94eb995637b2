"""How sure a proportion is."""

from __future__ import annotations

import math

Z_95 = 1.959963984540054
"""Standard normal quantile of a two-sided 95% interval."""


def wilson(k: int, n: int, z: float = Z_95) -> tuple[float, float]:
    """Wilson's score interval of the proportion k / n; (0, 1) where nothing was counted.

    Positions of one text are not independent, so that true intervals are wider (Wilson 1927, JASA 22:209).
    """
    if n == 0:
        return 0.0, 1.0
    p = k / n
    centre = p + z * z / (2 * n)
    spread = z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    scale = 1 + z * z / n
    # At k = 0 and k = n an end is exactly 0 or 1; rounding must not move it.
    lower = 0.0 if k == 0 else max(0.0, (centre - spread) / scale)
    upper = 1.0 if k == n else min(1.0, (centre + spread) / scale)
    return lower, upper
