"""Parameters of calls: one description of each parses its text and gives its JSON Schema."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Annotated, Any

from atlas.core.db import Atlas
from atlas.core.errors import NeuronNameError, ParameterError
from atlas.core.names import parse_neuron
from atlas.core.units import names_refused, read_names


@dataclass(frozen=True)
class Cursor:
    """A place in the sorted list: a value of the column it is sorted by (None: NULL), and a neuron_id.

    It need not be a neuron's own place, so that a list can be entered anywhere.
    """

    value: float | int | None
    neuron_id: int


MOST = 2**31 - 1
_NUMBER = r"-?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][-+]?[0-9]+)?"


@dataclass(frozen=True)
class Parameter:
    """A parameter's meaning, for people; `name` is its name in a URL where that differs from the function's."""

    description: str
    name: str | None = field(default=None, kw_only=True)

    @property
    def expected(self) -> str:
        """The expected text, for messages."""
        return "text"

    def schema(self) -> dict[str, Any]:
        """Its text as JSON Schema."""
        return {"type": "string"}

    def read(self, atlas: Atlas | None, text: str) -> Any:
        """The value of a text; None: the text is invalid."""
        return text

    def written(self, value: Any) -> Any:
        """A default as the text or number that stands for it in a URL."""
        return value

    def parse(self, atlas: Atlas | None, name: str, text: str) -> Any:
        """The value of a text.

        Raises:
            ParameterError: the text is invalid.
        """
        value = self.read(atlas, text)
        if value is None:
            raise ParameterError(f"{name}={text!r} is invalid: expected {self.expected}.")
        return value


@dataclass(frozen=True)
class Text(Parameter):
    """Any text of some characters."""

    least: int = 0
    most: int = 200

    @property
    def expected(self) -> str:
        return f"text of {self.least} to {self.most} characters"

    def schema(self) -> dict[str, Any]:
        return {"type": "string", "minLength": self.least, "maxLength": self.most}

    def read(self, atlas: Atlas | None, text: str) -> str | None:
        return text if self.least <= len(text) <= self.most else None


@dataclass(frozen=True)
class Whole(Parameter):
    """A whole number."""

    least: int = 0
    most: int = MOST

    @property
    def expected(self) -> str:
        return f"a whole number from {self.least}" + ("" if self.most == MOST else f" to {self.most}")

    def schema(self) -> dict[str, Any]:
        return {"type": "integer", "minimum": self.least, "maximum": self.most}

    def read(self, atlas: Atlas | None, text: str) -> int | None:
        # Leading zeros are numbers to JSON Schema's validators of text, and harmless.
        value = int(text) if re.fullmatch(r"-?[0-9]{1,15}", text) else None
        return value if value is not None and self.least <= value <= self.most else None


@dataclass(frozen=True)
class Number(Parameter):
    """A number."""

    @property
    def expected(self) -> str:
        return "a number"

    def schema(self) -> dict[str, Any]:
        return {"type": "number", "minimum": -1e300, "maximum": 1e300}

    def read(self, atlas: Atlas | None, text: str) -> float | None:
        value = float(text) if re.fullmatch(_NUMBER, text) else math.nan
        return value if abs(value) <= 1e300 else None


@dataclass(frozen=True)
class Choice(Parameter):
    """One of a few words."""

    words: tuple[str, ...]

    @property
    def expected(self) -> str:
        return f"one of {', '.join(self.words)}"

    def schema(self) -> dict[str, Any]:
        return {"type": "string", "enum": list(self.words)}

    def read(self, atlas: Atlas | None, text: str) -> str | None:
        return text if text in self.words else None


@dataclass(frozen=True)
class Flag(Parameter):
    """1 for yes, 0 for no."""

    @property
    def expected(self) -> str:
        return "1 or 0"

    def schema(self) -> dict[str, Any]:
        return {"type": "integer", "enum": [0, 1]}

    def read(self, atlas: Atlas | None, text: str) -> bool | None:
        return {"0": False, "1": True}.get(text)


@dataclass(frozen=True)
class Descending(Choice):
    """The order of a list: False for 'asc', True for 'desc'."""

    words: tuple[str, ...] = ("asc", "desc")

    def read(self, atlas: Atlas | None, text: str) -> Any:
        return {"asc": False, "desc": True}.get(text)

    def written(self, value: bool | None) -> str | None:
        return None if value is None else self.words[value]


@dataclass(frozen=True)
class BoundsOf(Parameter):
    """Bounds of columns: the parameters `column.gte` and `column.lte` of each; `whole` columns hold whole numbers."""

    columns: tuple[str, ...]
    whole: frozenset[str]
    least: int = 0

    def of(self, column: str, op: str) -> Parameter:
        """One of its parameters; `op` is 'gte' or 'lte'."""
        text = f"At {'least' if op == 'gte' else 'most'} {self.description} `{column}`; NULL satisfies neither."
        return Whole(text, self.least) if column in self.whole else Number(text)


@dataclass(frozen=True)
class NeuronName(Parameter):
    """A neuron's name, read as its id."""

    def schema(self) -> dict[str, Any]:
        return {"type": "string", "pattern": "^[Ll][0-9]{1,9}[Nn][0-9]{1,9}$"}

    def read(self, atlas: Atlas | None, text: str) -> int:
        """The neuron's id.

        Raises:
            NeuronNameError: the text names no neuron of this model.
        """
        layer, index = parse_neuron(text, atlas.info.n_layers, atlas.info.d_mlp)
        return layer * atlas.info.d_mlp + index


@dataclass(frozen=True)
class NeuronNames(Parameter):
    """Names of neurons with commas between, read as their ids."""

    most: int = 300

    @property
    def expected(self) -> str:
        return f"1 to {self.most} names of neurons with commas between, as in L1N2,L3N4"

    def schema(self) -> dict[str, Any]:
        name = "[Ll][0-9]{1,9}[Nn][0-9]{1,9}"
        return {"type": "string", "pattern": f"^{name}(,{name}){{0,{self.most - 1}}}$"}

    def read(self, atlas: Atlas | None, text: str) -> tuple[int, ...] | None:
        """The neurons' ids, each once and in order; None: the text is no such list.

        Raises:
            NeuronNameError: some of the names are no neurons of this model.
        """
        names = text.split(",")
        if len(names) > self.most:
            return None
        refs, misnamed = read_names(atlas, names)
        if misnamed:
            raise NeuronNameError(names_refused(misnamed))
        return tuple(ref.neuron_id for ref in refs)


@dataclass(frozen=True)
class Place(Parameter):
    """A cursor: a value of the column that a list is sorted by ('null': none), '~', and a neuron_id."""

    @property
    def expected(self) -> str:
        return "a cursor, as `next` gives it"

    def schema(self) -> dict[str, Any]:
        number = r"-?([0-9]{1,17}(\.[0-9]{0,20})?|\.[0-9]{1,20})([eE][-+]?[0-9]{1,2})?"
        return {"type": "string", "pattern": f"^(null|{number})~[0-9]{{1,9}}$"}

    def read(self, atlas: Atlas | None, text: str) -> Cursor | None:
        match = re.fullmatch(rf"(null|{_NUMBER})~([0-9]{{1,9}})", text)
        if match is None:
            return None
        value = None if match[1] == "null" else float(match[1])
        return None if value is not None and abs(value) > 1e300 else Cursor(value, int(match[4]))


def write_cursor(cursor: Cursor | None) -> str | None:
    """A cursor as the text that reads back as the same place."""
    if cursor is None:
        return None
    whole = cursor.value is not None and cursor.value == int(cursor.value) and abs(cursor.value) < 2**53
    return (
        f"{'null' if cursor.value is None else int(cursor.value) if whole else repr(cursor.value)}~{cursor.neuron_id}"
    )


def write(value: Any) -> str:
    """A parameter's value as text; texts of a list have commas between."""
    if isinstance(value, Iterable) and not isinstance(value, str):
        return ",".join(map(str, value))
    return str(int(value)) if isinstance(value, bool) else str(value)


MOST_ROWS = 1000
"""Rows of a page, at most."""

NeuronId = Annotated[int, NeuronName("Name of a neuron, L31N892: layer and index, both from 0.", name="neuron")]
TokenId = Annotated[int, Whole("Id of a token.", name="token")]
Layer = Annotated[int, Whole("Layer, from 0; both ends are included.")]
Limit = Annotated[int, Whole("Rows of a page.", least=1, most=MOST_ROWS)]
Few = Annotated[int, Whole("Number listed at each end.", least=1, most=100)]
Most = Annotated[int, Whole("Number listed, at most.", least=1, most=100)]
Direction = Annotated[str, Choice("'top': each other's best; 'bottom': each other's worst.", ("top", "bottom"))]
End = Annotated[str, Choice("Only the most congruent ('top') or the least ('bottom').", ("top", "bottom"))]
Order = Annotated[bool, Descending("Ascending or descending.", name="order")]
After = Annotated[Cursor, Place("Rows after this place: the value of `next`.")]
Offset = Annotated[int, Whole("Rows after this many: the value of `next`.", name="after")]
Query = Annotated[str, Text("The text to search for, with any leading space.", least=1, most=200, name="q")]
Contained = Annotated[str, Text("Text that the token's text contains, upper and lower case alike.", least=1, most=200)]
Exactly = Annotated[str, Text("Exactly the token's text, with its leading space if it has one.", most=1000)]
Every = Annotated[bool, Flag("1 includes special tokens and tokens that never come next.")]
Kind = Annotated[str, Choice("Only texts of this kind.", ("max", "min", "interval"))]
