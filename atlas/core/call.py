"""Calls: every question that the API and the Python client ask, each a documented function over an open atlas.

A call's address, parameters and shape are read from its function: path, signature, type hints, docstring. The routes
of the site, the OpenAPI document, the client and the reference are all made from the same calls (`atlas.api.calls`).
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from dataclasses import MISSING, dataclass, field, fields, is_dataclass
from types import ModuleType
from typing import Annotated, Any, Generic, TypeVar, cast, get_args, get_origin, get_type_hints

from atlas.core.db import Atlas
from atlas.core.errors import ParameterError
from atlas.core.parameter import BoundsOf, Parameter, write
from atlas.core.units import Bound, Listing, Row

OF_ATLAS = "atlases/{atlas}"
"""Start of the path of a call about one atlas."""
OF_NEURON = OF_ATLAS + "/neurons/{neuron}"
OF_TOKEN = OF_ATLAS + "/tokens/{token}"


@dataclass(frozen=True)
class Page(Generic[Row]):
    """Some rows of a longer list of `total`; `after` is the cursor of the next ones, None at the end."""

    rows: tuple[Row, ...]
    total: int
    after: str | None


@dataclass(frozen=True)
class Declared:
    """A parameter of a call: its name in a URL, what it may be, and the keyword of the function that takes it.

    `record` is the keyword of the record of filters that it is a field of (None: the function takes it as it is),
    `bound` the column and the operator where it is one of many bounds.
    """

    name: str
    kind: Parameter
    keyword: str
    record: str | None = None
    bound: tuple[str, str] | None = None
    in_path: bool = False
    required: bool = False
    default: Any = None

    @property
    def argument(self) -> str:
        """Its name in the client's Python."""
        return self.name.replace(".", "_")


@dataclass(frozen=True)
class Call:
    """A question: its name, its path below the API's address, its parameters, the type of its answer.

    `answer` is a record, `tuple[record, ...]` or `Page[record]`; `records` are the types of the function's records of
    filters, by keyword. `python` is the client's spelling on an atlas `demo`, with `{neuron}`, `{token}` and `{study}`
    for those of an example, `title` the heading of the client's list (None: the name of its method); `example` has
    values of the other parameters.
    """

    name: str
    path: str
    summary: str
    parameters: tuple[Declared, ...]
    records: Mapping[str, type]
    answer: Any
    function: Callable[..., Any]
    python: str
    title: str | None
    example: Mapping[str, Any] = field(default_factory=dict)

    @property
    def of_atlas(self) -> bool:
        """Whether it is about one atlas, and not about all that are open."""
        return self.path.startswith(OF_ATLAS)

    @property
    def paged(self) -> bool:
        """Whether its answer is a page of a longer list."""
        return get_origin(self.answer) is Page

    @property
    def row(self) -> Any:
        """The type of the rows of its list; None: its answer is one record."""
        inner = get_args(self.answer)
        return inner[0] if self.paged or inner[1:] == (Ellipsis,) else None

    def read(self, atlas: Atlas | None, texts: Mapping[str, str]) -> dict[str, Any]:
        """Parse the texts of a URL into the function's keyword arguments.

        Raises:
            ParameterError: a parameter is unknown, missing or malformed.
            NeuronNameError: this model has no such neuron.
        """
        known = {declared.name: declared for declared in self.parameters}
        for name in texts:
            if name not in known:
                raise ParameterError(f"There is no parameter {name!r} here; expected {', '.join(known) or 'none'}.")
        missing = [d.name for d in self.parameters if d.required and d.name not in texts]
        if missing:
            raise ParameterError(f"{missing[0]} is missing; expected {known[missing[0]].kind.expected}.")
        arguments: dict[str, Any] = {}
        filters: dict[str, dict[str, Any]] = {keyword: {} for keyword in self.records}
        for name, text in texts.items():
            declared = known[name]
            target = arguments if declared.record is None else filters[declared.record]
            value = declared.kind.parse(atlas, name, text)
            if declared.bound is not None:
                value = (*target.get(declared.keyword, ()), Bound(*declared.bound, value))
            target[declared.keyword] = value
        return arguments | {keyword: self.records[keyword](**values) for keyword, values in filters.items()}

    def ask(self, subject: Atlas | Mapping[str, Atlas], texts: Mapping[str, str]) -> Any:
        """The answer about an atlas (for a call about all atlases: about the open ones, by slug).

        Raises:
            AtlasError: a parameter is invalid, or the atlas has no such thing.
        """
        answer = self.function(subject, **self.read(subject if isinstance(subject, Atlas) else None, texts))
        if isinstance(answer, Listing):
            end = answer.offset + len(answer.rows)
            return Page(answer.rows, answer.total, str(end) if answer.rows and end < answer.total else None)
        return tuple(answer) if isinstance(answer, list) else answer

    def texts(self, arguments: Mapping[str, Any]) -> dict[str, str]:
        """Arguments of Python as the texts of a URL; None is left out.

        Raises:
            ParameterError: there is no such argument.
        """
        names = {declared.argument: declared.name for declared in self.parameters}
        for argument in arguments:
            if argument not in names:
                raise ParameterError(f"There is no {argument!r} here; expected {', '.join(names) or 'nothing'}.")
        return {names[argument]: write(value) for argument, value in arguments.items() if value is not None}


_Function = TypeVar("_Function", bound=Callable[..., Any])


def call(
    path: str, *, python: str, name: str | None = None, title: str | None = None, **example: Any
) -> Callable[[_Function], _Function]:
    """Make a function a call, `function.call`, named as the function unless `name` is given.

    The call's parameters are those of the function, after the first, whose hints are Annotated with a Parameter, and
    the fields of records of such (`Annotated[Record, {"field": Parameter}]` overrides a field's description); those
    without a default are required. A `list` becomes a tuple, a `Listing` a Page; the summary is the docstring's first
    paragraph.
    """

    def declare(function: _Function) -> _Function:
        hints = get_type_hints(function, include_extras=True)
        declared: list[Declared] = []
        records: dict[str, type] = {}
        for keyword, parameter in list(inspect.signature(function).parameters.items())[1:]:
            hint, anew = hints[keyword], {}
            if get_origin(hint) is Annotated and isinstance(hint.__metadata__[0], dict):
                hint, anew = get_args(hint)
            if is_dataclass(hint):
                records[keyword] = cast(type, hint)
                inner = get_type_hints(hint, include_extras=True)
                for item in fields(hint):
                    kind = anew.get(item.name) or _kind(inner[item.name])
                    declared += _declared(path, item.name, kind, item.default, MISSING, keyword)
            else:
                declared += _declared(path, keyword, _kind(hint), parameter.default, parameter.empty)
        function.call = Call(  # type: ignore[attr-defined]
            name=name or function.__name__,
            path=path,
            summary=inspect.cleandoc(function.__doc__).partition("\n\n")[0],
            parameters=tuple(sorted(declared, key=lambda item: item.bound is not None)),
            records=records,
            answer=_answer(hints["return"]),
            function=function,
            python=python,
            title=title,
            example=example,
        )
        return function

    return declare


def calls_of(module: ModuleType) -> Iterator[Call]:
    """The calls that a module defines, in order of definition."""
    for value in vars(module).values():
        if isinstance(getattr(value, "call", None), Call) and value.__module__ == module.__name__:
            yield value.call


def _declared(
    path: str, keyword: str, kind: Parameter | None, default: Any, empty: Any, record: str | None = None
) -> Iterator[Declared]:
    """The call's parameters for one keyword; `empty` means no default. A keyword without a kind is internal."""
    if isinstance(kind, BoundsOf):
        for bound in ((column, op) for column in kind.columns for op in ("gte", "lte")):
            yield Declared(".".join(bound), kind.of(*bound), keyword, record, bound)
    elif kind is not None:
        name, required = kind.name or keyword, default is empty
        written = None if required else kind.written(default)
        yield Declared(name, kind, keyword, record, None, f"{{{name}}}" in path, required, written)


def _kind(hint: Any) -> Parameter | None:
    if get_origin(hint) is Annotated:
        return next((item for item in hint.__metadata__ if isinstance(item, Parameter)), None)
    return next(filter(None, map(_kind, get_args(hint))), None)


def _answer(hint: Any) -> Any:
    row: Any = next(iter(get_args(hint)), None)
    if get_origin(hint) is list:
        return tuple[row, ...]
    return Page[row] if get_origin(hint) is Listing else hint
