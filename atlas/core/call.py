"""Calls: every question that the API and the Python client ask, each a documented function over an open atlas.

A call's address, parameters and shape are read from its function: path, signature, type hints, docstring. The routes
of the site, the OpenAPI document, the client and the reference are all made from the same calls.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Generic, TypeVar, get_args, get_origin, get_type_hints

from atlas.core.db import Atlas
from atlas.core.errors import ParameterError
from atlas.core.parameter import Parameter, write

Row = TypeVar("Row")

OF_ATLAS = "atlases/{atlas}"
"""What the path of a call about one atlas begins with."""


@dataclass(frozen=True)
class Page(Generic[Row]):
    """Some rows of a longer list of `total`; `after` is the cursor of the next ones, None at the end."""

    rows: tuple[Row, ...]
    total: int
    after: str | None


@dataclass(frozen=True)
class Declared:
    """A parameter of a call: its name in a URL, its argument in Python, where it is, what goes without it."""

    name: str
    kind: Parameter
    in_path: bool = False
    required: bool = False
    default: Any = None

    @property
    def argument(self) -> str:
        """Its name in Python."""
        return self.name.replace(".", "_")


@dataclass(frozen=True)
class Call:
    """A question: its name, its path below the API's address, its parameters, the type of its answer.

    `python` is how it is asked of the client's `demo`, with `{neuron}`, `{token}` and `{study}` for those of an
    example; `example` gives other parameters' values for one.
    """

    name: str
    path: str
    summary: str
    parameters: tuple[Declared, ...]
    answer: Any
    function: Callable[..., Any]
    python: str
    example: Mapping[str, Any] = field(default_factory=dict)

    @property
    def of_atlas(self) -> bool:
        """Whether it is about one atlas, and not about all that are open."""
        return self.path.startswith(OF_ATLAS)

    def read(self, atlas: Atlas | None, given: Mapping[str, str]) -> dict[str, Any]:
        """The arguments that texts mean, by their names in Python.

        Raises:
            ParameterError: a parameter is unknown, missing or malformed.
            NeuronNameError: the neuron is none of this model.
        """
        known = {declared.name: declared for declared in self.parameters}
        for name in given:
            if name not in known:
                raise ParameterError(f"There is no parameter {name!r} here; expected {', '.join(known) or 'none'}.")
        missing = [d.name for d in self.parameters if d.required and d.name not in given]
        if missing:
            raise ParameterError(f"{missing[0]} is missing; expected {known[missing[0]].kind.expected}.")
        return {known[name].argument: known[name].kind.parse(atlas, name, text) for name, text in given.items()}

    def ask(self, subject: Atlas | Mapping[str, Atlas], given: Mapping[str, str]) -> Any:
        """The answer about an atlas (or, of a call about all, about those open, by slug).

        Raises:
            AtlasError: a parameter is not right, or the atlas has no such thing.
        """
        return self.function(subject, **self.read(subject if isinstance(subject, Atlas) else None, given))

    def texts(self, arguments: Mapping[str, Any]) -> dict[str, str]:
        """Arguments of Python as a URL has them; None says nothing.

        Raises:
            ParameterError: there is no such argument.
        """
        names = {declared.argument: declared.name for declared in self.parameters}
        for argument in arguments:
            if argument not in names:
                raise ParameterError(f"There is no {argument!r} here; expected {', '.join(names) or 'nothing'}.")
        return {names[argument]: write(value) for argument, value in arguments.items() if value is not None}


CALLS: dict[str, Call] = {}
"""Every call, by name, in the order of the documentation."""

_Function = TypeVar("_Function", bound=Callable[..., Any])


def call(path: str, *, python: str, more: Iterable[Declared] = (), **example: Any) -> Callable[[_Function], _Function]:
    """Make a function a call. Its parameters after the first are the call's: hints are Annotated with a Parameter,
    those without a default are required; `more` are handed to it as keywords too."""

    def declare(function: _Function) -> _Function:
        hints = get_type_hints(function, include_extras=True)
        in_path = re.findall(r"\{(\w+)\}", path)
        declared = [
            Declared(
                name=name,
                kind=_kind(hints[name]),
                in_path=name in in_path,
                required=parameter.default is parameter.empty,
                default=None if parameter.default is parameter.empty else parameter.default,
            )
            for name, parameter in list(inspect.signature(function).parameters.items())[1:]
            if parameter.kind is not parameter.VAR_KEYWORD
        ]
        CALLS[function.__name__] = Call(
            name=function.__name__,
            path=path,
            summary=inspect.cleandoc(function.__doc__),
            parameters=(*declared, *more),
            answer=hints["return"],
            function=function,
            python=python,
            example=example,
        )
        return function

    return declare


def _kind(hint: Any) -> Parameter:
    if get_origin(hint) is Annotated:
        return next(item for item in get_args(hint)[1:] if isinstance(item, Parameter))
    return next(_kind(item) for item in get_args(hint) if get_origin(item) is Annotated)
