"""Display of token text and numbers, in the terminal and on the web: every character of a text visible and none obeyed,
numbers with one minus sign and fixed significant digits, shares as percentages.

This module does not escape HTML: the pages' templates do.
"""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Iterable
from functools import lru_cache

SPACE = "␣"
_SHORT = {"\n": "\\n", "\t": "\\t", "\r": "\\r"}
# Letters and symbols by category that draw nothing, or change how their neighbours are drawn.
_BLANK = {0x034F, 0x115F, 0x1160, 0x17B4, 0x17B5, 0x2800, 0x3164, 0xFFA0, *range(0xFE00, 0xFE10)}
_INVISIBLE = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp", "Zs"}


def _escape(character: str) -> str:
    code = ord(character)
    if code <= 0xFF:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"


def visible(text: str) -> str:
    """Text with every control, format, bidi, zero-width, unassigned and exotic space character as an escape."""
    if text.isascii() and text.isprintable():
        return text
    parts = []
    for place, character in enumerate(text):
        category = unicodedata.category(character)
        code = ord(character)
        if character == " ":
            parts.append(character)
        elif character in _SHORT:
            parts.append(_SHORT[character])
        elif category in _INVISIBLE or code in _BLANK or 0xE0100 <= code <= 0xE01EF:
            parts.append(_escape(character))
        elif category.startswith("M") and place == 0:
            parts.append("◌" + character)  # a leading combining mark would attach to the character before the token
        else:
            parts.append(character)
    return "".join(parts)


def visible_lines(text: str) -> str:
    """As `visible`, for text of several lines: line breaks stay."""
    return "\n".join(map(visible, text.split("\n")))


def _decoded(token_id: int, text: str | None, raw: bytes | None) -> str:
    if text is None:
        return f"[#{token_id}]"
    if raw is not None and "\ufffd" in text:
        # Only bytes that are not UTF-8 by themselves are escaped.
        text = raw.decode("utf-8", errors="backslashreplace")
    return visible(text) if text else "[empty]"


def show_token(token_id: int, text: str | None, raw: bytes | None) -> str:
    """A token on its own: `␣an`, `\\n`, `\\x1b`, `\\u202e`, `\\xe2\\x80`, `[#50000]` (no such token), `[empty]`."""
    decoded = _decoded(token_id, text, raw)
    inner = decoded.strip(" ")
    if not inner:
        return SPACE * len(decoded)
    start = len(decoded) - len(decoded.lstrip(" "))
    return SPACE * start + inner + SPACE * (len(decoded) - start - len(inner))


def show_in_text(token_id: int, text: str | None, raw: bytes | None) -> str:
    """A token inside running text: as on its own, but spaces stay spaces and a newline is `↵`."""
    return _decoded(token_id, text, raw).replace("\\n", "↵") if text and "\n" in text else _decoded(token_id, text, raw)


def show_running(text: str) -> str:
    """Running text with every character visible, a newline as `↵`."""
    return "↵".join(visible(line) for line in text.split("\n"))


def read_shown(shown: str) -> str:
    """The text behind a shown token that somebody copied: `␣` is a space, `\\n`, `\\t`, `\\r` their characters."""
    text = shown.replace(SPACE, " ")
    for character, escape in _SHORT.items():
        text = text.replace(escape, character)
    return text


def show_number(value: float | int | None, digits: int = 4) -> str:
    """A number as text: integers with thousands separated, others to `digits` significant digits, `–` for None."""
    if value is None:
        return "–"
    if isinstance(value, int):
        return f"{value:,}".replace("-", "−")
    if value == 0:
        return "0"
    if digits > 2 and 1e-3 <= abs(value) < 10 ** (digits - 2):  # most numbers, at a third of the cost
        text = _SIGNIFICANT[digits] % value
        return f"−{text[1:]}" if value < 0 else text
    magnitude = _magnitude(value, digits)
    plain = -4 <= magnitude < 7
    text = format(value, _PLAIN[max(0, digits - 1 - magnitude)] if plain else f".{digits - 1}e")
    return text.replace("-", "−") if value < 0 or not plain else text


def show_exact(value: float | int | bool | None) -> str:
    """A number as programs read it, to nine significant digits: no two 32-bit numbers share them."""
    return f"{value:.9g}" if isinstance(value, float) else str(value)


def _magnitude(value: float, digits: int) -> int:
    """The power of ten of a number's first digit when it is rounded: 0 for 0.99996 at 4 digits."""
    magnitude = math.floor(math.log10(abs(value)))
    return magnitude + (abs(value) >= (1 - 0.5 * 10.0**-digits) * 10.0 ** (magnitude + 1))


def show_decimals(value: float | None, decimals: int) -> str:
    """A number to a fixed number of decimals, as a column of numbers has them; `–` for None. Never `−0.00`."""
    if value is None:
        return "–"
    text = format(abs(value), _PLAIN[decimals])
    return f"−{text}" if value < 0 and text.strip("0.,") else text


def column_decimals(values: Iterable[float | None], digits: int = 4) -> int:
    """Decimals for all numbers of a column, which give the greatest so many significant digits; at most two where it is
    1 or more."""
    greatest = max((abs(value) for value in values if value is not None), default=0.0)
    if not 0 < greatest < math.inf:
        return 0
    decimals = max(0, digits - 1 - _magnitude(greatest, digits))
    return min(decimals, 2) if greatest >= 1 else decimals


_SIGNIFICANT = tuple(f"%#.{digits}g" for digits in range(18))
"""Formats of numbers by significant digits."""

_PLAIN = tuple(f",.{decimals}f" for decimals in range(32))
"""Format specifications by decimals: made once, since a page has thousands of numbers."""


def show_share(fraction: float | None, digits: int = 3) -> str:
    """A share as a percentage, to `digits` significant digits: `65.9%`, `0.123%`, `–` for None."""
    return "–" if fraction is None else f"{show_number(100.0 * fraction, digits)}%"


def share_decimals(values: Iterable[float], total: float = 1.0) -> int:
    """Decimals for all percentages of a column of shares of `total` (see `column_decimals`)."""
    return column_decimals(100.0 * value / total for value in values)


def show_points(change: float | None, decimals: int = 1) -> str:
    """A change of a share in percentage points, signed: `−36.9 points`, `0.0 points`, `–` for None."""
    if change is None:
        return "–"
    text = show_decimals(100.0 * change, decimals)
    return f"{'+' if change > 0 and text.strip('0.') else ''}{text} points"


def show_value(value: object, digits: int = 4) -> str:
    """A value of a table as text with every character visible: a number, `yes` or `no`, `–` for None."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if value is None or isinstance(value, int | float):
        return show_number(value, digits)
    return visible(str(value))


def show_seconds(seconds: float) -> str:
    """A duration in its two greatest units, as in `45 s`, `2 min 10 s`, `3 h 5 min`, `4 d 7 h`."""
    whole = max(round(seconds), 0)
    for unit, size, part, smaller in (("d", 86400, "h", 3600), ("h", 3600, "min", 60), ("min", 60, "s", 1)):
        if whole >= size:
            rest = whole % size // smaller
            return f"{whole // size} {unit} {rest} {part}" if rest else f"{whole // size} {unit}"
    return f"{whole} s"


def show_percentile(fraction: float) -> str:
    """A percentile to a tenth, rounded down: only the whole is 100."""
    return f"{math.floor(fraction * 1000) / 10:.1f}"


def show_edge(value: float) -> str:
    """A bin's edge, exact and short: 0.015625, 1.25, 448."""
    return f"{value:g}".replace("-", "−") if value else "0"


@lru_cache(maxsize=1024)
def show_range(lower: float | None, upper: float | None) -> str:
    """A bin's or an octave's range: `1 to 2`, `below −512`, `512 and more`. None is an open end."""
    if lower is None:
        return f"below {show_edge(upper)}"
    if upper is None:
        return f"{show_edge(lower)} and more"
    return f"{show_edge(lower)} to {show_edge(upper)}"
